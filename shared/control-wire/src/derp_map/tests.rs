use super::*;

#[test]
fn nothing_of_a_map_is_lost() {
    let text = r#"{"HomeParams":{"RegionScore":{"901":0.5}},"Regions":{"901":{"RegionID":901,"RegionCode":"x",
            "RegionName":"X","Latitude":52.5,"Longitude":13.25,"Avoid":true,"NoMeasureNoHome":true,"Nodes":[{
            "Name":"901a","RegionID":901,"HostName":"relay.example.com","CertName":"cert.example.com",
            "IPv4":"192.0.2.1","IPv6":"2001:db8::1","STUNPort":-1,"STUNOnly":true,"DERPPort":8443,
            "InsecureForTests":true,"STUNTestIP":"192.0.2.2","CanPort80":true}]}},"omitDefaultRegions":true}"#;
    let sent: serde_json::Value = serde_json::from_str(text).unwrap();
    let map: DerpMap = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&map).unwrap(), sent);
}

#[test]
fn weights_that_are_gone_are_taken_back() {
    let score = BTreeMap::from([(901, 0.5)]);
    let weighed = DerpMap {
        home_params: Some(DerpHomeParams {
            region_score: score,
        }),
        ..DerpMap::default()
    };
    let plain = DerpMap::default();
    assert_eq!(plain.clone().replacing(&plain), plain);
    assert_eq!(weighed.clone().replacing(&plain), weighed);
    let taken_back = serde_json::to_value(plain.replacing(&weighed)).unwrap();
    assert_eq!(
        taken_back["HomeParams"]["RegionScore"],
        serde_json::json!({})
    );
}
