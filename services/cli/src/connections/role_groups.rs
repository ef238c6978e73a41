//! Groups of a provider that give roles, as they are written.

use bowline_proto::identity::v1::{Role, RoleGroup};
use clap::{Args, ValueEnum as _};
use serde::Serialize;

use crate::users::{RoleArg, role_name};

/// Which groups give roles.
#[derive(Debug, Args)]
pub(super) struct RoleGroupArgs {
    /// A group of the provider that gives a role, as netops=network-admin. The first that a person is in counts. Without any,
    /// groups give no roles.
    #[arg(long = "role-group", value_name = "GROUP=ROLE", value_parser = read_role_group)]
    pub(super) role_groups: Vec<RoleGroup>,
}

/// A group that gives a role, as shown.
#[derive(Debug, Serialize)]
pub(super) struct RoleGroupRow {
    group: String,
    role: String,
}

impl RoleGroupRow {
    /// Returns these in their order, which counts.
    pub(super) fn list(mapped: Vec<RoleGroup>) -> Vec<Self> {
        let row = |mapped: RoleGroup| Self {
            role: role_name(mapped.role()),
            group: mapped.group,
        };
        mapped.into_iter().map(row).collect()
    }
}

/// Reads a group that gives a role.
fn read_role_group(text: &str) -> Result<RoleGroup, String> {
    let (group, role) = text.rsplit_once('=').ok_or("has the form GROUP=ROLE")?;
    let role = RoleArg::from_str(role, true)?;
    Ok(RoleGroup {
        group: group.to_owned(),
        role: Role::from(role).into(),
    })
}
