//! What is done with a user in several steps.

use bowline_proto::{
    identity::v1::{
        DeleteUserRequest, TransferOwnershipRequest, UpdateUserRequest, UpdateUserResponse, User,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{DeleteNodeRequest, node_service_client::NodeServiceClient},
};
use prost_types::FieldMask;
use serde_json::json;
use tonic::Code;

use super::rows::UserRow;
use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
    output::Printer,
    revocation,
};

/// Makes a user the owner, and returns the user.
pub(super) async fn transfer_ownership(
    connection: &ConnectionArgs,
    tailnet: &TailnetArg,
    name: &str,
) -> Result<Option<User>, Failure> {
    let tailnet_id = tailnet.find_id(connection).await?;
    let user = administer::find_user(connection, tailnet_id, name).await?;
    let request = TransferOwnershipRequest {
        tailnet_id,
        user_id: user.id,
    };
    let mut client = UserServiceClient::new(connection.connect_to_identity()?);
    Ok(client.transfer_ownership(request).await?.into_inner().user)
}

/// Lets a person in who waits, and returns the user.
pub(super) async fn approve_user(
    connection: &ConnectionArgs,
    tailnet: &TailnetArg,
    name: &str,
) -> Result<Option<User>, Failure> {
    let tailnet_id = tailnet.find_id(connection).await?;
    let found = administer::find_user(connection, tailnet_id, name).await?;
    if found.suspended && !found.only_awaits_approval() {
        let text = format!(
            "{} is suspended, and approval alone lets nobody in who is: bowline users restore",
            found.login_name
        );
        return Err(Failure::new(FailureKind::Refused, text));
    }
    restore_user(connection, tailnet, name).await
}

/// Lets a user back in, and returns the user.
pub(super) async fn restore_user(
    connection: &ConnectionArgs,
    tailnet: &TailnetArg,
    name: &str,
) -> Result<Option<User>, Failure> {
    let change = |user: &mut User| user.suspended = false;
    let answer = update_user(connection, tailnet, name, "suspended", change).await?;
    Ok(answer.user)
}

/// Cuts off a user's nodes, and says which gateways know it.
pub(super) async fn suspend_user(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet: &TailnetArg,
    name: &str,
) -> Result<(), Failure> {
    let change = |user: &mut User| user.suspended = true;
    let answer = update_user(connection, tailnet, name, "suspended", change).await?;
    let user = require_field(answer.user, "user")?;
    let reached = revocation::of_identity(connection, user.tailnet_id, answer.revision).await?;
    let text = format!("{} is suspended", user.login_name);
    let user = json!({ "user": UserRow::from(user) });
    revocation::print_with_receipt(printer, user, text, reached);
    Ok(())
}

/// Deletes a user; of the tagged nodes that the user added it says what becomes of them.
pub(super) async fn delete_user(
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
    let mut tagged = administer::list_nodes_of(connection, &user).await?;
    tagged.retain(|node| !node.tags.is_empty());
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

pub(super) async fn update_user(
    connection: &ConnectionArgs,
    tailnet: &TailnetArg,
    name: &str,
    field: &str,
    change: impl FnOnce(&mut User),
) -> Result<UpdateUserResponse, Failure> {
    let tailnet_id = tailnet.find_id(connection).await?;
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
