//! Names of custom attributes of nodes.

/// What the name of a custom attribute begins with.
pub const CUSTOM_ATTRIBUTE: &str = "custom:";
/// The longest rest of a name.
const LONGEST_NAME: usize = 50;

/// Says whether a text names a custom attribute: `custom:`, and then 1 to 50 letters, digits, dots, hyphens and underscores
/// of ASCII. Upper and lower case differ.
#[must_use]
pub fn is_custom_attribute(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.strip_prefix(CUSTOM_ATTRIBUTE).is_some_and(|rest| {
        (1..=LONGEST_NAME).contains(&rest.len()) && rest.chars().all(is_allowed)
    })
}

#[cfg(test)]
mod tests;
