//! headscale's policy in the language of this server: the same, but for how users are named.
//!
//! headscale knows a user by name, by mail address and by who the user is at the provider: `carol@`, `carol@example.com` and
//! `https://login.example.com/1234@`. Here a user has one login name.

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{StringLit, Value},
    common::Ranged as _,
    parse_to_ast,
};

use crate::{plan::MovingUser, rows::HeadscaleUser};

/// A user of a policy that is called otherwise here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RenamedUser {
    /// The line, from one.
    pub(crate) line: usize,
    /// As headscale's document names the user.
    pub(crate) before: String,
    /// As the login name is here.
    pub(crate) after: String,
}

/// Names users by their login names; everything else, comments and places of lines included, stays. A document that does not
/// parse is returned as it is: whoever checks it finds out why.
pub(crate) fn rename_users(text: &str, users: &[MovingUser]) -> (String, Vec<RenamedUser>) {
    let options = ParseOptions::default();
    let Ok(parsed) = parse_to_ast(text, &CollectOptions::default(), &options) else {
        return (text.to_owned(), Vec::new());
    };
    let mut texts = Vec::new();
    if let Some(value) = &parsed.value {
        collect_texts(value, &mut texts);
    }
    let (mut renamed, mut changed, mut written) = (String::new(), Vec::new(), 0);
    for literal in texts {
        let Some((before, after, rest)) = find_name(&literal.value, users) else {
            continue;
        };
        let range = literal.range();
        renamed.push_str(&text[written..range.start]);
        renamed.push_str(&serde_json::Value::from(format!("{after}{rest}")).to_string());
        written = range.end;
        changed.push(RenamedUser {
            line: text[..range.start].matches('\n').count() + 1,
            before: before.to_owned(),
            after: after.to_owned(),
        });
    }
    renamed.push_str(&text[written..]);
    (renamed, changed)
}

/// Returns the texts that are values, in the order of the document.
fn collect_texts<'v, 't>(value: &'v Value<'t>, texts: &mut Vec<&'v StringLit<'t>>) {
    match value {
        Value::StringLit(literal) => texts.push(literal),
        Value::Array(array) => {
            for element in &array.elements {
                collect_texts(element, texts);
            }
        }
        Value::Object(object) => {
            for property in &object.properties {
                collect_texts(&property.value, texts);
            }
        }
        _ => {}
    }
}

/// Returns the user's name in a text, the login name to put there, and what follows (ports); `None` when the text names no
/// user, or one who is called the same here.
fn find_name<'t, 'u>(
    text: &'t str,
    users: &'u [MovingUser],
) -> Option<(&'t str, &'u str, &'t str)> {
    if text.starts_with("localpart:") {
        return None;
    }
    let at = text.find('@')?;
    let end = text[at..].find(':').map_or(text.len(), |colon| at + colon);
    let (name, rest) = text.split_at(end);
    let found = find_user(name, users)?;
    (found.user.login_name != name).then_some((name, &*found.user.login_name, rest))
}

/// Returns the user whom headscale means by a name: the one who is that at the provider, else the only one with that name or
/// mail address.
fn find_user<'u>(name: &str, users: &'u [MovingUser]) -> Option<&'u MovingUser> {
    let name = name.strip_suffix('@').unwrap_or(name);
    let is_at_provider = |user: &HeadscaleUser| user.provider_identifier == name;
    if let Some(found) = users.iter().find(|user| is_at_provider(&user.there)) {
        return Some(found);
    }
    let is_called = |user: &&MovingUser| user.there.name == name || user.there.email == name;
    let mut called = users.iter().filter(is_called);
    match (called.next(), called.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
