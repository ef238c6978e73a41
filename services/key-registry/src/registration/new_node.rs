//! The fields of a node whose key is bound: what it is given, and what it says of itself.

use bowline_db::Mutation;
use bowline_proto::{
    identity::v1::{ApprovalRule, RotationRules, Tailnet},
    key_registry::v1::{HostReport, Node, TaggedBy},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{bind::BindRequest, lock_signature::set_signature};
use crate::{
    actors::machine_actor,
    domain::{
        self,
        address_pool::{AddressPair, AddressPool, AddressRange},
        approval::{self, ApprovalFacts},
        difference, key,
        rotation::Registrant,
        rotation_interval, routes,
    },
    error::RegistryError,
    node_changes,
    store::{
        adoptions::{self, AdoptionRow, DUE_IN_GOOD_STANDING},
        pools,
        registrants::RegistrantFacts,
        soft_states::{self, SoftRow},
    },
};

/// A new node, and from which place on free addresses are looked for with it.
pub(super) struct AllocatedNode {
    pub(super) node: Node,
    pub(super) next_place: Option<u32>,
}

/// Returns a new node with an identifier and addresses of its own.
pub(super) async fn allocate_node(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    facts: &RegistrantFacts,
) -> Result<AllocatedNode, RegistryError> {
    let (request, credential) = (&bind_request.request, &bind_request.credential);
    let tailnet = &credential.tailnet;
    let pool = AddressPool::parse(&tailnet.ipv4_pool, &tailnet.ipv6_pool).ok_or_else(|| {
        RegistryError::Refused("the tailnet's address pools do not parse".to_owned())
    })?;
    let (memory, wanted) = (&bind_request.memory, &bind_request.wanted_pools);
    let (AddressPair { ipv4, ipv6 }, next_place) = if wanted.is_empty() {
        let ranges = pool.ranges_from(facts.next_place).to_vec();
        let found = find_pair(mutation, bind_request, facts, pool, ranges).await?;
        let pair = found.ok_or_else(|| RegistryError::tailnet_exhausted(pool))?;
        (pair, Some(pool.place_behind(pair.ipv4)))
    } else {
        let ranges = memory.wanted_ranges(tailnet.id, wanted);
        let found = find_pair(mutation, bind_request, facts, pool, ranges).await?;
        let pair = found.ok_or_else(|| RegistryError::policy_exhausted(wanted))?;
        memory.note_wanted(tailnet.id, wanted, pair.ipv4);
        (pair, None)
    };
    let node = Node {
        id: facts.next_id.cast_unsigned(),
        tailnet_id: tailnet.id,
        machine_key: request.machine_key.clone(),
        ipv4: ipv4.to_string(),
        ipv6: ipv6.to_string(),
        approved: credential.approved || !tailnet.machine_approval,
        created_at: Some(domain::to_timestamp(mutation.now())),
        ..Node::default()
    };
    Ok(AllocatedNode { node, next_place })
}

/// Finds a free pair of addresses in some ranges: the first there, if it was guessed and nobody has it.
async fn find_pair(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    facts: &RegistrantFacts,
    pool: AddressPool,
    ranges: Vec<AddressRange>,
) -> Result<Option<AddressPair>, RegistryError> {
    let guessed = bind_request.guess.pair.filter(|_| facts.is_pair_free);
    if guessed.is_some() && guessed == pool.first_pair_of(&ranges) {
        return Ok(guessed);
    }
    let tailnet_id = bind_request.tailnet.get();
    Ok(pools::find_pair(mutation.connection(), tailnet_id, pool, ranges).await?)
}

/// Gives a new node a name: the guessed one, if no other node has it.
pub(super) async fn name_node(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    facts: &RegistrantFacts,
    node: &mut Node,
) -> Result<(), RegistryError> {
    let label = &bind_request.guess.label;
    node.name = match &facts.free_name {
        Some(name) => name.clone(),
        None => node_changes::find_free_name(mutation, label, node.id).await?,
    };
    let memory = &bind_request.memory;
    memory.note_name(node.tailnet_id, label, &node.name);
    Ok(())
}

/// Returns the rule of the key policy that lets a registrant's machine in, if it would have to wait otherwise.
pub(super) fn find_approval_rule<'r>(
    bind_request: &'r BindRequest,
    node: &Node,
) -> Option<&'r ApprovalRule> {
    if node.approved {
        return None;
    }
    let (request, credential) = (&bind_request.request, &bind_request.credential);
    let facts = ApprovalFacts {
        tags: &bind_request.tags,
        user: credential.user.as_ref(),
        os: &request.os,
        client_version: &request.client_version,
        source: &request.source_address,
        machine_key: &request.machine_key,
    };
    let policy = credential.tailnet.key_policy.as_ref()?;
    approval::find_rule(&policy.approval_rules, facts)
}

/// Returns how often a tailnet wants node keys to be replaced.
pub(super) fn rotation_rules(tailnet: &Tailnet) -> RotationRules {
    let policy = tailnet.key_policy.as_ref();
    policy
        .and_then(|policy| policy.rotation.clone())
        .unwrap_or_default()
}

/// Gives a node its new key, and until when.
pub(super) fn set_key(
    node: &mut Node,
    bind_request: &BindRequest,
    registrant: &Registrant,
    now: DateTime<Utc>,
) {
    let (owner, tailnet) = (&registrant.owner, &bind_request.credential.tailnet);
    let lifetime = tailnet.key_lifetime;
    let lifetime = lifetime.filter(|_| !node.key_never_expires);
    let lifetime = lifetime.and_then(|life| TimeDelta::try_seconds(life.seconds));
    let wished_end = bind_request.request.expiry.and_then(domain::from_timestamp);
    let login_ends = key::compute_login_end(owner, lifetime, wished_end, now);
    let interval = rotation_interval::find_interval(&rotation_rules(tailnet), node, &owner.tags);
    rotation_interval::start_interval(node, interval, login_ends, now);
    node.node_key.clone_from(&bind_request.request.node_key);
    set_signature(node, &bind_request.request, &bind_request.signature);
    node.expired = false;
}

/// Says whose a node is, and what its client says of it.
pub(super) fn describe_node(node: &mut Node, bind_request: &BindRequest, registrant: &Registrant) {
    let owner = &registrant.owner;
    // Asking again for tags that a node has already does not change who gave them.
    if node.tags != owner.tags || bind_request.tagged_by == TaggedBy::PreAuthKey {
        node.tagged_by = bind_request.tagged_by.into();
    }
    node.user_id = owner.user_id;
    node.tags.clone_from(&owner.tags);
    let HostReport {
        hostname,
        os,
        client_version,
        os_version,
        auto_update,
        state_encrypted,
        advertised_routes,
        requested_tags,
        ..
    } = bind_request.host.clone();
    node.hostname = hostname;
    node.os = os;
    node.client_version = client_version;
    node.os_version = os_version;
    (node.auto_update, node.state_encrypted) = (auto_update, state_encrypted);
    node.requested_tags = requested_tags;
    node.ephemeral = registrant.ephemeral;
    node.advertised_routes = advertised_routes;
    routes::approve_by_policy(node, &bind_request.judgement.approved_routes);
}

/// Keeps what a client says with a login for when its node may change itself, or forgets what was kept of it.
pub(super) async fn keep_report(
    mutation: &mut Mutation,
    node: &Node,
    mut asked: AdoptionRow,
    host: Option<HostReport>,
) -> Result<(), RegistryError> {
    let soft = soft_states::by_node(mutation.connection(), node.id).await?;
    let is_kept = host.is_some();
    if is_kept || soft.is_some() {
        let mut soft = soft.unwrap_or_else(|| SoftRow::for_node(node));
        soft.host = host;
        soft_states::put_row(mutation.connection(), &soft).await?;
    }
    asked.due = is_kept.then_some(DUE_IN_GOOD_STANDING);
    asked.wished_end = None;
    adoptions::put_row(mutation.connection(), &asked).await?;
    Ok(())
}

/// Audits that a key was bound, with what differs from the node before, if there was one.
pub(super) fn audit_binding(
    mutation: &mut Mutation,
    action: &'static str,
    bind_request: &BindRequest,
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
        "source": bind_request.request.source_address,
        "ephemeral": node.ephemeral,
        "approved": node.approved,
        "disabled": node.disabled,
        "awaits_signature": node.awaits_signature,
        "routes": node.advertised_routes,
    });
    if let Some(login_id) = &bind_request.credential.login_id {
        detail["login"] = json!(login_id);
    }
    if let Some(before) = before {
        detail = difference::add_changes(detail, before, node);
    }
    mutation.record_audit(action, node.id.to_string(), &detail);
}
