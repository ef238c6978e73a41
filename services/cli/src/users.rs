//! `bowline users`.

mod changes;
mod merge;
mod rows;

use bowline_proto::identity::v1::{
    CreateUserRequest, Role, User, user_service_client::UserServiceClient,
};
use clap::Subcommand;

pub use rows::{RoleArg, role_name};

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    connections::links,
    failure::{Failure, require_field},
    output::Printer,
};
use rows::{ShownUser, UserRow};

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
    /// Make one user of two: what the first has is the second's, who stays.
    Merge {
        /// Who is no user of its own afterwards.
        from: String,
        /// Who stays, with name and role.
        into: String,
        /// Say what would move, and do nothing.
        #[arg(long)]
        dry_run: bool,
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
            return show_user(connection, printer, &tailnet, &user).await;
        }
        UsersCommand::Create {
            login_name,
            display_name,
            role,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
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
            changes::update_user(connection, &tailnet, &user, "role", change)
                .await?
                .user
        }
        UsersCommand::TransferOwnership { user, tailnet } => {
            changes::transfer_ownership(connection, &tailnet, &user).await?
        }
        UsersCommand::Suspend { user, tailnet } => {
            return changes::suspend_user(connection, printer, &tailnet, &user).await;
        }
        UsersCommand::Approve { user, tailnet } => {
            changes::approve_user(connection, &tailnet, &user).await?
        }
        UsersCommand::Restore { user, tailnet } => {
            changes::restore_user(connection, &tailnet, &user).await?
        }
        UsersCommand::Merge {
            from,
            into,
            dry_run,
            tailnet,
        } => {
            let names = [&*from, &*into];
            return merge::merge_users(connection, printer, &tailnet, names, dry_run).await;
        }
        UsersCommand::Delete {
            user,
            with_tagged_nodes,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let found = administer::find_user(connection, tailnet_id, &user).await?;
            return changes::delete_user(connection, printer, found, with_tagged_nodes).await;
        }
    };
    printer.print_row(&UserRow::from(require_field(changed, "user")?));
    Ok(())
}

async fn show_user(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet: &TailnetArg,
    name: &str,
) -> Result<(), Failure> {
    let tailnet = tailnet.find_tailnet(connection).await?;
    let user = administer::find_user(connection, tailnet.id, name).await?;
    let links = links::list_links(connection, &user).await?;
    printer.print_row(&ShownUser::new(user, &links));
    Ok(())
}
