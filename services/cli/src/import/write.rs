//! Writes what moves, in an order in which nobody gets more than before: devices before their policy, because no client comes
//! back before the control key is there, which is last.

use std::time::Duration;

use bowline_headscale::{MovingNode, MovingPlan, MovingPolicy};
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, DnsChange, Tailnet, UpdateDnsRequest,
        UpdateTailnetRequest, dns_change::Change, tailnet_service_client::TailnetServiceClient,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ImportNodesRequest, ImportedNode, Node, node_service_client::NodeServiceClient,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use prost::Message as _;
use prost_types::FieldMask;

use super::target::{LONGEST_POLICY, Target};
use crate::{
    administer::list_users,
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
};

/// How many bytes of nodes are sent at once, and how many of them.
const LARGEST_BATCH: usize = 2 << 20;
const MOST_NODES: usize = 500;
/// How long the policy compiler may take to learn of the devices.
const PATIENCE: Duration = Duration::from_secs(15);

/// Writes everything that is not there yet.
pub async fn write_plan(
    plan: &MovingPlan,
    target: &Target,
    connection: &ConnectionArgs,
) -> Result<(), Failure> {
    let tailnet = match &target.tailnet {
        Some(tailnet) => tailnet.clone(),
        None => create_tailnet(&target.name, connection).await?,
    };
    create_users(plan, target, &tailnet, connection).await?;
    set_dns(plan, &tailnet, connection).await?;
    import_nodes(plan, &tailnet, connection).await?;
    if let Some(policy) = plan.policy.as_ref().filter(|_| !target.has_policy) {
        set_policy(policy, tailnet.id, connection).await?;
    }
    Ok(())
}

async fn create_tailnet(name: &str, connection: &ConnectionArgs) -> Result<Tailnet, Failure> {
    let mut client = TailnetServiceClient::new(connection.connect_to_identity()?);
    let request = CreateTailnetRequest {
        name: name.to_owned(),
        settings: None,
    };
    let made = client.create_tailnet(request).await?.into_inner().tailnet;
    require_field(made, "tailnet")
}

async fn create_users(
    plan: &MovingPlan,
    target: &Target,
    tailnet: &Tailnet,
    connection: &ConnectionArgs,
) -> Result<(), Failure> {
    let mut client = UserServiceClient::new(connection.connect_to_identity()?);
    for moving in &plan.users {
        let user = &moving.user;
        if target.has_user(&user.login_name) {
            continue;
        }
        let request = CreateUserRequest {
            tailnet_id: tailnet.id,
            login_name: user.login_name.clone(),
            display_name: user.display_name.clone(),
            role: user.role,
        };
        client.create_user(request).await?;
    }
    Ok(())
}

async fn set_dns(
    plan: &MovingPlan,
    tailnet: &Tailnet,
    connection: &ConnectionArgs,
) -> Result<(), Failure> {
    let mut client = TailnetServiceClient::new(connection.connect_to_identity()?);
    let wanted = Tailnet {
        dns: Some(plan.dns.clone()),
        ..tailnet.clone()
    };
    let request = UpdateTailnetRequest {
        tailnet: Some(wanted),
        update_mask: Some(FieldMask {
            paths: vec!["dns".to_owned()],
        }),
    };
    client.update_tailnet(request).await?;
    if let Some(suffix) = &plan.magic_dns_suffix {
        let change = DnsChange {
            change: Some(Change::MagicDnsSuffix(suffix.clone())),
        };
        let request = UpdateDnsRequest {
            tailnet_id: tailnet.id,
            changes: vec![change],
        };
        client.update_dns(request).await?;
    }
    Ok(())
}

async fn import_nodes(
    plan: &MovingPlan,
    tailnet: &Tailnet,
    connection: &ConnectionArgs,
) -> Result<(), Failure> {
    let numbers = plan.user_numbers(&list_users(connection, tailnet.id).await?);
    let import = |moving: &MovingNode| ImportedNode {
        node: Some(Node {
            user_id: numbers.get(&moving.user_id).copied().unwrap_or(0),
            ..moving.node.clone()
        }),
        state: Some(moving.state.clone()),
    };
    let mut client = NodeServiceClient::new(connection.connect_to_registry()?)
        .max_decoding_message_size(LARGEST_BATCH * 4);
    let (mut batch, mut size) = (Vec::new(), 0);
    let mut moving = plan.nodes.iter().map(import).peekable();
    while let Some(node) = moving.next() {
        size += node.encoded_len();
        batch.push(node);
        let is_full = size >= LARGEST_BATCH || batch.len() >= MOST_NODES;
        if is_full || moving.peek().is_none() {
            let request = ImportNodesRequest {
                tailnet_id: tailnet.id,
                nodes: std::mem::take(&mut batch),
                origin: "headscale".to_owned(),
            };
            client.import_nodes(request).await?;
            size = 0;
        }
    }
    Ok(())
}

/// Puts the policy in force. It was judged with all that moves; a compiler that has not heard of the devices yet may find that
/// tests of the document fail, and is asked again.
async fn set_policy(
    policy: &MovingPolicy,
    tailnet_id: u64,
    connection: &ConnectionArgs,
) -> Result<(), Failure> {
    let mut client = PolicyServiceClient::new(connection.connect_to_compiler()?)
        .max_decoding_message_size(LONGEST_POLICY)
        .max_encoding_message_size(LONGEST_POLICY);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let request = SetPolicyRequest {
            tailnet_id,
            text: policy.text.clone(),
            expected_version: Some(0),
            strict: false,
        };
        let answer = client.set_policy(request).await?.into_inner();
        let Some(problem) = answer.problems.first() else {
            return Ok(());
        };
        if tokio::time::Instant::now() > deadline {
            let text = format!(
                "users and devices are here, the policy is not: line {}: {}",
                problem.line, problem.message
            );
            return Err(Failure::new(FailureKind::Refused, text));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
