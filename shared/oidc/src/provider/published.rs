//! Whether what a provider publishes may be used. Pure.

use url::Url;

use crate::types::Metadata;

/// The most keys of a provider that are taken: real ones have fewer than twenty.
const MOST_KEYS: usize = 200;

/// Refuses endpoints that are not as safe as the issuer, and more keys than a provider has.
pub(super) fn check_published(issuer: &str, metadata: &Metadata) -> Result<(), String> {
    let is_secure = issuer.starts_with("https://");
    let token = metadata.token_endpoint().map(|url| url.url());
    let person = metadata.userinfo_endpoint().map(|url| url.url());
    for (name, url) in [
        (
            "authorization_endpoint",
            Some(metadata.authorization_endpoint().url()),
        ),
        ("token_endpoint", token),
        ("userinfo_endpoint", person),
        ("jwks_uri", Some(metadata.jwks_uri().url())),
    ] {
        if let Some(url) = url {
            check_endpoint(name, url, is_secure)?;
        }
    }
    if token.is_none() {
        return Err("it publishes no token_endpoint".to_owned());
    }
    let keys = metadata.jwks().keys().len();
    if keys > MOST_KEYS {
        return Err(format!(
            "it publishes {keys} keys, and at most {MOST_KEYS} are taken"
        ));
    }
    Ok(())
}

/// Refuses an endpoint that is no web address, or one that everybody on the way can read although the issuer's is not.
pub(crate) fn check_endpoint(name: &str, url: &Url, is_secure: bool) -> Result<(), String> {
    let scheme = url.scheme();
    let is_web = scheme == "https" || (scheme == "http" && !is_secure);
    match is_web && url.has_host() {
        true => Ok(()),
        false if is_secure => Err(format!("its {name} does not begin with https://")),
        false => Err(format!("its {name} is no web address")),
    }
}

#[cfg(test)]
mod tests;
