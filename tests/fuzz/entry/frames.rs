//! Any bytes as frames of a map response, and any bytes inside a frame.

use bowline_control_wire::{Compression, decode_frame, encode_frame, encode_payload};
use bytes::BytesMut;

const LIMIT: usize = 64 * 1024;

/// Frames of both kinds, alone and in a row.
pub fn seeds() -> Vec<Vec<u8>> {
    let json = br#"{"KeepAlive":true}"#;
    let zstd = encode_payload(json, Compression::Zstd).expect("compresses");
    let bomb = encode_payload(&vec![b' '; 1 << 20], Compression::Zstd).expect("compresses");
    let plain = encode_frame(&[json]).expect("short").to_vec();
    let spliced = encode_frame(&[&zstd, &zstd]).expect("short").to_vec();
    let bomb = encode_frame(&[&bomb]).expect("short").to_vec();
    let row = [&plain[..], &plain, &spliced].concat();
    vec![plain, spliced, bomb, row]
}

/// Reading ends, and gives no more than the limit; a frame gives back what was put in.
pub fn run(input: &[u8]) {
    for compression in [Compression::None, Compression::Zstd] {
        let mut buffer = BytesMut::from(input);
        let mut left = buffer.len();
        while let Ok(Some(json)) = decode_frame(&mut buffer, compression, LIMIT) {
            assert!(json.len() <= LIMIT && buffer.len() < left);
            left = buffer.len();
        }
        if input.len() <= LIMIT / 2 {
            let payload = encode_payload(input, compression).expect("compresses");
            let mut buffer = BytesMut::from(&encode_frame(&[&payload]).expect("short")[..]);
            let json = decode_frame(&mut buffer, compression, LIMIT).expect("a frame");
            assert_eq!(json.as_deref(), Some(input));
        }
    }
}
