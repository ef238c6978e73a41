//! What binds a login at a provider, made here and sealed until the browser comes back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bowline_clock::random_bytes;
use bowline_oidc::LoginSecrets;
use bowline_sealing::SealingKeys;
use zeroize::Zeroizing;

use crate::{error::IdentityError, store::attempts::AttemptRow};

/// Makes secrets of 256 bits each.
pub(crate) fn random_secrets() -> LoginSecrets {
    let random = || Zeroizing::new(URL_SAFE_NO_PAD.encode(*Zeroizing::new(random_bytes::<32>())));
    LoginSecrets {
        state: random(),
        nonce: random(),
        verifier: random(),
    }
}

fn place(attempt_id: &str) -> String {
    format!("login_attempts/{attempt_id}")
}

/// Seals nonce and verifier; the state is only kept as a hash.
pub(crate) fn seal_login_secrets(
    keys: &SealingKeys,
    attempt_id: &str,
    secrets: &LoginSecrets,
) -> Vec<u8> {
    let text = Zeroizing::new(format!("{}\n{}", *secrets.nonce, *secrets.verifier));
    keys.seal(&place(attempt_id), text.as_bytes())
}

/// Opens what was sealed, and puts the state beside that the browser has brought back.
pub(crate) fn open_login_secrets(
    keys: &SealingKeys,
    attempt: &AttemptRow,
    state: Zeroizing<String>,
) -> Result<LoginSecrets, IdentityError> {
    let opened = keys.open(&place(&attempt.id), &attempt.sealed);
    let opened =
        opened.map_err(|error| IdentityError::Sealed("the login attempt".to_owned(), error))?;
    let text = String::from_utf8_lossy(&opened);
    let (nonce, verifier) = text.split_once('\n').unwrap_or_default();
    Ok(LoginSecrets {
        state,
        nonce: Zeroizing::new(nonce.to_owned()),
        verifier: Zeroizing::new(verifier.to_owned()),
    })
}
