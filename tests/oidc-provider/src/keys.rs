//! Its keys: a number is a key.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey as _,
    core::{CoreEdDsaPrivateSigningKey, CoreHmacKey, CoreJwsSigningAlgorithm},
};
use serde_json::Value;

/// What stands before the secret of an Ed25519 key in PKCS #8.
const PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

fn private_key(number: u8) -> CoreEdDsaPrivateSigningKey {
    let mut der = PREFIX.to_vec();
    der.extend([number; 32]);
    let text = STANDARD.encode(der);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    let id = JsonWebKeyId::new(number.to_string());
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(id)).unwrap()
}

/// Returns the public half of a key, as it is published.
pub(crate) fn public_key(number: u8) -> Value {
    serde_json::to_value(private_key(number).as_verification_key()).unwrap()
}

/// Signs claims with a key, in the way that the header says: `EdDSA`; `HS256` with the public key as the secret, as forgers
/// do; whatever else has no signature.
#[must_use]
pub fn sign_token(key: u8, header: &Value, claims: &Value) -> String {
    let signed = join_parts(header, claims);
    let message = signed.as_bytes();
    let signature = match header["alg"].as_str() {
        Some("EdDSA") => private_key(key).sign(&CoreJwsSigningAlgorithm::EdDsa, message),
        Some("HS256") => {
            let public = public_key(key)["x"].as_str().unwrap().to_owned();
            let secret = CoreHmacKey::new(URL_SAFE_NO_PAD.decode(public).unwrap());
            secret.sign(&CoreJwsSigningAlgorithm::HmacSha256, message)
        }
        _ => Ok(Vec::new()),
    };
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
}

/// Signs claims by HS256.
pub(crate) fn sign_with_secret(secret: &str, header: &Value, claims: &Value) -> String {
    let signed = join_parts(header, claims);
    let key = CoreHmacKey::new(secret);
    let signature = key.sign(&CoreJwsSigningAlgorithm::HmacSha256, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
}

fn join_parts(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}
