//! Two accounts of one person become one.

use bowline_proto::{
    identity::v1::{
        MergeUsersRequest, UserBelongings, UserLink, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ListPreAuthKeysRequest, pre_auth_key_service_client::PreAuthKeyServiceClient,
    },
};
use serde_json::json;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::Failure,
    output::Printer,
    revocation,
};

/// Makes one user of two, or says what would move.
pub(super) async fn merge_users(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet: &TailnetArg,
    names: [&str; 2],
    dry_run: bool,
) -> Result<(), Failure> {
    let tailnet_id = tailnet.find_id(connection).await?;
    let from = administer::find_user(connection, tailnet_id, names[0]).await?;
    let into = administer::find_user(connection, tailnet_id, names[1]).await?;
    let nodes = administer::list_nodes_of(connection, &from).await?;
    let nodes: Vec<_> = nodes.into_iter().map(|node| node.name).collect();
    let request = ListPreAuthKeysRequest { tailnet_id };
    let mut keys = PreAuthKeyServiceClient::new(connection.connect_to_registry()?);
    let mut keys = keys.list_pre_auth_keys(request).await?.into_inner().keys;
    keys.retain(|key| key.user_id == from.id);
    let keys: Vec<_> = keys.into_iter().map(|key| key.id).collect();
    let request = MergeUsersRequest {
        tailnet_id,
        from_user_id: from.id,
        into_user_id: into.id,
        dry_run,
    };
    let mut users = UserServiceClient::new(connection.connect_to_identity()?);
    let answer = users.merge_users(request).await?.into_inner();
    let moved = answer.moved.unwrap_or_default();
    let mut text = match dry_run {
        true => format!(
            "{} would be {}; nothing is done yet",
            from.login_name, into.login_name
        ),
        false => format!("{} is {} now", from.login_name, into.login_name),
    };
    let lists = name_lists(&moved, nodes, keys);
    let mut what = json!({ "from": from.login_name, "into": into.login_name, "dry_run": dry_run });
    for (name, list) in lists {
        if !list.is_empty() {
            text.push_str(&format!("\n{name}: {}", list.join(", ")));
        }
        what[name.replace(' ', "_")] = json!(list);
    }
    if moved.sessions > 0 {
        text.push_str(&format!("\nsessions in browsers: {}", moved.sessions));
    }
    what["sessions"] = json!(moved.sessions);
    if dry_run {
        printer.print_result(&what, &text);
        return Ok(());
    }
    let reached = revocation::of_identity(connection, tailnet_id, answer.revision).await?;
    revocation::print_with_receipt(printer, what, text, reached);
    Ok(())
}

fn name_lists(
    moved: &UserBelongings,
    nodes: Vec<String>,
    keys: Vec<String>,
) -> [(&'static str, Vec<String>); 6] {
    [
        ("nodes", nodes),
        ("keys", keys),
        ("groups", moved.groups.clone()),
        ("links", moved.links.iter().map(link_text).collect()),
        ("passkeys", moved.passkeys.clone()),
        ("api keys", moved.api_keys.clone()),
    ]
}

/// Returns who a user is at a provider.
pub(super) fn link_text(link: &UserLink) -> String {
    format!("{} at {}", link.subject, link.connection_name)
}
