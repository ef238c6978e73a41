use super::*;

fn proxies() -> Proxies {
    Proxies {
        trusted: vec![
            "10.0.0.0/8".parse().expect("a network"),
            "::1/128".parse().expect("a network"),
        ],
        write_headers: false,
    }
}

fn client(values: &[&str]) -> Option<String> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("X-Forwarded-For", value.parse().expect("a value"));
    }
    proxies()
        .client_of(&headers)
        .map(|address| address.to_string())
}

#[test]
fn rightmost_address_that_is_no_proxy_is_the_client() {
    assert_eq!(client(&["192.0.2.1"]).as_deref(), Some("192.0.2.1"));
    assert_eq!(
        client(&["203.0.113.9, 192.0.2.1, 10.1.2.3"]).as_deref(),
        Some("192.0.2.1")
    );
    assert_eq!(
        client(&["203.0.113.9", "192.0.2.1,10.1.2.3"]).as_deref(),
        Some("192.0.2.1")
    );
    assert_eq!(
        client(&["192.0.2.1:4711, [::1]:80"]).as_deref(),
        Some("192.0.2.1")
    );
    assert_eq!(client(&["[2001:db8::1]"]).as_deref(), Some("2001:db8::1"));
    assert_eq!(client(&["::ffff:192.0.2.1"]).as_deref(), Some("192.0.2.1"));
}

#[test]
fn what_can_not_be_read_ends_the_look() {
    assert_eq!(client(&[]), None);
    assert_eq!(client(&["unknown"]), None);
    assert_eq!(
        client(&["192.0.2.1, unknown, 10.0.0.1"]).as_deref(),
        Some("10.0.0.1")
    );
    assert_eq!(client(&["10.0.0.2, 10.0.0.1"]).as_deref(), Some("10.0.0.2"));
    let endless = vec!["10.0.0.1"; 1000].join(",");
    assert_eq!(
        client(&[&format!("192.0.2.1,{endless}")]).as_deref(),
        Some("10.0.0.1")
    );
}

#[test]
fn only_listed_networks_are_proxies() {
    for (address, is_one) in [
        ("10.255.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("11.0.0.1", false),
        ("::1", true),
    ] {
        assert_eq!(
            proxies().contain(address.parse().expect("an address")),
            is_one,
            "{address}"
        );
    }
}

#[test]
fn lines_of_version_1_are_read() {
    let read =
        |line: &str| read_line(line.as_bytes()).map(|client| client.map(|it| it.to_string()));
    assert_eq!(
        read("TCP4 192.0.2.1 10.0.0.1 4711 443\r\n"),
        Ok(Some("192.0.2.1:4711".to_owned()))
    );
    assert_eq!(
        read("TCP6 2001:db8::1 ::1 4711 443\r\n"),
        Ok(Some("[2001:db8::1]:4711".to_owned()))
    );
    assert_eq!(read("UNKNOWN\r\n"), Ok(None));
    assert_eq!(read("UNKNOWN ffff:f::1 1 2\r\n"), Ok(None));
    for line in [
        "TCP4 192.0.2.1 10.0.0.1 4711 443\n",
        "TCP4 192.0.2.1 10.0.0.1 70000 443\r\n",
        "TCP4 2001:db8::1 ::1 4711 443\r\n",
        "TCP4 192.0.2.1 10.0.0.1 4711\r\n",
        "TCP4 x 10.0.0.1 4711 443\r\n",
        "\r\n",
    ] {
        assert_eq!(read(line), Err(MalformedProxyHeader), "{line}");
    }
}

#[test]
fn headers_of_version_2_are_read() {
    let head = |version, family, length: u16| {
        let [high, low] = length.to_be_bytes();
        read_head([version, family, high, low])
    };
    let told = |head: ProxyHeader, block: &[u8]| {
        head.client(block)
            .map(|client| client.map(|it| it.to_string()))
    };
    let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 187, 3, 0, 1, 0];
    let tcp4 = head(0x21, 0x11, 16).expect("a head");
    assert_eq!(told(tcp4, &v4), Ok(Some("192.0.2.1:4711".to_owned())));
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    v6[15] = 1;
    v6[32..34].copy_from_slice(&[0x12, 0x67]);
    let tcp6 = head(0x21, 0x21, 36).expect("a head");
    assert_eq!(told(tcp6, &v6), Ok(Some("[2001:db8::1]:4711".to_owned())));
    assert_eq!(told(head(0x20, 0, 0).expect("a head"), &[]), Ok(None));
    assert_eq!(told(head(0x21, 0x31, 0).expect("a head"), &[]), Ok(None));
    assert_eq!(told(tcp4, &v4[..9]), Err(MalformedProxyHeader));
    assert_eq!(head(0x11, 0x11, 12), Err(MalformedProxyHeader));
    assert_eq!(head(0x21, 0x11, 2049), Err(MalformedProxyHeader));
}
