use super::*;

#[test]
fn what_each_peer_is_told_of_a_host_is_bounded() {
    let service = |proto: &str| Service {
        proto: proto.to_owned(),
        port: 80,
        description: "ü".repeat(10_000),
    };
    let place = "x".repeat(10_000);
    let sent = Hostinfo {
        services: vec![service("peerapi4"); 1000]
            .into_iter()
            .chain([service(&format!("peerapi{place}"))])
            .collect(),
        ssh_host_keys: [vec![place.clone()], vec!["ssh-rsa A".repeat(80); 100]].concat(),
        location: Some(Location {
            country: place.clone(),
            country_code: place.clone(),
            city: place.clone(),
            city_code: place,
            ..Location::default()
        }),
        ..Hostinfo::default()
    };
    let told = reduce_hostinfo(&serde_json::to_vec(&sent).unwrap());
    assert!(told.len() < 12_000, "{} bytes", told.len());
    let told: Hostinfo = serde_json::from_slice(&told).unwrap();
    assert_eq!((told.services.len(), told.ssh_host_keys.len()), (16, 8));
    assert_eq!(told.services[0].description, "ü".repeat(32));
    assert_eq!(
        told.ssh_host_keys[0], sent.ssh_host_keys[1],
        "whole or not at all"
    );
    assert_eq!(told.location.unwrap().city_code.len(), 64);
}
