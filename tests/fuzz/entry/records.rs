//! Any bytes as the records that follow a handshake.

use std::{
    io::Cursor,
    pin::{Pin, pin},
    sync::OnceLock,
    task::{Context, Poll, Waker},
};

use bowline_control_noise::{Initiator, Keys, NoiseStream, Responder};
use bowline_keys::{MachinePublic, PrivateKey};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the client of the one handshake here has sent, in records of so many bytes.
const TEXTS: &[usize] = &[24, 1, 4077, 9];

/// The server's keys, and the client's records.
fn conversation() -> &'static (Keys, Vec<Vec<u8>>) {
    static CONVERSATION: OnceLock<(Keys, Vec<Vec<u8>>)> = OnceLock::new();
    CONVERSATION.get_or_init(|| {
        let (machine, control) = (
            PrivateKey::from_random([8; 32]),
            PrivateKey::from_random([7; 32]),
        );
        let public = MachinePublic::from_bytes(control.public_bytes());
        let (initiator, initiation) = Initiator::begin(&machine, public, 142).expect("good keys");
        let accepted = Responder::default().accept(&initiation, [&control]);
        let accepted = accepted.expect("a good initiation");
        let keys = initiator.finish(&accepted.response).expect("its answer");
        let mut sealed = Vec::new();
        let mut stream = NoiseStream::new(tokio::io::join(tokio::io::empty(), &mut sealed), &keys);
        let mut context = Context::from_waker(Waker::noop());
        for (number, length) in TEXTS.iter().enumerate() {
            let text = vec![letter(number); *length];
            let sent = Pin::new(&mut stream).poll_write(&mut context, &text);
            assert!(matches!(sent, Poll::Ready(Ok(count)) if count == *length));
        }
        let mut records = Vec::new();
        for length in TEXTS {
            let rest = sealed.split_off(length + 19);
            records.push(std::mem::replace(&mut sealed, rest));
        }
        (accepted.keys, records)
    })
}

fn letter(number: usize) -> u8 {
    b'a' + u8::try_from(number).expect("few")
}

/// The records in a row, and each alone.
pub fn seeds() -> Vec<Vec<u8>> {
    let (_, records) = conversation();
    let mut seeds = records.clone();
    seeds.push(records.concat());
    seeds
}

/// Nothing is read but what the client has sent, in its order.
pub fn run(input: &[u8]) {
    let (keys, records) = conversation();
    let mut stream = pin!(NoiseStream::new(Cursor::new(input.to_vec()), keys));
    let mut context = Context::from_waker(Waker::noop());
    let (mut read, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        let mut buffer = ReadBuf::new(&mut buffer);
        match stream.as_mut().poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                read.extend_from_slice(buffer.filled());
            }
            Poll::Ready(_) => break,
            Poll::Pending => unreachable!("bytes in memory are always there"),
        }
    }
    let shared = input.iter().zip(records.iter().flatten());
    let shared = shared.take_while(|(one, other)| one == other).count();
    let sent = TEXTS
        .iter()
        .enumerate()
        .flat_map(|(number, length)| std::iter::repeat_n(letter(number), *length));
    assert!(read.len() <= shared && sent.take(read.len()).eq(read.iter().copied()));
}
