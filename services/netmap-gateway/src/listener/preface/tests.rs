use super::*;

async fn header(bytes: &[u8]) -> Result<(Option<String>, Vec<u8>), io::ErrorKind> {
    let (mut near, mut far) = tokio::io::duplex(8192);
    tokio::io::AsyncWriteExt::write_all(&mut far, bytes)
        .await
        .expect("room");
    let client = read_header(&mut near).await.map_err(|error| error.kind())?;
    drop(far);
    let mut rest = Vec::new();
    near.read_to_end(&mut rest).await.expect("the rest");
    Ok((client.map(|client| client.to_string()), rest))
}

#[tokio::test(start_paused = true)]
async fn header_is_read_and_nothing_of_what_follows() {
    let client = Ok((Some("192.0.2.1:4711".to_owned()), b"GET /".to_vec()));
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\nGET /";
    assert_eq!(header(line).await, client);
    let addresses = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
    let binary = [SIGNATURE, &[0x21, 0x11, 0, 12][..], &addresses, b"GET /"].concat();
    assert_eq!(header(&binary).await, client);
    let local = [SIGNATURE, &[0x20, 0, 0, 0][..]].concat();
    assert_eq!(header(&local).await, Ok((None, Vec::new())));
}

#[tokio::test(start_paused = true)]
async fn anything_else_is_refused_in_time() {
    let endless = [&LINE[..], &[b'x'; 200]].concat();
    let long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff][..]].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        &endless,
        &long,
        b"\r\n\r\n\0\r\nQUITX1234",
    ] {
        assert_eq!(header(bytes).await, Err(io::ErrorKind::InvalidData));
    }
    for bytes in [&b""[..], b"PROXY TCP4 ", &SIGNATURE[..]] {
        assert_eq!(header(bytes).await, Err(io::ErrorKind::TimedOut));
    }
}
