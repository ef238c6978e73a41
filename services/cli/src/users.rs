//! `bowline users`.

use bowline_proto::{
    identity::v1::{
        CreateUserRequest, DeleteUserRequest, Role, UpdateUserRequest, UpdateUserResponse, User,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{DeleteNodeRequest, Node, node_service_client::NodeServiceClient},
};
use clap::{Subcommand, ValueEnum};
use prost_types::FieldMask;
use serde::Serialize;
use serde_json::json;
use tonic::Code;

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
    /// Delete a user and the user's nodes. Tagged nodes stay and are listed.
    Delete {
        /// Who.
        user: String,
        /// Delete the tagged nodes that the user added as well.
        #[arg(long)]
        with_tagged_nodes: bool,
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
        Command::Delete {
            user,
            with_tagged_nodes,
            tailnet,
        } => {
            let tailnet_id = tailnet.find(connection).await?.id;
            let found = administer::user(connection, tailnet_id, &user).await?;
            return delete(connection, printer, found, with_tagged_nodes).await;
        }
    };
    printer.one(&Shown::from(changed.unwrap_or_default()));
    Ok(())
}

/// Deletes a user; of the tagged nodes that the user added it says what becomes of them.
async fn delete(
    connection: &ConnectionArgs,
    printer: &Printer,
    user: User,
    with_tagged_nodes: bool,
) -> Result<(), Failure> {
    let tailnet_id = user.tailnet_id;
    let request = DeleteUserRequest {
        tailnet_id,
        user_id: user.id,
    };
    let mut users = UserServiceClient::new(connection.identity()?);
    let answer = users.delete_user(request).await?.into_inner();
    // The user can add no more from here on.
    let mut tagged = administer::nodes(connection, tailnet_id).await?;
    tagged.retain(|listed| {
        let node = listed.node.as_ref();
        node.is_some_and(|node| node.user_id == user.id && !node.tags.is_empty())
    });
    let tagged: Vec<Node> = tagged
        .into_iter()
        .filter_map(|listed| listed.node)
        .collect();
    let names: Vec<_> = tagged.iter().map(|node| node.name.clone()).collect();
    let mut text = format!("{} is deleted", user.login_name);
    let mut what = json!({ "deleted": user.login_name });
    if with_tagged_nodes {
        let mut nodes = NodeServiceClient::new(connection.registry()?);
        for node in &tagged {
            let request = DeleteNodeRequest {
                tailnet_id,
                node_id: node.id,
            };
            match nodes.delete_node(request).await {
                Ok(_) => {}
                // Somebody else was faster.
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(status.into()),
            }
        }
        what["deleted_nodes"] = json!(names);
    } else {
        what["tagged_nodes"] = json!(names);
    }
    for node in &tagged {
        let (name, tags) = (&node.name, node.tags.join(","));
        text.push_str(&match (with_tagged_nodes, node.goes_with_user()) {
            (true, _) => format!("\nnode {name} ({tags}) is deleted"),
            (false, true) => format!(
                "\nnode {name} ({tags}) stays, cut off: bowline nodes tag {name} {} confirms its tags",
                node.tags.join(" ")
            ),
            (false, false) => format!("\nnode {name} ({tags}) stays"),
        });
    }
    let reached = revocation::of_identity(connection, tailnet_id, answer.revision).await?;
    revocation::said(printer, what, text, reached);
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
