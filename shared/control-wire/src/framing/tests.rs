use super::*;

#[test]
fn frames_come_back_in_order_also_from_spliced_zstd() {
    let first = encode_frame(&[br#"{"KeepAlive":true}"#]).unwrap();
    let mut buffer = BytesMut::from(&first[..]);
    assert_eq!(
        decode_frame(&mut buffer, Compression::None, 100)
            .unwrap()
            .unwrap(),
        &first[4..]
    );

    let parts = ["{\"Peers\":[", "1", ",", "2", "]}"];
    let parts: Vec<_> = parts
        .iter()
        .map(|part| encode_payload(part.as_bytes(), Compression::Zstd).unwrap())
        .collect();
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    let mut buffer = BytesMut::from(&encode_frame(&parts).unwrap()[..]);
    let json = decode_frame(&mut buffer, Compression::Zstd, 1000)
        .unwrap()
        .unwrap();
    assert_eq!(json, b"{\"Peers\":[1,2]}");
    assert!(buffer.is_empty());
}

#[test]
fn bombs_and_long_frames_are_refused() {
    let bomb = encode_payload(&vec![b' '; 1_000_000], Compression::Zstd).unwrap();
    let mut buffer = BytesMut::from(&encode_frame(&[&bomb]).unwrap()[..]);
    assert!(matches!(
        decode_frame(&mut buffer, Compression::Zstd, 10_000),
        Err(FrameError::Length(_))
    ));
    let mut buffer = BytesMut::from(&[0xff; 8][..]);
    assert!(decode_frame(&mut buffer, Compression::None, 10_000).is_err());
}
