//! headscale's pre-auth keys. None of them moves: here a key has another form, and from 0.28 on headscale keeps hashes of
//! which the key is not found out.

use chrono::{DateTime, Utc};

use super::{MovingUser, Note};
use crate::rows::{HeadscaleData, HeadscaleKey};

/// Says of each key that still makes nodes how to make its like here.
pub(super) fn note_keys(
    data: &HeadscaleData,
    users: &[MovingUser],
    now: DateTime<Utc>,
    notes: &mut Vec<Note>,
) {
    let usable = |key: &&HeadscaleKey| {
        (key.reusable || !key.used) && key.expiry.is_none_or(|expiry| expiry > now)
    };
    for key in data.keys.iter().filter(usable) {
        let mut command = "bowline keys create".to_owned();
        let mut owners = users.iter().filter(|user| user.there.id == key.user_id);
        if let Some(owner) = owners.next().filter(|_| key.tags.is_empty()) {
            command.push_str(&format!(" --user {}", owner.user.login_name));
        }
        for tag in &key.tags {
            command.push_str(&format!(" --tag {tag}"));
        }
        for (is_so, option) in [
            (key.reusable, " --reusable"),
            (key.ephemeral, " --ephemeral"),
        ] {
            command.push_str(if is_so { option } else { "" });
        }
        notes.push(Note {
            about: "key",
            name: match &*key.prefix {
                "" => format!("number {}", key.id),
                prefix => format!("hskey-auth-{prefix}"),
            },
            text: format!("does not move: make another with {command}"),
        });
    }
}
