//! Answers each line on a TCP port of 127.0.0.1 with the same line.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(7);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            let mut writer = stream.try_clone()?;
            for line in BufReader::new(stream).lines() {
                writeln!(writer, "{}", line?)?;
            }
            Ok::<_, std::io::Error>(())
        });
    }
    Ok(())
}
