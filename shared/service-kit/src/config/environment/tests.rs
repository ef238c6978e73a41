use super::*;

#[test]
fn variables_of_others_are_no_settings() {
    for variable in [
        "PATH",
        "BOWLINE_STATE_DIR",
        "BOWLINE_KEY_REGISTRY",
        "BOWLINE_SERVICE_HOST",
        "BOWLINE_PORT",
        "BOWLINE_IDENTITY_SERVICE_HOST",
        "BOWLINE_IDENTITY_SERVICE_PORT_GRPC",
        "BOWLINE_IDENTITY_PORT",
        "BOWLINE_IDENTITY_PORT_7101_TCP",
        "BOWLINE_IDENTITY_PORT_7101_TCP_ADDR",
    ] {
        assert_eq!(setting_path(variable), None, "{variable}");
    }
    assert_eq!(
        setting_path("BOWLINE_DATABASE").as_deref(),
        Some("database")
    );
    assert_eq!(
        setting_path("BOWLINE_IDENTITY__PORT").as_deref(),
        Some("identity__port")
    );
}
