//! The code of the services and of what they share, as tokens: without comments and without tests.

use std::{fs, iter::Peekable};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree, token_stream::IntoIter};

use crate::{files_below, root};

/// Calls `look` with each run of tokens between brackets, and at the top, of all production code below these folders.
pub(crate) fn each_run(folders: &[&str], look: &mut impl FnMut(&[TokenTree])) {
    for folder in folders {
        for path in files_below(&root().join(folder), ".rs") {
            let place = path.to_str().unwrap();
            if place.ends_with("/tests.rs") || !place.contains("/src/") || place.contains("/tests/")
            {
                continue;
            }
            let tokens: TokenStream = fs::read_to_string(&path).unwrap().parse().unwrap();
            look_into(tokens, look);
        }
    }
}

fn look_into(tokens: TokenStream, look: &mut impl FnMut(&[TokenTree])) {
    let run = without_tests(tokens);
    look(&run);
    for token in run {
        if let TokenTree::Group(group) = token {
            look_into(group.stream(), look);
        }
    }
}

/// Returns the tokens without attributes, which comments are as well, and without items for tests.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        if !is_mark(&token, '#') {
            kept.push(token);
            continue;
        }
        let attribute = take_attribute(&mut rest);
        let is_test = attribute.is_some_and(|group| group.stream().to_string() == "cfg (test)");
        if is_test {
            skip_item(&mut rest);
        }
    }
    kept
}

fn take_attribute(rest: &mut Peekable<IntoIter>) -> Option<Group> {
    rest.next_if(|token| is_mark(token, '!'));
    let is_bracket = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket);
    match rest.next_if(is_bracket) {
        Some(TokenTree::Group(group)) => Some(group),
        _ => None,
    }
}

/// Passes over what ends in a block or a semicolon.
fn skip_item(rest: &mut Peekable<IntoIter>) {
    for token in rest {
        let is_end = match &token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            token => is_mark(token, ';'),
        };
        if is_end {
            return;
        }
    }
}

/// Tells whether a token is this mark.
pub(crate) fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// Returns what stands between the quotes when a token is plain text.
pub(crate) fn text(token: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else {
        return None;
    };
    let literal = literal.to_string();
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.to_owned())
}

/// Returns all texts of a group and of the groups in it.
pub(crate) fn texts(group: &Group) -> Vec<String> {
    let mut found = Vec::new();
    look_into(group.stream(), &mut |run| {
        found.extend(run.iter().filter_map(text))
    });
    found
}
