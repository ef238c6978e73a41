//! A user as peers see it (protocol section 8.4).

use serde::{Deserialize, Serialize};

/// A user's profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UserProfile {
    /// Number.
    #[serde(rename = "ID")]
    pub id: u64,
    /// E-mail-like.
    pub login_name: String,
    /// The name that clients show.
    pub display_name: String,
    /// The URL of a picture.
    #[serde(rename = "ProfilePicURL", skip_serializing_if = "String::is_empty")]
    pub profile_pic_url: String,
}
