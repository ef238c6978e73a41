use super::*;

#[test]
fn what_clients_report_becomes_attributes_and_what_they_do_not_say_is_not_set() {
    let device = ReportedDevice {
        os: "macOS",
        os_version: "15.6.1",
        client_version: "1.102.5-tabcdef",
        auto_update: Some(true),
        state_encrypted: Some(false),
    };
    let text = |text: &str| AttributeValue::Text(text.to_owned());
    let expected = [
        ("node:os", text("macos")),
        ("node:osVersion", text("15.6.1")),
        ("node:tsAutoUpdate", AttributeValue::Bool(true)),
        ("node:tsReleaseTrack", text("stable")),
        ("node:tsStateEncrypted", AttributeValue::Bool(false)),
        ("node:tsVersion", text("1.102.5")),
    ];
    let found: Vec<_> = device_attributes(device).into_iter().collect();
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(found, expected);
    assert_eq!(
        device_attributes(ReportedDevice::default()),
        Attributes::new()
    );
    let unstable = ReportedDevice {
        client_version: "1.103.0",
        ..ReportedDevice::default()
    };
    let track = &device_attributes(unstable)["node:tsReleaseTrack"];
    assert_eq!(*track, text("unstable"));
}
