use super::*;
use crate::{MapRequest, RegisterRequest, SetDeviceAttributesRequest};

#[test]
fn spellings_of_both_client_families_are_read() {
    let body = br#"{"version":130,"HostInfo":{"Hostname":"rusta","IpnVersion":"0.6.1",
            "NetInfo":{"PreferredDerp":900,"DerpLatency":{"900-v4":0.0003}}},"OMITPEERS":true,
            "Endpoints":null,"Nonsense":{"x":1}}"#;
    let request: MapRequest = parse_request(body).unwrap();
    assert_eq!(request.version.0, 130);
    assert!(request.omit_peers);
    let hostinfo = request.hostinfo.unwrap();
    assert_eq!(
        (hostinfo.hostname.as_str(), hostinfo.ipn_version.as_str()),
        ("rusta", "0.6.1")
    );
    assert_eq!(hostinfo.net_info.unwrap().preferred_derp, 900);
}

#[test]
fn null_is_absent_wherever_it_stands() {
    let body = br#"{"Version":null,"Hostinfo":{"OS":null,"RoutableIPs":[null,"10.0.0.0/8",null],
            "Services":[null,{"Proto":null,"Port":1}],"NetInfo":null},"Endpoints":[null]}"#;
    let request: MapRequest = parse_request(body).unwrap();
    assert!(request.endpoints.is_empty());
    let hostinfo = request.hostinfo.unwrap();
    assert_eq!(hostinfo.routable_ips, ["10.0.0.0/8"]);
    assert_eq!(hostinfo.services[0].port, 1);
    let nothing: MapRequest = parse_request(b"{}").unwrap();
    assert_eq!(nothing, MapRequest::default());
    assert!(parse_request::<MapRequest>(b"null").is_err(), "no request");
}

#[test]
fn attributes_keep_their_names_and_null_removes_one() {
    let body = br#"{"version":130,"update":{"os":"x","custom:gone":null,"custom:level":7.5,"custom:is":true}}"#;
    let request: SetDeviceAttributesRequest = parse_request(body).unwrap();
    let expected = [
        ("custom:gone", Value::Null),
        ("custom:is", true.into()),
        ("custom:level", 7.5.into()),
        ("os", "x".into()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(request.update.into_iter().collect::<Vec<_>>(), expected);
    let wrong = parse_request::<SetDeviceAttributesRequest>(br#"{"Update":["custom:is"]}"#);
    assert!(wrong.unwrap_err().to_string().contains("Update"));
}

#[test]
fn body_of_countless_values_is_refused() {
    for unit in ["{},", "[],", r#"{"":0},"#, "0,"] {
        let body = format!(r#"{{"Endpoints":[{}0]}}"#, unit.repeat(MOST_VALUES));
        let refused = parse_request::<MapRequest>(body.as_bytes());
        assert!(matches!(refused, Err(RequestError::Values)), "{unit}");
    }
    let endpoints = vec!["192.0.2.1:41641"; 1000];
    let body = serde_json::json!({ "Endpoints": endpoints }).to_string();
    let request: MapRequest = parse_request(body.as_bytes()).unwrap();
    assert_eq!(request.endpoints.len(), 1000);
}

#[test]
fn error_names_the_member() {
    let error = parse_request::<RegisterRequest>(br#"{"Auth":{"authkey":7}}"#).unwrap_err();
    assert!(error.to_string().contains("Auth.AuthKey"), "{error}");
    assert!(parse_request::<RegisterRequest>(b"{").is_err());
    let deep = "[".repeat(1000);
    assert!(parse_request::<RegisterRequest>(deep.as_bytes()).is_err());
}
