use super::*;

const KEY: &str = "bowline-sealing-key-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

async fn read(command: &str) -> Result<Option<SealingKeys>, SealingKeyError> {
    let config = IdentityConfig {
        sealing_key_command: Some(command.to_owned()),
        ..IdentityConfig::default()
    };
    config.read_sealing_keys().await
}

#[tokio::test]
async fn sealing_keys_come_from_a_command() {
    let keys = read(&format!("printf '%s\\n' {KEY}")).await;
    let keys = keys.expect("the command works").expect("keys");
    let from_text = SealingKeys::parse(KEY).expect("keys");
    let sealed = from_text.seal("a place", b"a secret");
    let opened = keys.open("a place", &sealed).expect("the same keys");
    assert_eq!(&**opened, b"a secret");
}

#[tokio::test]
async fn command_that_gives_no_keys_is_named_without_what_it_prints() {
    for (command, said) in [
        (
            format!("echo {KEY}; echo no access >&2; exit 3"),
            "no access",
        ),
        (format!("echo {KEY}x"), "sealing_key"),
    ] {
        let error = read(&command)
            .await
            .map(drop)
            .expect_err("no keys")
            .to_string();
        assert!(error.contains(said) && !error.contains(KEY), "{error}");
    }
    let both = IdentityConfig {
        sealing_key: Some(Secret::new(KEY.to_owned())),
        sealing_key_command: Some("true".to_owned()),
        ..IdentityConfig::default()
    };
    let error = both.read_sealing_keys().await.map(drop);
    assert!(matches!(error, Err(SealingKeyError::Both)));
}
