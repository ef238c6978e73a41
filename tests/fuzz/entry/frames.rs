//! Any bytes as frames of a map response, and any bytes inside a frame.

use bowline_control_wire::{Compression, frame, frame_payload, unframe};
use bytes::BytesMut;

const LIMIT: usize = 64 * 1024;

/// Frames of both kinds, alone and in a row.
pub fn seeds() -> Vec<Vec<u8>> {
    let json = br#"{"KeepAlive":true}"#;
    let zstd = frame_payload(json, Compression::Zstd).expect("compresses");
    let bomb = frame_payload(&vec![b' '; 1 << 20], Compression::Zstd).expect("compresses");
    let plain = frame(&[json]).expect("short").to_vec();
    let spliced = frame(&[&zstd, &zstd]).expect("short").to_vec();
    let bomb = frame(&[&bomb]).expect("short").to_vec();
    let row = [&plain[..], &plain, &spliced].concat();
    vec![plain, spliced, bomb, row]
}

/// Reading ends, and gives no more than the limit; a frame gives back what was put in.
pub fn run(input: &[u8]) {
    for compression in [Compression::None, Compression::Zstd] {
        let mut buffer = BytesMut::from(input);
        let mut left = buffer.len();
        while let Ok(Some(json)) = unframe(&mut buffer, compression, LIMIT) {
            assert!(json.len() <= LIMIT && buffer.len() < left);
            left = buffer.len();
        }
        if input.len() <= LIMIT / 2 {
            let payload = frame_payload(input, compression).expect("compresses");
            let mut buffer = BytesMut::from(&frame(&[&payload]).expect("short")[..]);
            let json = unframe(&mut buffer, compression, LIMIT).expect("a frame");
            assert_eq!(json.as_deref(), Some(input));
        }
    }
}
