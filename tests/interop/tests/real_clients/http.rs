//! Plain HTTP, byte for byte.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// Sends one HTTP request to the server inside whose namespace the test runs; returns the status and the body.
pub fn http(method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    http_at("10.77.0.1:8080", method, path, body)
}

/// Sends one HTTP request to an address; returns the status and the body.
pub fn http_at(address: &str, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}"
    );
    send(&mut stream, &[head.as_bytes(), b"\r\n\r\n", body].concat())
}

/// Sends bytes and returns the status and the body of what is answered.
pub fn send(stream: &mut TcpStream, request: &[u8]) -> (u16, Vec<u8>) {
    // A connection that is kept for another request is not waited for.
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    // A server that has heard enough may close before everything is sent.
    drop(stream.write_all(request));
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !is_whole(&answer) {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => answer.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    let end = head_length(&answer).expect("the head of an answer");
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(end))
}

fn head_length(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// Says whether an answer that tells its length is there.
fn is_whole(answer: &[u8]) -> bool {
    let length = head_length(answer).and_then(|end| {
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let (_, rest) = head.split_once("content-length: ")?;
        let length: usize = rest.lines().next()?.parse().ok()?;
        Some(end + length)
    });
    length.is_some_and(|length| answer.len() >= length)
}
