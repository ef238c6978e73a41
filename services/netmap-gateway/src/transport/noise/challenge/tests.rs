use axum::http::HeaderValue;
use bowline_control_nacl::seal_box;

use super::*;

fn answer(node: &PrivateKey, text: &str, challenge: &Challenge) -> HeaderValue {
    let public = NodePublic::from_bytes(node.public_bytes());
    let recipient = MachinePublic::from_bytes(*challenge.public().unwrap().as_bytes());
    let sealed = seal_box(text.as_bytes(), node, recipient, random_bytes());
    HeaderValue::try_from(format!("{public} {}", STANDARD.encode(sealed))).unwrap()
}

fn headers(answers: &[HeaderValue]) -> HeaderMap {
    let name = axum::http::HeaderName::from_static(PROOF);
    answers
        .iter()
        .map(|answer| (name.clone(), answer.clone()))
        .collect()
}

#[test]
fn each_key_that_answers_the_challenge_is_proven() {
    let challenge = Challenge::new();
    let text = challenge.public().unwrap().to_string();
    let keys = [(), ()].map(|()| PrivateKey::from_random(random_bytes()));
    let answers = keys.each_ref().map(|key| answer(key, &text, &challenge));
    let proven = challenge.proven_keys(&headers(&answers)).unwrap();
    let expected = keys
        .each_ref()
        .map(|key| NodePublic::from_bytes(key.public_bytes()));
    assert_eq!(proven, expected);
    assert!(challenge.proven_keys(&HeaderMap::new()).unwrap().is_empty());
}

#[test]
fn nothing_else_is_a_proof() {
    let challenge = Challenge::new();
    let text = challenge.public().unwrap().to_string();
    let key = PrivateKey::from_random(random_bytes());
    let status = |challenge: &Challenge, answers: &[HeaderValue]| {
        challenge
            .proven_keys(&headers(answers))
            .unwrap_err()
            .status()
    };
    let good = answer(&key, &text, &challenge);
    // Another connection's challenge, another text, another key's box, no challenge at all.
    assert_eq!(status(&Challenge::new(), std::slice::from_ref(&good)), 401);
    assert_eq!(status(&Challenge::none(), std::slice::from_ref(&good)), 401);
    assert_eq!(
        status(&challenge, &[answer(&key, "chalpub:", &challenge)]),
        401
    );
    let other = NodePublic::from_bytes(PrivateKey::from_random(random_bytes()).public_bytes());
    let (_, sealed) = good.to_str().unwrap().split_once(' ').unwrap();
    let stolen = HeaderValue::try_from(format!("{other} {sealed}")).unwrap();
    assert_eq!(status(&challenge, &[stolen]), 401);
    for nonsense in ["", "nodekey:00", "a b"] {
        assert_eq!(
            status(&challenge, &[HeaderValue::from_static(nonsense)]),
            400
        );
    }
    assert_eq!(status(&challenge, &[good.clone(), good.clone(), good]), 400);
}
