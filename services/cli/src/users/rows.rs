//! Users and roles, as they are written and shown.

use bowline_proto::identity::v1::{Role, SuspensionSource, User, UserLink};
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

/// A user as shown alone.
#[derive(Debug, Serialize)]
pub(super) struct ShownUser {
    #[serde(flatten)]
    user: UserRow,
    links: Vec<ShownLink>,
}

/// Who a user is at a provider.
#[derive(Debug, Serialize)]
struct ShownLink {
    connection_id: u64,
    connection: String,
    issuer: String,
    subject: String,
    linked_at: Option<String>,
}

impl ShownUser {
    pub(super) fn new(user: User, links: &[UserLink]) -> Self {
        let to_shown = |link: &UserLink| ShownLink {
            connection_id: link.connection_id,
            connection: link.connection_name.clone(),
            issuer: link.issuer.clone(),
            subject: link.subject.clone(),
            linked_at: time::time_text(link.linked_at),
        };
        Self {
            user: UserRow::from(user),
            links: links.iter().map(to_shown).collect(),
        }
    }
}

impl Row for ShownUser {
    const HEADS: &'static [&'static str] = &[
        "id",
        "login",
        "name",
        "role",
        "groups",
        "suspended",
        "logs in as",
    ];

    fn table_cells(&self) -> Vec<String> {
        let mut cells = self.user.table_cells();
        let links = self.links.iter();
        let links: Vec<_> = links
            .map(|link| format!("{} at {}", link.subject, link.connection))
            .collect();
        cells.push(join_texts(&links));
        cells
    }
}
