//! Which environment variables are settings.

/// What every setting's variable begins with.
const PREFIX: &str = "BOWLINE_";

/// Variables with that beginning that are none: the command line's own, and those of the tests.
const OTHERS: [&str; 16] = [
    "ADDRESS",
    "CA",
    "CERT",
    "CERT_KEY",
    "DENIED",
    "FULL_SIZE",
    "GOLDEN_DIR",
    "IDENTITY",
    "KEY_REGISTRY",
    "LAB",
    "PEERS_DIR",
    "POLICY_COMPILER",
    "RUST_CLIENT",
    "STATE_DIR",
    "TAILNET",
    "TOKEN_FILE",
];

/// Returns the path of the key that a variable overrides, its parts joined by `__`; `None` when it is no setting.
pub(super) fn setting_path(variable: &str) -> Option<String> {
    let path = variable.strip_prefix(PREFIX)?;
    let is_setting = path.contains("__") || !(OTHERS.contains(&path) || is_service_link(path));
    is_setting.then(|| path.to_ascii_lowercase())
}

/// Tells whether Kubernetes sets this for each service whose name begins with `bowline`: `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_HTTPS`, `…_PORT`, `…_PORT_443_TCP`, `…_PORT_443_TCP_ADDR`.
fn is_service_link(path: &str) -> bool {
    let words: Vec<_> = path.split('_').collect();
    let is_numbered = |pair: &[&str]| {
        pair[0] == "PORT" && pair[1].starts_with(|first: char| first.is_ascii_digit())
    };
    let is_of_service = |pair: &[&str]| pair[0] == "SERVICE" && ["HOST", "PORT"].contains(&pair[1]);
    words.last() == Some(&"PORT")
        || words
            .windows(2)
            .any(|pair| is_numbered(pair) || is_of_service(pair))
}

#[cfg(test)]
mod tests;
