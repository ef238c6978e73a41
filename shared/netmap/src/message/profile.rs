//! Users as clients see them.

use bowline_control_wire::{UserProfile, plain_text};
use bowline_proto::key_registry::v1::Node;

use crate::View;

/// The pseudo user of tagged nodes: beyond every user's number.
pub const TAGGED_DEVICES: u64 = 1 << 52;

/// Returns the number of the user a node is shown under.
#[must_use]
pub fn owner_id(node: &Node) -> u64 {
    node.owning_user().unwrap_or(TAGGED_DEVICES)
}

/// Returns the profile of a user, or of the pseudo user.
#[must_use]
pub fn user_profile(view: &View, id: u64) -> UserProfile {
    match view.users.get(&id) {
        Some(user) => UserProfile {
            id,
            login_name: plain_text(&user.login_name),
            display_name: plain_text(match &*user.display_name {
                "" => &user.login_name,
                shown => shown,
            }),
            profile_pic_url: plain_text(&user.profile_pic_url),
        },
        None => UserProfile {
            id,
            login_name: "tagged-devices".to_owned(),
            display_name: "Tagged Devices".to_owned(),
            ..UserProfile::default()
        },
    }
}
