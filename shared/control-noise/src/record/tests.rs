//! What records must refuse.

use super::*;

#[test]
fn records_of_wrong_kind_or_length_are_refused() {
    assert_eq!(body_length([3, 0, 20]), Err(RecordError::Type(3)));
    assert_eq!(body_length([4, 0, 15]), Err(RecordError::Length(15)));
    assert_eq!(body_length([4, 0x0f, 0xfe]), Err(RecordError::Length(4094)));
    assert_eq!(body_length([4, 0x0f, 0xfd]), Ok(4093));
}

#[test]
fn replayed_record_is_refused() {
    let mut sealing = Cipher::new(&[1; 32]);
    let mut record = Vec::new();
    sealing.seal_record(b"once", &mut record).unwrap();
    let mut opening = Cipher::new(&[1; 32]);
    let body = &record[HEADER..];
    assert_eq!(opening.open_record(&mut body.to_vec()), Ok(4));
    assert_eq!(
        opening.open_record(&mut body.to_vec()),
        Err(RecordError::Decryption)
    );
}

#[test]
fn reordered_records_are_refused() {
    let mut sealing = Cipher::new(&[1; 32]);
    let mut records = [Vec::new(), Vec::new()];
    for record in &mut records {
        sealing.seal_record(b"text", record).unwrap();
    }
    let mut opening = Cipher::new(&[1; 32]);
    let opened = opening.open_record(&mut records[1][HEADER..]);
    assert_eq!(opened, Err(RecordError::Decryption));
}

#[test]
fn every_flipped_bit_of_a_record_is_refused() {
    let mut record = Vec::new();
    Cipher::new(&[1; 32])
        .seal_record(b"some text", &mut record)
        .unwrap();
    for bit in 0..8 * (record.len() - HEADER) {
        let mut body = record[HEADER..].to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        let opened = Cipher::new(&[1; 32]).open_record(&mut body);
        assert_eq!(opened, Err(RecordError::Decryption), "bit {bit}");
    }
}

#[test]
fn longest_record_is_4096_bytes_and_a_longer_one_is_not_made() {
    let mut cipher = Cipher::new(&[1; 32]);
    let mut out = Vec::new();
    cipher.seal_record(&[0; MAX_PLAINTEXT], &mut out).unwrap();
    assert_eq!(out.len(), 4096);
    let refused = cipher.seal_record(&[0; MAX_PLAINTEXT + 1], &mut out);
    assert_eq!(refused, Err(RecordError::Length(4094)));
    assert_eq!(out.len(), 4096, "nothing is sent");
}

#[test]
fn last_counter_value_is_never_used() {
    let mut sealing = Cipher::starting_at(&[1; 32], u64::MAX - 1);
    let mut opening = Cipher::starting_at(&[1; 32], u64::MAX - 1);
    let mut out = Vec::new();
    sealing.seal_record(b"last", &mut out).unwrap();
    assert_eq!(opening.open_record(&mut out[HEADER..]), Ok(4));
    for _ in 0..2 {
        let refused = sealing.seal_record(b"more", &mut out);
        assert_eq!(refused, Err(RecordError::Exhausted));
        let refused = opening.open_record(&mut [0; 20]);
        assert_eq!(refused, Err(RecordError::Exhausted));
    }
}
