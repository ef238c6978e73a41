//! HTTP/2 spoken against its rules, outside of Noise and inside.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_interop::inside;
use bowline_keys::PrivateKey;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    session::{ADDRESS, shake},
    witness::{TestServer, is_served, memory},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `POST https://x/health`, packed.
const POST: &[u8] = b"\x83\x87\x04\x07/health\x01\x01x";
/// `GET https://x/health`, packed.
const GET: &[u8] = b"\x82\x87\x04\x07/health\x01\x01x";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a server may do about it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    /// End the connection.
    End,
    /// Refuse the request, or end the connection.
    Refusal,
    /// Bear it, or end the connection.
    Bounds,
}
use Wanted::{Bounds, End, Refusal};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
}

fn upload(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, POST)
}

fn of_streams(count: u32, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count)
        .flat_map(|number| frames(2 * number + 1))
        .collect()
}

fn repeated(count: usize, frame: &[u8]) -> Vec<u8> {
    frame.repeat(count)
}

/// A head that names one long entry of the table it has filled again and again.
fn header_bomb() -> Vec<u8> {
    let mut block = GET.to_vec();
    block.extend(b"\x40\x01a\x7f\xa1\x1e");
    block.extend([b'b'; 4000]);
    block.extend([0xbe; 8000]);
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block[..block.len().min(16_384)],
    )
}

/// What is sent after the preface, and what may come of it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn attacks() -> Vec<(&'static str, Vec<u8>, Wanted)> {
    let reset = |stream, code: u32| frame(RESET, 0, stream, &code.to_be_bytes());
    let grow = |stream, by: u32| frame(WINDOW, 0, stream, &by.to_be_bytes());
    let pieces = repeated(100_000, &frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"));
    let rapid = of_streams(10_000, |stream| {
        [request(stream), reset(stream, 8)].concat()
    });
    let made = of_streams(10_000, |stream| [request(stream), grow(stream, 0)].concat());
    let tiny = repeated(100_000, &frame(DATA, 0, 1, b"x"));
    let empty = repeated(100_000, &frame(DATA, 0, 1, b""));
    let stalled = [
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
        of_streams(100, request),
    ];
    let many = of_streams(10_000, upload);
    let long = [GET, b"\x00\x01a\x7f\x81\x7d", &[b'b'; 16_000]].concat();
    let trailers = [upload(1), frame(HEADERS, 5, 1, GET)].concat();
    vec![
        ("rapid reset", rapid, Bounds),
        ("resets the server is made to send", made, Bounds),
        (
            "endless continuations",
            [frame(HEADERS, 1, 1, GET), pieces].concat(),
            End,
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, 4, 1, GET),
            End,
        ),
        (
            "settings again and again",
            repeated(20_000, &frame(SETTINGS, 0, 0, &[])),
            Bounds,
        ),
        (
            "pings again and again",
            repeated(20_000, &frame(PING, 0, 0, &[0; 8])),
            Bounds,
        ),
        (
            "priorities again and again",
            repeated(20_000, &frame(2, 0, 1, &[0, 0, 0, 0, 1])),
            Bounds,
        ),
        (
            "unknown frames",
            repeated(20_000, &frame(0xbb, 0xff, 7, &[0; 8])),
            Bounds,
        ),
        ("a packed bomb", header_bomb(), Refusal),
        (
            "a long head",
            frame(HEADERS, 5, 1, &long[..16_384.min(long.len())]),
            Refusal,
        ),
        ("tiny pieces of a body", [upload(1), tiny].concat(), Bounds),
        (
            "empty pieces of a body",
            [upload(1), empty].concat(),
            Bounds,
        ),
        ("windows of nothing", stalled.concat(), Bounds),
        ("more streams than allowed", many, Refusal),
        ("an even stream", request(2), End),
        (
            "a stream of the past",
            [request(5), request(3)].concat(),
            End,
        ),
        ("a stream twice", [request(1), request(1)].concat(), Refusal),
        ("data without a stream", frame(DATA, 0, 0, b"x"), End),
        ("data of an idle stream", frame(DATA, 0, 9, b"x"), End),
        (
            "a window too wide",
            [grow(0, 0x7fff_ffff), grow(0, 0x7fff_ffff)].concat(),
            End,
        ),
        ("a window of no more", grow(0, 0), End),
        ("a frame too long", frame(DATA, 0, 1, &[0; 16_385]), End),
        ("a ping too short", frame(PING, 0, 0, &[0; 7]), End),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), End),
        ("settings cut short", frame(SETTINGS, 0, 0, &[0; 5]), End),
        (
            "a wrong setting",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
            End,
        ),
        ("a push", frame(PUSH, 4, 1, &[0, 0, 0, 2, 0x82]), End),
        (
            "a head that does not unpack",
            frame(HEADERS, 5, 1, &[0xff; 20]),
            End,
        ),
        (
            "a head without a path",
            frame(HEADERS, 5, 1, b"\x82\x87"),
            Refusal,
        ),
        (
            "a head with two paths",
            frame(HEADERS, 5, 1, b"\x82\x87\x84\x84"),
            Refusal,
        ),
        (
            "upper case",
            frame(HEADERS, 5, 1, &[GET, b"\x00\x01A\x01b"].concat()),
            Refusal,
        ),
        (
            "a connection header",
            frame(HEADERS, 5, 1, &[GET, b"\x00\x0aconnection\x01x"].concat()),
            Refusal,
        ),
        ("trailers that ask", trailers, Refusal),
        (
            "more than promised",
            [
                frame(
                    HEADERS,
                    4,
                    1,
                    &[POST, b"\x00\x0econtent-length\x011"].concat(),
                ),
                frame(DATA, 1, 1, b"more"),
            ]
            .concat(),
            Refusal,
        ),
        ("a preface twice", PREFACE.to_vec(), End),
        (
            "plain HTTP",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            End,
        ),
    ]
}

/// What came back: whether the connection ended, which streams were refused, and which answered with 200.
#[derive(Debug, Default)]
struct Outcome {
    has_ended: bool,
    refused: usize,
    granted: usize,
}

/// Sends an attack, then reads until the server closes or has nothing more to say.
async fn attacked<S>(stream: S, attack: Vec<u8>) -> Outcome
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        let start = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        // The server may close before everything is sent.
        drop(to.write_all(&start).await);
        drop(to.write_all(&attack).await);
        drop(to.flush().await);
        to
    });
    let mut outcome = Outcome::default();
    let quiet = Duration::from_secs(1);
    let mut head = [0; 9];
    loop {
        match tokio::time::timeout(quiet, from.read_exact(&mut head)).await {
            Err(_) => break,
            Ok(Err(_)) => {
                outcome.has_ended = true;
                break;
            }
            Ok(Ok(_)) => {}
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if from.read_exact(&mut payload).await.is_err() {
            outcome.has_ended = true;
            break;
        }
        match head[3] {
            GOAWAY => outcome.has_ended = true,
            RESET => outcome.refused += 1,
            // 200 is packed as 0x88, after whatever size of table the server allows.
            HEADERS if payload.contains(&0x88) => outcome.granted += 1,
            HEADERS => outcome.refused += 1,
            _ => {}
        }
    }
    sending.abort();
    outcome
}

fn judge(what: &str, wanted: Wanted, outcome: &Outcome) {
    let is_so = match wanted {
        End => outcome.has_ended,
        Refusal => outcome.has_ended || outcome.refused > 0,
        Bounds => true,
    };
    assert!(is_so, "{what}: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_against_its_rules_disturbs_nobody() {
    let name = "bad_input::floods::http2_against_its_rules_disturbs_nobody";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let before = memory();
    for (what, attack, wanted) in attacks() {
        let plain = TcpStream::connect(ADDRESS).await.unwrap();
        let outside = tokio::spawn(attacked(plain, attack.clone()));
        let machine = PrivateKey::from_random(random_bytes());
        let noise = shake(&machine, test_server.control).await;
        let inside = tokio::spawn(attacked(noise, attack));
        judge(what, wanted, &outside.await.unwrap());
        judge(
            &format!("{what} inside Noise"),
            wanted,
            &inside.await.unwrap(),
        );
        assert!(is_served(), "{what}");
        let grown = memory().saturating_sub(before);
        assert!(grown < 100 << 20, "{what}: {} MiB more", grown >> 20);
    }
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_has_so_many_streams_and_no_more() {
    let name = "bad_input::floods::one_connection_has_so_many_streams_and_no_more";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let machine = PrivateKey::from_random(random_bytes());
    let noise = shake(&machine, test_server.control).await;
    let path = b"\x83\x87\x04\x0c/machine/map\x01\x01x";
    let uploads = of_streams(200, |stream| frame(HEADERS, END_HEADERS, stream, path));
    let outcome = attacked(noise, uploads).await;
    assert!(
        outcome.has_ended || outcome.refused >= 200 - 8,
        "{outcome:?}"
    );
    test_server.assert_undisturbed().await;
}
