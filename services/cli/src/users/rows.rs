//! Users and roles, as they are written and shown.

use bowline_proto::identity::v1::{Role, SuspensionSource, User};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    output::{Row, join_texts, yes_mark},
    time,
};

/// Roles as they are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleArg {
    /// No administration.
    Member,
    /// Everything.
    Owner,
    /// Everything but ownership.
    Admin,
    /// Users and devices.
    ItAdmin,
    /// Policy, DNS and routes.
    NetworkAdmin,
    /// Billing.
    BillingAdmin,
    /// Reads everything.
    Auditor,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Member => Self::Member,
            RoleArg::Owner => Self::Owner,
            RoleArg::Admin => Self::Admin,
            RoleArg::ItAdmin => Self::ItAdmin,
            RoleArg::NetworkAdmin => Self::NetworkAdmin,
            RoleArg::BillingAdmin => Self::BillingAdmin,
            RoleArg::Auditor => Self::Auditor,
        }
    }
}

/// Returns a role as it is written.
pub fn role_name(role: Role) -> String {
    let name = role.as_str_name().trim_start_matches("ROLE_");
    name.to_lowercase().replace('_', "-")
}

/// A user as shown.
#[derive(Debug, Serialize)]
pub(super) struct UserRow {
    id: u64,
    login_name: String,
    display_name: String,
    role: String,
    groups: Vec<String>,
    suspended: bool,
    awaits_approval: bool,
    suspended_by: Vec<String>,
    created_at: Option<String>,
}

impl From<User> for UserRow {
    fn from(user: User) -> Self {
        let suspended_by = suspension_names(&user);
        Self {
            id: user.id,
            role: role_name(user.role()),
            login_name: user.login_name,
            display_name: user.display_name,
            groups: user.groups,
            suspended: user.suspended,
            awaits_approval: user.awaits_approval,
            suspended_by,
            created_at: time::time_text(user.created_at),
        }
    }
}

/// Returns who has suspended a user: "administrator", "scim".
fn suspension_names(user: &User) -> Vec<String> {
    let name = |source: SuspensionSource| {
        let name = source.as_str_name();
        name.trim_start_matches("SUSPENSION_SOURCE_").to_lowercase()
    };
    user.suspended_by().map(name).collect()
}

impl Row for UserRow {
    const HEADS: &'static [&'static str] = &["id", "login", "name", "role", "groups", "suspended"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.login_name.clone(),
            self.display_name.clone(),
            self.role.clone(),
            join_texts(&self.groups),
            match self.awaits_approval {
                true => "awaits approval".to_owned(),
                false => yes_mark(self.suspended),
            },
        ]
    }
}
