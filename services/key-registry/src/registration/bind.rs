//! The transaction that binds a node key: key used up, node made or rotated, address, name, log, audit.

use bowline_db::{Mutation, next_id};
use bowline_proto::{
    key_registry::v1::{
        HostReport, Node, RefusalReason, RegisterRequest, TaggedBy, register_response::Outcome,
    },
    policy::v1::JudgeNodeResponse,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    RegistrationResult,
    credential::{Credential, refuse_gone_user},
    is_conflict, limits, machine_actor, read_tailnet_id, refuse, refuse_foreign_key,
};
use crate::{
    KeyRegistry,
    domain::{
        self,
        address_pool::{AddressPair, AddressPool},
        difference, key, pre_auth_key, routes,
    },
    error::RegistryError,
    node_changes, own_changes,
    store::{
        adoptions::{self, AdoptionRow, IN_GOOD_STANDING},
        barred_users, nodes, pools, pre_auth_keys,
        soft_states::{self, SoftRow},
    },
};

/// Everything the transaction needs.
pub(super) struct BindRequest {
    pub(super) request: RegisterRequest,
    pub(super) credential: Credential,
    /// What the client says of its host, bounded.
    pub(super) host: HostReport,
    pub(super) tags: Vec<String>,
    pub(super) tagged_by: TaggedBy,
    pub(super) judgement: JudgeNodeResponse,
}

/// What the transaction did.
enum BindOutcome {
    Node(Box<Node>),
    Refused(Box<Outcome>),
    /// Another request bound the key meanwhile: its outcome is this one's.
    AlreadyBound,
}

impl KeyRegistry {
    pub(super) async fn bind_key(&self, wish: BindRequest) -> RegistrationResult {
        let tailnet = read_tailnet_id(wish.credential.tailnet.id)?;
        let actor = match (&wish.credential.pre_auth_key, &wish.credential.user) {
            (Some(key), _) => format!("pre-auth-key:{key}"),
            (None, Some(user)) => format!("user:{}", user.login_name),
            (None, None) => machine_actor(&wish.request.machine_key),
        };
        let request = wish.request.clone();
        let bound = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(try_bind(mutation, wish))
            })
            .await;
        match bound {
            Ok((BindOutcome::Node(node), revision)) => {
                Ok(self.describe_registration(*node, revision.get()).await)
            }
            Ok((BindOutcome::Refused(outcome), _)) => Ok(*outcome),
            Ok((BindOutcome::AlreadyBound, _)) => {
                let gone = Err(RegistryError::NotFound("node key"));
                self.answer_if_bound(request, gone).await
            }
            Err(RegistryError::AddressesExhausted(text)) => {
                Ok(refuse(RefusalReason::AddressesExhausted, text))
            }
            Err(RegistryError::TooManyNodes(text)) => Ok(refuse(RefusalReason::TooManyNodes, text)),
            Err(error) if is_conflict(&error, "node_keys_pkey") => {
                self.answer_if_bound(request, Err(error)).await
            }
            Err(error) => Err(error),
        }
    }

    /// Answers for a key that another request may have bound since this one looked for it; with `otherwise` when none
    /// has.
    pub(super) async fn answer_if_bound(
        &self,
        request: RegisterRequest,
        otherwise: RegistrationResult,
    ) -> RegistrationResult {
        let found = nodes::by_key(self.log.database().reader(), &request.node_key).await?;
        match found {
            Some(node) => Box::pin(self.answer_bound_key(node, request)).await,
            None => otherwise,
        }
    }
}

async fn try_bind(
    mutation: &mut Mutation,
    wish: BindRequest,
) -> Result<BindOutcome, RegistryError> {
    let refused = |outcome| Ok(BindOutcome::Refused(Box::new(outcome)));
    let BindRequest {
        request,
        credential,
        ..
    } = &wish;
    let bound = nodes::by_key(mutation.connection(), &request.node_key).await?;
    if bound.is_some() {
        // The answer to the first try was lost, or is on its way: a one-off key is used up once.
        return Ok(BindOutcome::AlreadyBound);
    }
    if let Some(login_id) = &credential.login_id
        && let Some(node) = nodes::by_login(mutation.connection(), login_id).await?
    {
        let text = format!(
            "this login made the device {} already: start a new one",
            node.name
        );
        return refused(super::refuse(RefusalReason::LoginDenied, text));
    }
    let newcomer = key::Newcomer {
        owner: key::KeyOwner {
            tailnet_id: mutation.tailnet().get(),
            user_id: credential.user.as_ref().map_or(0, |user| user.id),
            tags: wish.tags.clone(),
        },
        ephemeral: credential.ephemeral || request.ephemeral,
    };
    let revision = credential.identity_revision;
    if barred_users::is_barred_since(mutation.connection(), &newcomer.owner, revision).await? {
        return refused(refuse_gone_user());
    }
    let found = match find_node(mutation, &wish, &newcomer).await? {
        Ok(found) => found,
        Err(refusal) => return refused(refuse_rotation(refusal)),
    };
    if let Some(refusal) = use_up_key(mutation, credential).await? {
        return refused(refusal);
    }
    match found {
        NewcomerNode::Same(node) => rebind_node(mutation, wish, &newcomer, *node).await,
        NewcomerNode::New { shared_with } => {
            make_node(mutation, wish, &newcomer, shared_with).await
        }
    }
}

/// Which node a newcomer is.
enum NewcomerNode {
    /// One that its machine holds.
    Same(Box<Node>),
    /// A new one; another that is in use with the same machine key, if there is one.
    New { shared_with: Option<Box<Node>> },
}

async fn find_node(
    mutation: &mut Mutation,
    wish: &BindRequest,
    newcomer: &key::Newcomer,
) -> Result<Result<NewcomerNode, key::RotationRefusal>, RegistryError> {
    let (request, now) = (&wish.request, mutation.now());
    let old = match request.old_node_key.len() {
        32 => nodes::by_key(mutation.connection(), &request.old_node_key).await?,
        _ => None,
    };
    if let Some(old) = old {
        let proof = key::KeyProof {
            machine_key: &request.machine_key,
            node_key: &request.node_key,
            proven_keys: &request.proven_node_keys,
            is_required: wish.credential.tailnet.require_key_proof,
        };
        // Of its own user identity has just said that it is in good standing.
        let is_barred = old.user_id != newcomer.owner.user_id
            && barred_users::is_barred(mutation.connection(), &old).await?;
        match key::judge_rotation(&old, proof, newcomer, is_barred, now) {
            key::RotationVerdict::Replaces => return Ok(Ok(NewcomerNode::Same(Box::new(old)))),
            key::RotationVerdict::Refused(refusal) => return Ok(Err(refusal)),
            key::RotationVerdict::NewNode => {}
        }
    }
    let tailnet = newcomer.owner.tailnet_id;
    let on = mutation.connection();
    let mut held = nodes::of_machine(on, tailnet, &request.machine_key, now).await?;
    for held in &mut held {
        held.is_user_barred &= held.node.user_id != newcomer.owner.user_id;
    }
    Ok(Ok(match key::find_returning_node(&held, newcomer, now) {
        Some(node) => NewcomerNode::Same(Box::new(node.clone())),
        None => {
            let shared_with = key::find_live_duplicate(&held, newcomer, &request.old_node_key);
            NewcomerNode::New {
                shared_with: shared_with.cloned().map(Box::new),
            }
        }
    }))
}

/// Gives a node that its machine holds already its new key.
async fn rebind_node(
    mutation: &mut Mutation,
    wish: BindRequest,
    newcomer: &key::Newcomer,
    mut node: Node,
) -> Result<BindOutcome, RegistryError> {
    own_changes::audit_deferred_change(mutation, &node).await?;
    let asked = limits::take_rotation(mutation, &node).await?;
    let before = node.clone();
    node.approved |= wish.credential.approved;
    set_key(&mut node, &wish, newcomer, mutation.now());
    let is_good = node.approved;
    if is_good {
        describe_node(&mut node, &wish, newcomer);
        node_changes::follow_hostname(mutation, &mut node, &before.hostname).await?;
    }
    // What was reported before the login is older than what the client says with it.
    let kept = (!is_good).then(|| wish.host.clone());
    keep_report(mutation, &node, asked, kept).await?;
    write_bound_node(mutation, &wish, &before, &node).await?;
    audit_binding(mutation, "node.rotate", &wish, Some(&before), &node);
    Ok(BindOutcome::Node(Box::new(node)))
}

async fn make_node(
    mutation: &mut Mutation,
    wish: BindRequest,
    newcomer: &key::Newcomer,
    shared_with: Option<Box<Node>>,
) -> Result<BindOutcome, RegistryError> {
    limits::take_new_node(mutation, &wish, &newcomer.owner).await?;
    let pools = &wish.judgement.ipv4_pools;
    let mut node = allocate_node(mutation, &wish.request, &wish.credential, pools).await?;
    set_key(&mut node, &wish, newcomer, mutation.now());
    describe_node(&mut node, &wish, newcomer);
    node.machine_shared_with = shared_with.as_ref().map_or(0, |other| other.id);
    node_changes::follow_hostname(mutation, &mut node, "").await?;
    write_bound_node(mutation, &wish, &Node::default(), &node).await?;
    audit_binding(mutation, "node.register", &wish, None, &node);
    if let Some(other) = shared_with {
        let machine = machine_actor(&node.machine_key);
        tracing::warn!(
            machine,
            node = node.id,
            other = other.id,
            "two machines share a machine key: one is a copy of the other's disk"
        );
        let detail = json!({
            "name": node.name,
            "other": other.id,
            "other_name": other.name,
            "machine": machine,
            "source": wish.request.source_address,
        });
        mutation.record_audit("machine.shared", node.id.to_string(), &detail);
    }
    Ok(BindOutcome::Node(Box::new(node)))
}

/// Binds the key and writes the node; what it routes may have to go elsewhere.
async fn write_bound_node(
    mutation: &mut Mutation,
    wish: &BindRequest,
    before: &Node,
    node: &Node,
) -> Result<(), RegistryError> {
    let now = mutation.now();
    nodes::bind_key(mutation.connection(), node, now).await?;
    node_changes::write_node(mutation, node, wish.credential.login_id.clone()).await?;
    if routes::may_move_primaries(before, node) {
        node_changes::elect_primaries(mutation).await?;
    }
    Ok(())
}

/// Keeps what a client says with a login for when its node may change itself, or forgets what was kept of it.
async fn keep_report(
    mutation: &mut Mutation,
    node: &Node,
    mut asked: AdoptionRow,
    host: Option<HostReport>,
) -> Result<(), RegistryError> {
    let now = mutation.now();
    let soft = soft_states::by_node(mutation.connection(), node.id).await?;
    let is_kept = host.is_some();
    if is_kept || soft.is_some() {
        let mut soft = soft.unwrap_or_else(|| SoftRow::for_node(node, now));
        soft.host = host;
        soft_states::put_row(mutation.connection(), &soft).await?;
    }
    asked.due = is_kept.then_some(IN_GOOD_STANDING);
    asked.wished_end = None;
    adoptions::put_row(mutation.connection(), &asked).await?;
    Ok(())
}

/// Gives a node its new key, and until when.
fn set_key(node: &mut Node, wish: &BindRequest, newcomer: &key::Newcomer, now: DateTime<Utc>) {
    let lifetime = wish.credential.tailnet.key_lifetime;
    let lifetime = lifetime.and_then(|life| TimeDelta::try_seconds(life.seconds));
    let wished_end = wish.request.expiry.and_then(domain::from_timestamp);
    node.key_expiry = key::compute_expiry(&newcomer.owner, lifetime, wished_end, now);
    node.node_key.clone_from(&wish.request.node_key);
    node.expired = false;
}

/// Says whose a node is, and what its client says of it.
fn describe_node(node: &mut Node, wish: &BindRequest, newcomer: &key::Newcomer) {
    let owner = &newcomer.owner;
    // Tags that it has already are no newer for being asked for again.
    if node.tags != owner.tags || wish.tagged_by == TaggedBy::PreAuthKey {
        node.tagged_by = wish.tagged_by.into();
    }
    node.user_id = owner.user_id;
    node.tags.clone_from(&owner.tags);
    let HostReport {
        hostname,
        os,
        client_version,
        advertised_routes,
        requested_tags,
        ..
    } = wish.host.clone();
    node.hostname = hostname;
    node.os = os;
    node.client_version = client_version;
    node.requested_tags = requested_tags;
    node.ephemeral = newcomer.ephemeral;
    node.advertised_routes = advertised_routes;
    routes::approve_by_policy(node, &wish.judgement.approved_routes);
}

fn audit_binding(
    mutation: &mut Mutation,
    action: &'static str,
    wish: &BindRequest,
    before: Option<&Node>,
    node: &Node,
) {
    let mut detail = json!({
        "name": node.name,
        "ipv4": node.ipv4,
        "tags": node.tags,
        "user": node.user_id,
        "machine": machine_actor(&node.machine_key),
        "hostname": node.hostname,
        "os": node.os,
        "client": node.client_version,
        "source": wish.request.source_address,
        "ephemeral": node.ephemeral,
        "approved": node.approved,
        "routes": node.advertised_routes,
    });
    if let Some(login_id) = &wish.credential.login_id {
        detail["login"] = json!(login_id);
    }
    if let Some(before) = before {
        detail = difference::add_changes(detail, before, node);
    }
    mutation.record_audit(action, node.id.to_string(), &detail);
}

/// Returns what a client is told whose old key is not replaced.
fn refuse_rotation(refusal: key::RotationRefusal) -> Outcome {
    match refusal {
        key::RotationRefusal::AnotherMachines => refuse_foreign_key(),
        key::RotationRefusal::Unproven => {
            let text = "this network asks for a proof of both node keys: log out, then log in as a new device";
            refuse(RefusalReason::NodeKeyUnproven, text)
        }
    }
}

/// Counts a use of the pre-auth key, unless it has none left.
async fn use_up_key(
    mutation: &mut Mutation,
    credential: &Credential,
) -> Result<Option<Outcome>, RegistryError> {
    let Some(id) = &credential.pre_auth_key else {
        return Ok(None);
    };
    let found = pre_auth_keys::by_id(mutation.connection(), id).await?;
    let (mut key, _) = found.ok_or(RegistryError::NotFound("pre-auth key"))?;
    if let Some((reason, text)) = pre_auth_key::find_refusal(&key, mutation.now()) {
        return Ok(Some(refuse(reason, text)));
    }
    key.uses += 1;
    pre_auth_keys::update_key(mutation.connection(), &key).await?;
    Ok(None)
}

async fn allocate_node(
    mutation: &mut Mutation,
    request: &RegisterRequest,
    credential: &Credential,
    ipv4_pools: &[String],
) -> Result<Node, RegistryError> {
    let tailnet = &credential.tailnet;
    let pool = AddressPool::parse(&tailnet.ipv4_pool, &tailnet.ipv6_pool).ok_or_else(|| {
        RegistryError::Refused("the tailnet's address pools do not parse".to_owned())
    })?;
    let wanted: Vec<_> = ipv4_pools
        .iter()
        .filter_map(|pool| pool.parse().ok())
        .collect();
    let AddressPair { ipv4, ipv6 } = if wanted.is_empty() {
        pools::take_pair(mutation.connection(), tailnet.id, pool).await?
    } else {
        pools::take_wanted_pair(mutation.connection(), tailnet.id, pool, &wanted).await?
    };
    Ok(Node {
        id: next_id(mutation.connection()).await?.cast_unsigned(),
        tailnet_id: tailnet.id,
        machine_key: request.machine_key.clone(),
        ipv4: ipv4.to_string(),
        ipv6: ipv6.to_string(),
        approved: credential.approved || !tailnet.machine_approval,
        created_at: Some(domain::to_timestamp(mutation.now())),
        ..Node::default()
    })
}
