//! Login names of headscale's users, and labels of its nodes.

use std::collections::BTreeSet;

use bowline_proto::identity::v1::{Role, User};

use super::MovingUser;
use crate::rows::HeadscaleUser;

/// The longest label in DNS.
const LONGEST_LABEL: usize = 63;

/// Gives each user a login name of its own: the mail address, else the name. A login name has an `@`; a name without one
/// gets it at the end, as headscale's policies write it.
pub(crate) fn name_users(users: &[HeadscaleUser]) -> Vec<MovingUser> {
    let mut taken = BTreeSet::new();
    let name_one = |there: &HeadscaleUser| {
        let plain = with_at(&there.name);
        let wanted = match &*there.email {
            "" => plain.clone(),
            email => with_at(email),
        };
        let numbered = (2..).map(|number| format!("{}-{number}@", there.name.replace('@', "-")));
        let mut names = [wanted, plain].into_iter().chain(numbered);
        let login_name = names.find(|name| taken.insert(name.to_lowercase()));
        MovingUser {
            there: there.clone(),
            user: User {
                login_name: login_name.unwrap_or_default(),
                display_name: there.display_name.clone(),
                role: Role::Member.into(),
                ..User::default()
            },
        }
    };
    users.iter().map(name_one).collect()
}

fn with_at(name: &str) -> String {
    match name.contains('@') {
        true => name.to_owned(),
        false => format!("{name}@"),
    }
}

/// Returns a name as a label of DNS: the same, if it is one.
pub(super) fn to_label(name: &str) -> String {
    let folded = name.to_lowercase();
    let allowed = |c: char| match c {
        'a'..='z' | '0'..='9' => c,
        _ => '-',
    };
    let label: String = folded.chars().map(allowed).take(LONGEST_LABEL).collect();
    match label.trim_matches('-') {
        "" => "node".to_owned(),
        label => label.to_owned(),
    }
}
