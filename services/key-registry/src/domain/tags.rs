//! Tags: `tag:` and a name of letters, digits and hyphens that begins with a letter.

use crate::error::RegistryError;

/// The most tags of one node.
const MOST_TAGS: usize = 100;

/// Returns tags sorted and without repetition, or what is wrong with them.
pub fn canonical_tags(mut tags: Vec<String>) -> Result<Vec<String>, RegistryError> {
    if tags.len() > MOST_TAGS {
        return Err(RegistryError::invalid(
            "tags",
            format!("are more than {MOST_TAGS}, the most that a device has: leave some out"),
        ));
    }
    if let Some(wrong) = tags.iter().find(|tag| !is_tag(tag)) {
        let problem = format!(
            "\"{}\" is not tag: and a name such as tag:web",
            wrong.escape_debug()
        );
        return Err(RegistryError::invalid("tags", problem));
    }
    tags.sort();
    tags.dedup();
    Ok(tags)
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 100
        && tag.strip_prefix("tag:").is_some_and(|name| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        })
}

#[cfg(test)]
mod tests;
