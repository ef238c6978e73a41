use super::*;

fn sealed(json: &str) -> (SecretKey, Vec<u8>) {
    let (client, relay) = (SecretKey::from([1; 32]), SecretKey::from([2; 32]));
    let shared = SalsaBox::new(&relay.public_key(), &client);
    let sealed = shared
        .encrypt(&[3; NONCE_LEN].into(), json.as_bytes())
        .unwrap();
    (
        relay,
        [
            &client.public_key().to_bytes()[..],
            &[3; NONCE_LEN],
            &sealed,
        ]
        .concat(),
    )
}

fn refusal(body: &[u8], relay: &SecretKey) -> DerpHandshakeError {
    open_client_info(body, relay).err().unwrap()
}

#[test]
fn box_sealed_by_the_named_key_is_opened_and_answered() {
    let (relay, body) = sealed(r#"{"version":2,"CanAckPings":true,"meshKey":"x","New":{}}"#);
    let client = open_client_info(&body, &relay).unwrap();
    assert_eq!(client.node.as_bytes()[..], body[..32]);
    assert!(client.acks_pings);

    let answer = client.server_info([9; NONCE_LEN]);
    let shared = SalsaBox::new(&relay.public_key(), &SecretKey::from([1; 32]));
    let opened = shared
        .decrypt((&[9; NONCE_LEN]).into(), &answer[NONCE_LEN..])
        .unwrap();
    assert_eq!(opened, br#"{"version":2}"#);
}

#[test]
fn client_that_does_not_mention_pings_is_not_pinged() {
    let (relay, body) = sealed(r#"{"can_ack_pings":false,"mesh_key":"none","version":2}"#);
    assert!(!open_client_info(&body, &relay).unwrap().acks_pings);
}

#[test]
fn box_of_another_key_is_refused() {
    let (relay, mut body) = sealed(r#"{"version":2}"#);
    body[..32].copy_from_slice(&SecretKey::from([7; 32]).public_key().to_bytes());
    assert!(matches!(refusal(&body, &relay), DerpHandshakeError::Forged));
}

#[test]
fn box_for_another_relay_is_refused() {
    let (_, body) = sealed(r#"{"version":2}"#);
    assert!(matches!(
        refusal(&body, &SecretKey::from([8; 32])),
        DerpHandshakeError::Forged
    ));
}

#[test]
fn low_order_key_that_anyone_can_seal_with_is_refused() {
    let (relay, _) = sealed("{}");
    for weak in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let shared = SalsaBox::new(&PublicKey::from(weak), &SecretKey::from([5; 32]));
        let forged = shared
            .encrypt(&[3; 24].into(), &br#"{"version":2}"#[..])
            .unwrap();
        let body = [&weak[..], &[3; 24], &forged].concat();
        assert!(matches!(
            refusal(&body, &relay),
            DerpHandshakeError::WeakKey
        ));
    }
}

#[test]
fn text_that_is_no_json_and_old_versions_are_refused() {
    let (relay, body) = sealed("hello");
    assert!(matches!(
        refusal(&body, &relay),
        DerpHandshakeError::Json(_)
    ));
    let (relay, body) = sealed(r#"{"version":1}"#);
    assert!(matches!(
        refusal(&body, &relay),
        DerpHandshakeError::Version(1)
    ));
    assert!(matches!(
        refusal(&body[..55], &relay),
        DerpHandshakeError::Short
    ));
}
