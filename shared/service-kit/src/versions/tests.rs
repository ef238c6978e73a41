use tonic::Code;

use super::*;

fn headers(value: &str) -> HeaderMap {
    let header = (HEADER.parse().unwrap(), value.parse().unwrap());
    [header].into_iter().collect()
}

#[test]
fn process_is_known_by_what_it_says() {
    let mut told = HeaderMap::new();
    write_header(&mut told);
    let own = ProcessVersion::parse(read_header(&told));
    assert_eq!(own, ProcessVersion::own());
    let ending = ProcessVersion::parse("a 0.3.0 1 clients=1800000000 more=2 services=x");
    assert_eq!(ending.ends.clients, Some(1_800_000_000));
    assert_eq!(ending.ends.services, None);
    assert_eq!(ProcessVersion::parse(&ending.to_string()), ending);
    let long = format!("{} 0.3.0 7", "x".repeat(200));
    for strange in ["", "a", "a b", "a b c", "a b -1", "a b 99999999999", &long] {
        let version = ProcessVersion::parse(read_header(&headers(strange)));
        assert_eq!(version.level, 0, "{strange}");
    }
}

#[test]
fn callers_are_told_once_and_refused_below_the_level() {
    let versions = CallerVersions::default();
    let gateway = ServiceName::NetmapGateway;
    for caller in ["a 0.2.0 1", "b 0.3.0 2", "b 0.3.0 2"] {
        versions.admit_caller(gateway, &headers(caller)).unwrap();
    }
    versions.admit_caller(gateway, &HeaderMap::new()).unwrap();
    let levels = |callers: Vec<(ServiceName, ProcessVersion)>| -> Vec<u32> {
        callers
            .into_iter()
            .map(|(_, version)| version.level)
            .collect()
    };
    assert_eq!(levels(versions.take_callers()), [0, 1, 2]);
    assert!(versions.take_callers().is_empty());

    versions.require_level(2);
    versions.require_level(1);
    versions
        .admit_caller(gateway, &headers("b 0.3.0 2"))
        .unwrap();
    let refused = versions.admit_caller(gateway, &headers("a 0.2.0 1"));
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("netmap-gateway 0.2.0"),
        "{refused}"
    );
    assert_eq!(levels(versions.take_callers()), [2]);
}

#[test]
fn relay_of_any_release_is_served_and_hinders_no_level() {
    let versions = CallerVersions::default();
    versions.require_level(2);
    let relay = versions.admit_caller(ServiceName::Relay, &HeaderMap::new());
    relay.unwrap();
    assert!(versions.take_callers().is_empty());
}
