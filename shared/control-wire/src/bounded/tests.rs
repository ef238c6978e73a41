use crate::{Hostinfo, MapRequest, parse_request};

fn host(member: &str, element: &str, count: usize) -> String {
    format!(r#"{{"{member}":[{}]}}"#, vec![element; count].join(","))
}

#[test]
fn elements_beyond_their_number_are_left_out() {
    let read = |member, count| {
        let host_info = parse_request::<Hostinfo>(host(member, r#""x""#, count).as_bytes());
        host_info.expect("a host")
    };
    assert_eq!(read("RoutableIPs", 1000).routable_ips.len(), 1000);
    assert_eq!(read("RoutableIPs", 10_000).routable_ips.len(), 1000);
    assert_eq!(read("RequestTags", 10_000).request_tags.len(), 100);
    let service = r#"{"Proto":"tcp","Port":1}"#;
    let host_info: Hostinfo =
        parse_request(host("Services", service, 500).as_bytes()).expect("a host");
    assert_eq!(host_info.services.len(), 100);
    let host_info: Hostinfo =
        parse_request(host("sshHostKeys", r#""k""#, 500).as_bytes()).expect("a host");
    assert_eq!(host_info.ssh_host_keys.len(), 100);
    let request: MapRequest =
        parse_request(host("Endpoints", r#""1.2.3.4:5""#, 5000).as_bytes()).expect("a request");
    assert_eq!(request.endpoints.len(), 1000);
}
