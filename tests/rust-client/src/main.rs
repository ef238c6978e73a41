//! Joins a tailnet and answers what it receives on TCP port 7000 with the same bytes.
//!
//! `bowline-rust-client URL KEY HOSTNAME`; prints its IPv4 address once it has joined.

use std::error::Error;

use tailscale::{Config, Device};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, key, hostname] = arguments.as_slice() else {
        return Err("usage: bowline-rust-client URL KEY HOSTNAME".into());
    };
    let config = Config {
        control_server_url: url.parse()?,
        requested_hostname: Some(hostname.clone()),
        ..Config::default()
    };
    let device = Device::new(&config, Some(key.clone())).await?;
    let address = device.ipv4_addr().await?;
    let listener = device.tcp_listen((address, 7000).into()).await?;
    println!("{address}");
    loop {
        let connection = listener.accept().await?;
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(connection);
            tokio::io::copy(&mut reader, &mut writer).await
        });
    }
}
