//! Text that goes into JSON strings.

/// Returns `text` without characters that JSON would escape: quotes, backslashes, control characters.
///
/// The Rust client borrows strings from the message and drops the whole stream at an escape.
#[must_use]
pub fn plain_text(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '"' => '\'',
            '\\' => '/',
            control if control.is_control() => ' ',
            other => other,
        })
        .collect()
}

/// Splits a filter address of any form into prefixes: a range becomes the prefixes that make it up.
pub(crate) fn split_into_prefixes(text: &str) -> Vec<String> {
    let range = text.split_once('-').and_then(|(low, high)| {
        Some((
            low.parse::<std::net::Ipv4Addr>().ok()?,
            high.parse::<std::net::Ipv4Addr>().ok()?,
        ))
    });
    match range {
        Some((low, high)) => ipnet::Ipv4Subnets::new(low, high, 0)
            .map(|prefix| prefix.to_string())
            .collect(),
        None => vec![text.to_owned()],
    }
}
