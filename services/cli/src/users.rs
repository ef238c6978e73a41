//! `bowline users`.

use bowline_proto::identity::v1::{
    CreateUserRequest, DeleteUserRequest, Role, UpdateUserRequest, UpdateUserResponse, User,
    user_service_client::UserServiceClient,
};
use clap::{Subcommand, ValueEnum};
use prost_types::FieldMask;
use serde::Serialize;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::Failure,
    output::{Printer, Row, joined, mark},
    revocation, time,
};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List all.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Show one.
    Show {
        /// Who.
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Add one.
    Create {
        /// E-mail-like: amira@example.com.
        login_name: String,
        /// What clients show.
        #[arg(long, default_value = "")]
        display_name: String,
        /// What the user may administer.
        #[arg(long, value_enum, default_value_t = RoleArg::Member)]
        role: RoleArg,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Change a role.
    SetRole {
        /// Who.
        user: String,
        /// What the user may administer.
        #[arg(value_enum)]
        role: RoleArg,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Cut off a user's nodes until restored.
    Suspend {
        /// Who.
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Let a suspended user back in.
    Restore {
        /// Who.
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Delete a user and the user's nodes.
    Delete {
        /// Who.
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

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

/// A user as shown.
#[derive(Debug, Serialize)]
struct Shown {
    id: u64,
    login_name: String,
    display_name: String,
    role: String,
    groups: Vec<String>,
    suspended: bool,
    created_at: Option<String>,
}

impl From<User> for Shown {
    fn from(user: User) -> Self {
        let role = user.role().as_str_name();
        Self {
            id: user.id,
            role: role
                .trim_start_matches("ROLE_")
                .to_lowercase()
                .replace('_', "-"),
            login_name: user.login_name,
            display_name: user.display_name,
            groups: user.groups,
            suspended: user.suspended,
            created_at: time::text(user.created_at),
        }
    }
}

impl Row for Shown {
    const HEADS: &'static [&'static str] = &["id", "login", "name", "role", "groups", "suspended"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.login_name.clone(),
            self.display_name.clone(),
            self.role.clone(),
            joined(&self.groups),
            mark(self.suspended),
        ]
    }
}

/// Runs a command.
pub async fn run(
    command: Command,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = UserServiceClient::new(connection.identity()?);
    let changed = match command {
        Command::List { tailnet } => {
            let tailnet = tailnet.find(connection).await?;
            let users = administer::users(connection, tailnet.id).await?;
            printer.list(&users.into_iter().map(Shown::from).collect::<Vec<_>>());
            return Ok(());
        }
        Command::Show { user, tailnet } => {
            let tailnet = tailnet.find(connection).await?;
            Some(administer::user(connection, tailnet.id, &user).await?)
        }
        Command::Create {
            login_name,
            display_name,
            role,
            tailnet,
        } => {
            let tailnet_id = tailnet.find(connection).await?.id;
            let role = Role::from(role).into();
            let request = CreateUserRequest {
                tailnet_id,
                login_name,
                display_name,
                role,
            };
            client.create_user(request).await?.into_inner().user
        }
        Command::SetRole {
            user,
            role,
            tailnet,
        } => {
            let change = |user: &mut User| user.set_role(role.into());
            update(connection, &tailnet, &user, "role", change)
                .await?
                .user
        }
        Command::Suspend { user, tailnet } => {
            let change = |user: &mut User| user.suspended = true;
            let answer = update(connection, &tailnet, &user, "suspended", change).await?;
            let user = answer.user.unwrap_or_default();
            let reached = revocation::of_identity(connection, user.tailnet_id, answer.revision);
            let reached = reached.await?;
            let text = format!("{} is suspended", user.login_name);
            let user = serde_json::json!({ "user": Shown::from(user) });
            revocation::said(printer, user, text, reached);
            return Ok(());
        }
        Command::Restore { user, tailnet } => {
            let change = |user: &mut User| user.suspended = false;
            let answer = update(connection, &tailnet, &user, "suspended", change).await?;
            answer.user
        }
        Command::Delete { user, tailnet } => {
            let tailnet_id = tailnet.find(connection).await?.id;
            let found = administer::user(connection, tailnet_id, &user).await?;
            let request = DeleteUserRequest {
                tailnet_id,
                user_id: found.id,
            };
            let answer = client.delete_user(request).await?.into_inner();
            let reached = revocation::of_identity(connection, tailnet_id, answer.revision).await?;
            let name = found.login_name;
            let text = format!("{name} is deleted");
            revocation::said(
                printer,
                serde_json::json!({ "deleted": name }),
                text,
                reached,
            );
            return Ok(());
        }
    };
    printer.one(&Shown::from(changed.unwrap_or_default()));
    Ok(())
}

async fn update(
    connection: &ConnectionArgs,
    tailnet: &TailnetArg,
    name: &str,
    field: &str,
    change: impl FnOnce(&mut User),
) -> Result<UpdateUserResponse, Failure> {
    let tailnet_id = tailnet.find(connection).await?.id;
    let mut user = administer::user(connection, tailnet_id, name).await?;
    change(&mut user);
    let update_mask = Some(FieldMask {
        paths: vec![field.to_owned()],
    });
    let request = UpdateUserRequest {
        user: Some(user),
        update_mask,
    };
    let mut client = UserServiceClient::new(connection.identity()?);
    Ok(client.update_user(request).await?.into_inner())
}
