//! Users as clients see them.

use bowline_control_wire::{UserProfile, plain_text};
use bowline_ids::UserId;
use bowline_proto::key_registry::v1::Node;

use crate::View;

/// Returns the number of the user a node is shown under.
#[must_use]
pub fn owner_id(node: &Node) -> UserId {
    let user = node.owning_user();
    user.and_then(|user| UserId::try_from(user).ok())
        .unwrap_or(UserId::TAGGED_DEVICES)
}

/// Returns the profile of a user, or of the pseudo user.
#[must_use]
pub fn user_profile(view: &View, user: UserId) -> UserProfile {
    let id = user.get();
    match view.users.get(&user) {
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
