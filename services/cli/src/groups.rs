//! `bowline groups`.

use std::collections::BTreeSet;

use bowline_policy::{DocumentContext, Policy};
use bowline_proto::{
    identity::v1::{
        AddGroupMemberRequest, CreateGroupRequest, DeleteGroupRequest, Group, GroupSource,
        ListGroupsRequest, ListedGroup, Membership, RemoveGroupMemberRequest, UpdateGroupRequest,
        User, group_service_client::GroupServiceClient,
    },
    policy::v1::{GetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_service_kit::GrpcChannel;
use clap::Subcommand;
use prost_types::FieldMask;
use serde::Serialize;
use serde_json::json;

use crate::{
    administer::{self, TailnetArg, pick_one},
    connection::ConnectionArgs,
    connections::list_connections,
    failure::{Failure, FailureKind, require_field},
    output::{Printer, Row, yes_mark},
    time,
};

/// What to do with groups of users.
#[derive(Debug, Subcommand)]
pub enum GroupsCommand {
    /// List all. A group that the policy defines itself is shadowed: the policy's members count.
    List {
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// List who is in one, and who says so.
    Show {
        /// Which.
        group: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Add one. A policy names it group:NAME.
    Create {
        /// Its name, without "group:".
        name: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Give one another name. Its members stay; a policy has to name it anew.
    Rename {
        /// Which.
        group: String,
        /// The new name, without "group:".
        name: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Delete one. Its members lose what the policy gives it, at once.
    Delete {
        /// Which.
        group: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Put a user into one.
    AddUser {
        /// Which.
        group: String,
        /// Who.
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// Take a user out of one.
    RemoveUser {
        /// Which.
        group: String,
        /// Who.
        user: String,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// A group as shown.
#[derive(Debug, Serialize)]
struct GroupRow {
    id: u64,
    name: String,
    /// `manual`, `connection` or `scim`.
    source: &'static str,
    /// The connection, when it is the source.
    connection: String,
    members: u32,
    /// Whether the policy in force defines a group of this name, so that this one does not count.
    shadowed: bool,
    created_at: Option<String>,
}

impl Row for GroupRow {
    const HEADS: &'static [&'static str] =
        &["id", "name", "source", "connection", "members", "shadowed"];
    const RARE: &'static [&'static str] = &["connection", "shadowed"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.source.to_owned(),
            self.connection.clone(),
            self.members.to_string(),
            yes_mark(self.shadowed),
        ]
    }
}

/// A member as shown, once for each source.
#[derive(Debug, Serialize)]
struct MemberRow {
    user: String,
    source: &'static str,
    connection: String,
}

impl Row for MemberRow {
    const HEADS: &'static [&'static str] = &["user", "source", "connection"];
    const RARE: &'static [&'static str] = &["connection"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.user.clone(),
            self.source.to_owned(),
            self.connection.clone(),
        ]
    }
}

/// What groups are shown with: names of connections, and the groups that the policy defines.
struct GroupContext {
    connections: Vec<(u64, String)>,
    defined: BTreeSet<String>,
}

impl GroupContext {
    async fn read(server: &ConnectionArgs, tailnet_id: u64) -> Result<Self, Failure> {
        let connections = list_connections(server, tailnet_id).await?;
        let mut policies = PolicyServiceClient::new(server.connect_to_compiler()?)
            .max_decoding_message_size(64 << 20);
        let request = GetPolicyRequest {
            tailnet_id,
            version: 0,
        };
        let policy = policies.get_policy(request).await?.into_inner().version;
        let text = policy.unwrap_or_default().text;
        let defined = match Policy::parse(&text, &DocumentContext::for_stored_document()) {
            Ok(policy) => policy.defined_groups().map(str::to_owned).collect(),
            Err(_) => BTreeSet::new(),
        };
        let named = connections.into_iter().map(|one| (one.id, one.name));
        Ok(Self {
            connections: named.collect(),
            defined,
        })
    }

    fn connection_name(&self, id: u64) -> String {
        let found = self.connections.iter().find(|(known, _)| *known == id);
        found.map_or_else(String::new, |(_, name)| name.clone())
    }

    fn row(&self, listed: ListedGroup) -> GroupRow {
        let group = listed.group.unwrap_or_default();
        GroupRow {
            source: source_name(group.source()),
            connection: self.connection_name(group.connection_id),
            shadowed: self.defined.contains(&format!("group:{}", group.name)),
            id: group.id,
            members: listed.members,
            created_at: time::time_text(group.created_at),
            name: group.name,
        }
    }

    fn member_rows<'u>(
        &self,
        user: &'u User,
        group: &Group,
    ) -> impl Iterator<Item = MemberRow> + use<'_, 'u> {
        let id = group.id;
        let of_group = move |one: &&Membership| one.group_id == id;
        let memberships = user.memberships.iter().filter(of_group);
        memberships.map(|one| MemberRow {
            user: user.login_name.clone(),
            source: source_name(one.source()),
            connection: self.connection_name(one.connection_id),
        })
    }
}

fn source_name(source: GroupSource) -> &'static str {
    match source {
        GroupSource::Connection => "connection",
        GroupSource::Scim => "scim",
        GroupSource::Manual | GroupSource::Unspecified => "manual",
    }
}

/// Runs a command.
pub async fn run(
    command: GroupsCommand,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = connect(server)?;
    match command {
        GroupsCommand::List { tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let context = GroupContext::read(server, tailnet_id).await?;
            let groups = list_groups(server, tailnet_id).await?.into_iter();
            let rows: Vec<_> = groups.map(|listed| context.row(listed)).collect();
            printer.print_rows(&rows);
        }
        GroupsCommand::Show { group, tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let group = find_group(server, tailnet_id, &group).await?;
            print_members(server, printer, &group).await?;
        }
        GroupsCommand::Create { name, tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let request = CreateGroupRequest { tailnet_id, name };
            let made = client.create_group(request).await?.into_inner().group;
            print_group(server, printer, require_field(made, "group")?).await?;
        }
        GroupsCommand::Rename {
            group,
            name,
            tailnet,
        } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let group = find_group(server, tailnet_id, &group).await?;
            let request = UpdateGroupRequest {
                group: Some(Group { name, ..group }),
                update_mask: Some(FieldMask {
                    paths: vec!["name".to_owned()],
                }),
            };
            let changed = client.update_group(request).await?.into_inner().group;
            print_group(server, printer, require_field(changed, "group")?).await?;
        }
        GroupsCommand::Delete { group, tailnet } => {
            let tailnet_id = tailnet.find_id(server).await?;
            let group = find_group(server, tailnet_id, &group).await?;
            delete_group(server, printer, group).await?;
        }
        GroupsCommand::AddUser {
            group,
            user,
            tailnet,
        } => {
            let (group, user) = find_both(server, &tailnet, &group, &user).await?;
            let request = AddGroupMemberRequest {
                tailnet_id: group.tailnet_id,
                group_id: group.id,
                user_id: user.id,
            };
            client.add_group_member(request).await?;
            let text = format!("{} is in {}", user.login_name, group.name);
            let added = json!({ "group": group.name, "added": user.login_name });
            printer.print_result(&added, &text);
        }
        GroupsCommand::RemoveUser {
            group,
            user,
            tailnet,
        } => {
            let (group, user) = find_both(server, &tailnet, &group, &user).await?;
            let request = RemoveGroupMemberRequest {
                tailnet_id: group.tailnet_id,
                group_id: group.id,
                user_id: user.id,
            };
            client.remove_group_member(request).await?;
            let text = format!("{} is not in {}", user.login_name, group.name);
            let removed = json!({ "group": group.name, "removed": user.login_name });
            printer.print_result(&removed, &text);
        }
    }
    Ok(())
}

async fn delete_group(
    server: &ConnectionArgs,
    printer: &Printer,
    group: Group,
) -> Result<(), Failure> {
    let request = DeleteGroupRequest {
        tailnet_id: group.tailnet_id,
        group_id: group.id,
    };
    connect(server)?.delete_group(request).await?;
    let text = format!("{} is deleted", group.name);
    printer.print_result(&json!({ "deleted": group.name }), &text);
    Ok(())
}

/// Prints who is in a group.
async fn print_members(
    server: &ConnectionArgs,
    printer: &Printer,
    group: &Group,
) -> Result<(), Failure> {
    let context = GroupContext::read(server, group.tailnet_id).await?;
    let users = administer::list_users(server, group.tailnet_id).await?;
    let rows = users
        .iter()
        .flat_map(|user| context.member_rows(user, group));
    printer.print_rows(&rows.collect::<Vec<_>>());
    Ok(())
}

/// Finds a group and a user of one tailnet.
async fn find_both(
    server: &ConnectionArgs,
    tailnet: &TailnetArg,
    group: &str,
    user: &str,
) -> Result<(Group, User), Failure> {
    let tailnet_id = tailnet.find_id(server).await?;
    let group = find_group(server, tailnet_id, group).await?;
    let user = administer::find_user(server, tailnet_id, user).await?;
    Ok((group, user))
}

/// Prints a group that was changed, with how many are in it.
async fn print_group(
    server: &ConnectionArgs,
    printer: &Printer,
    group: Group,
) -> Result<(), Failure> {
    let context = GroupContext::read(server, group.tailnet_id).await?;
    let listed = list_groups(server, group.tailnet_id).await?.into_iter();
    let is_it = |listed: &ListedGroup| listed.group.as_ref().is_some_and(|one| one.id == group.id);
    let listed = listed.into_iter().find(is_it).unwrap_or(ListedGroup {
        group: Some(group.clone()),
        members: 0,
    });
    printer.print_row(&context.row(listed));
    Ok(())
}

fn connect(server: &ConnectionArgs) -> Result<GroupServiceClient<GrpcChannel>, Failure> {
    Ok(GroupServiceClient::new(server.connect_to_identity()?))
}

/// Returns the groups of a tailnet.
pub async fn list_groups(
    server: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<Vec<ListedGroup>, Failure> {
    let request = ListGroupsRequest { tailnet_id };
    let answer = connect(server)?.list_groups(request).await?;
    Ok(answer.into_inner().groups)
}

/// Finds a group by name, with "group:" or without, or by number.
async fn find_group(
    server: &ConnectionArgs,
    tailnet_id: u64,
    name: &str,
) -> Result<Group, Failure> {
    let groups = list_groups(server, tailnet_id).await?;
    let groups: Vec<_> = groups.into_iter().filter_map(|one| one.group).collect();
    let plain = name.strip_prefix("group:").unwrap_or(name);
    let named = groups.iter().map(|one| (one.name.as_str(), one.id, one));
    pick_one("group", plain, named)?.cloned().ok_or_else(|| {
        let text = format!("there is no group \"{plain}\": bowline groups list");
        Failure::new(FailureKind::NotFound, text)
    })
}
