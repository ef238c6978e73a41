//! Answers each line on a TCP address, such as `127.0.0.1:7000`, with the same line.

#![expect(clippy::disallowed_methods, reason = "this program is only for tests")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_default();
    let listener = TcpListener::bind(address)?;
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
