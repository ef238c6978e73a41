//! `bowline users`.

use bowline_proto::{
    identity::v1::{
        CreateUserRequest, DeleteUserRequest, Role, TransferOwnershipRequest, UpdateUserRequest,
        UpdateUserResponse, User, user_service_client::UserServiceClient,
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
    failure::{Failure, FailureKind, require_field},
    output::{Printer, Row, join_texts, yes_mark},
    revocation, time,
};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
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
    /// Make a user the owner of the tailnet, and whoever was one an administrator.
    TransferOwnership {
        /// Who.
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Let a person in who has logged in for the first time and waits.
    Approve {
        /// Who.
        user: String,
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

/// Returns a role as it is written.
pub fn role_name(role: Role) -> String {
    let name = role.as_str_name().trim_start_matches("ROLE_");
    name.to_lowercase().replace('_', "-")
}

/// A user as shown.
#[derive(Debug, Serialize)]
struct UserRow {
    id: u64,
    login_name: String,
    display_name: String,
    role: String,
    groups: Vec<String>,
    suspended: bool,
    awaits_approval: bool,
    created_at: Option<String>,
}

impl From<User> for UserRow {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            role: role_name(user.role()),
            login_name: user.login_name,
            display_name: user.display_name,
            groups: user.groups,
            suspended: user.suspended,
            awaits_approval: user.awaits_approval,
            created_at: time::time_text(user.created_at),
        }
    }
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

/// Runs a command.
pub async fn run(
    command: UsersCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = UserServiceClient::new(connection.connect_to_identity()?);
    let changed = match command {
        UsersCommand::List { tailnet } => {
            let tailnet = tailnet.find_tailnet(connection).await?;
            let users = administer::list_users(connection, tailnet.id).await?;
            let owners = users.iter().filter(|user| user.role() == Role::Owner);
            if owners.count() > 1 {
                printer.print_note(
                    "the tailnet has several owners: bowline users transfer-ownership leaves one",
                );
            }
            printer.print_rows(&users.into_iter().map(UserRow::from).collect::<Vec<_>>());
            return Ok(());
        }
        UsersCommand::Show { user, tailnet } => {
            let tailnet = tailnet.find_tailnet(connection).await?;
            Some(administer::find_user(connection, tailnet.id, &user).await?)
        }
        UsersCommand::Create {
            login_name,
            display_name,
            role,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_tailnet(connection).await?.id;
            let role = Role::from(role).into();
            let request = CreateUserRequest {
                tailnet_id,
                login_name,
                display_name,
                role,
            };
            client.create_user(request).await?.into_inner().user
        }
        UsersCommand::SetRole {
            user,
            role,
            tailnet,
        } => {
            let change = |user: &mut User| user.set_role(role.into());
            update_user(connection, &tailnet, &user, "role", change)
                .await?
                .user
        }
        UsersCommand::TransferOwnership { user, tailnet } => {
            let tailnet_id = tailnet.find_tailnet(connection).await?.id;
            let user_id = administer::find_user(connection, tailnet_id, &user)
                .await?
                .id;
            let request = TransferOwnershipRequest {
                tailnet_id,
                user_id,
            };
            client.transfer_ownership(request).await?.into_inner().user
        }
        UsersCommand::Suspend { user, tailnet } => {
            let change = |user: &mut User| user.suspended = true;
            let answer = update_user(connection, &tailnet, &user, "suspended", change).await?;
            let user = require_field(answer.user, "user")?;
            let reached = revocation::of_identity(connection, user.tailnet_id, answer.revision);
            let reached = reached.await?;
            let text = format!("{} is suspended", user.login_name);
            let user = serde_json::json!({ "user": UserRow::from(user) });
            revocation::print_with_receipt(printer, user, text, reached);
            return Ok(());
        }
        UsersCommand::Approve { user, tailnet } => {
            let tailnet_id = tailnet.find_tailnet(connection).await?.id;
            let found = administer::find_user(connection, tailnet_id, &user).await?;
            if found.suspended && !found.awaits_approval {
                let text = format!(
                    "{} is suspended, and waits for nobody: bowline users restore",
                    found.login_name
                );
                return Err(Failure::new(FailureKind::Refused, text));
            }
            let change = |user: &mut User| user.suspended = false;
            let answer = update_user(connection, &tailnet, &user, "suspended", change).await?;
            answer.user
        }
        UsersCommand::Restore { user, tailnet } => {
            let change = |user: &mut User| user.suspended = false;
            let answer = update_user(connection, &tailnet, &user, "suspended", change).await?;
            answer.user
        }
        UsersCommand::Delete {
            user,
            with_tagged_nodes,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_tailnet(connection).await?.id;
            let found = administer::find_user(connection, tailnet_id, &user).await?;
            return delete_user(connection, printer, found, with_tagged_nodes).await;
        }
    };
    printer.print_row(&UserRow::from(require_field(changed, "user")?));
    Ok(())
}

/// Deletes a user; of the tagged nodes that the user added it says what becomes of them.
async fn delete_user(
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
    let mut users = UserServiceClient::new(connection.connect_to_identity()?);
    let answer = users.delete_user(request).await?.into_inner();
    // The user can add no more from here on.
    let mut tagged = administer::list_nodes(connection, tailnet_id).await?;
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
        let mut nodes = NodeServiceClient::new(connection.connect_to_registry()?);
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
    revocation::print_with_receipt(printer, what, text, reached);
    Ok(())
}

async fn update_user(
    connection: &ConnectionArgs,
    tailnet: &TailnetArg,
    name: &str,
    field: &str,
    change: impl FnOnce(&mut User),
) -> Result<UpdateUserResponse, Failure> {
    let tailnet_id = tailnet.find_tailnet(connection).await?.id;
    let mut user = administer::find_user(connection, tailnet_id, name).await?;
    change(&mut user);
    let update_mask = Some(FieldMask {
        paths: vec![field.to_owned()],
    });
    let request = UpdateUserRequest {
        user: Some(user),
        update_mask,
    };
    let mut client = UserServiceClient::new(connection.connect_to_identity()?);
    Ok(client.update_user(request).await?.into_inner())
}
