//! The transaction that binds a node key: credential used up, node made or found again, log, audit.

use std::sync::Arc;

use bowline_db::{ChangeLog, DatabaseError, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::{
    key_registry::v1::{
        HostReport, Node, RefusalReason, RegisterRequest, TaggedBy, register_response::Outcome,
    },
    policy::v1::JudgeNodeResponse,
};
use ipnet::Ipv4Net;
use serde_json::json;

use super::{
    answers::{refuse, refuse_barred_user, refuse_denied_machine, refuse_rotation},
    credential::Credential,
    key_policy,
    limits::{self, NodeMaker},
    lock_signature::{KeySignature, judge_signature},
    make_node::{NewNodeOrigin, make_node},
    memory::RegistrationMemory,
    new_node::{audit_binding, describe_node, find_approval_rule, keep_report, set_key},
    registrant_node::{RegistrantNode, find_node},
};
use crate::{
    actors::{machine_actor, pre_auth_key_actor},
    approval_questions,
    domain::{
        approval,
        node_limits::CountedNodes,
        registrant_guess::RegistrantGuess,
        rotation::{KeyOwner, Registrant},
        routes,
    },
    error::RegistryError,
    node_changes, own_changes,
    store::{
        kept_out_machines, node_keys, nodes, pre_auth_keys,
        registrants::{self, RegistrantFacts, RegistrantQuestion},
        retired_keys,
    },
};

/// Everything the transaction needs.
pub(super) struct BindRequest {
    pub(super) tailnet: TailnetId,
    pub(super) request: RegisterRequest,
    pub(super) credential: Credential,
    /// What the client says of its host, bounded.
    pub(super) host: HostReport,
    pub(super) tags: Vec<String>,
    pub(super) tagged_by: TaggedBy,
    pub(super) judgement: JudgeNodeResponse,
    /// Where the policy wants the node's IPv4 address; empty where it is from the tailnet's own pool.
    pub(super) wanted_pools: Vec<Ipv4Net>,
    /// What tailnet lock says of the key; the transaction finds out.
    pub(super) signature: KeySignature,
    /// What a new node is likely to be given.
    pub(super) guess: RegistrantGuess,
    /// How many nodes there were a while ago.
    pub(super) counted: CountedNodes,
    pub(super) memory: Arc<RegistrationMemory>,
}

impl BindRequest {
    fn registrant(&self) -> Registrant {
        let (request, credential) = (&self.request, &self.credential);
        Registrant {
            owner: KeyOwner {
                tailnet_id: self.tailnet.get(),
                user_id: credential.user.as_ref().map_or(0, |user| user.id),
                tags: self.tags.clone(),
            },
            ephemeral: credential.ephemeral || request.ephemeral,
        }
    }
}

/// What became of a request to bind a key.
pub(super) enum BindOutcome {
    /// The key is bound to a node, at a revision.
    Node(Box<Node>, u64),
    /// The request is refused.
    Refused(Box<Outcome>),
    /// Another request bound the key meanwhile: the answer is that one's, or this error when no node has the key.
    AlreadyBound(RegistryError),
}

/// What the transaction did.
enum Binding {
    Node(Box<Node>),
    Refused(Box<Outcome>),
    AlreadyBound,
}

/// Binds a key in one transaction: uses up the credential, makes or finds the node, and writes log and audit entries.
pub(super) async fn bind_key(
    log: &ChangeLog,
    bind_request: BindRequest,
) -> Result<BindOutcome, RegistryError> {
    let credential = &bind_request.credential;
    let actor = match (&credential.pre_auth_key, &credential.user) {
        (Some(key), _) => pre_auth_key_actor(key),
        (None, Some(user)) => format!("user:{}", user.login_name),
        (None, None) => machine_actor(&bind_request.request.machine_key),
    };
    let binding = log.mutate(bind_request.tailnet, actor, move |mutation| {
        Box::pin(try_bind(mutation, bind_request))
    });
    let refused = |reason, text| BindOutcome::Refused(Box::new(refuse(reason, text)));
    Ok(match binding.await {
        Ok((Binding::Node(node), revision)) => BindOutcome::Node(node, revision.get()),
        Ok((Binding::Refused(outcome), _)) => BindOutcome::Refused(outcome),
        Ok((Binding::AlreadyBound, _)) => {
            BindOutcome::AlreadyBound(RegistryError::NotFound("node key"))
        }
        Err(RegistryError::AddressesExhausted(text)) => {
            refused(RefusalReason::AddressesExhausted, text)
        }
        Err(RegistryError::TooManyNodes(text)) => refused(RefusalReason::TooManyNodes, text),
        Err(error) if is_bound_elsewhere(&error) => BindOutcome::AlreadyBound(error),
        Err(error) => return Err(error),
    })
}

/// Says whether a key was bound in another tailnet a moment ago: the tables of keys and of nodes both say so.
fn is_bound_elsewhere(error: &RegistryError) -> bool {
    error.is_conflict(node_keys::BOUND_ONCE) || error.is_conflict(nodes::KEY_OF_ONE)
}

async fn try_bind(
    mutation: &mut Mutation,
    mut bind_request: BindRequest,
) -> Result<Binding, RegistryError> {
    let refused = |outcome| Ok(Binding::Refused(Box::new(outcome)));
    let BindRequest {
        request,
        credential,
        ..
    } = &bind_request;
    let registrant = bind_request.registrant();
    let maker = NodeMaker::of(credential.pre_auth_key.as_deref(), registrant.owner.user_id);
    let mut facts = read_registrant(mutation, &bind_request, &registrant, &maker).await?;
    if facts.is_bound {
        // The same request was sent before, and its answer was lost or is on its way: a one-off key is used up only once.
        return Ok(Binding::AlreadyBound);
    }
    if let Some(login_id) = &credential.login_id
        && let Some(node) = nodes::by_login(mutation.connection(), login_id).await?
    {
        let text = format!(
            "this login made the device {} already: start a new one",
            node.name
        );
        return refused(refuse(RefusalReason::LoginDenied, text));
    }
    if facts.is_barred {
        return refused(refuse_barred_user());
    }
    let (on, machine) = (mutation.connection(), &request.machine_key);
    let kept_out = match facts.has_node {
        true => nodes::kept_out_of_machine(on, registrant.owner.tailnet_id, machine).await?,
        false => Vec::new(),
    };
    if kept_out.iter().any(|node| node.denied) {
        return refused(refuse_denied_machine());
    }
    let found = match find_node(mutation, &bind_request, &registrant, facts.has_node).await? {
        Ok(found) => found,
        Err(refusal) => return refused(refuse_rotation(refusal)),
    };
    let known = found.known();
    let owner = &registrant.owner;
    let signature = match facts.has_lock {
        true => judge_signature(mutation, request, Some(owner), known).await?,
        false => Ok(KeySignature::default()),
    };
    let signature = match signature {
        Ok(signature) => signature,
        Err(answer) => return refused(answer),
    };
    let key = facts.pre_auth_key.take();
    let using = key_policy::use_credential(mutation, &bind_request, owner, known, key);
    let used_key = match using.await? {
        Ok(used_key) => used_key,
        Err(refusal) => return refused(refusal),
    };
    bind_request.signature = signature;
    match found {
        RegistrantNode::Same(node) => {
            if let Some(key) = used_key {
                pre_auth_keys::update_key(mutation.connection(), &key).await?;
            }
            rebind_node(mutation, bind_request, &registrant, *node).await
        }
        RegistrantNode::New { shared_with } => {
            let is_disabled = kept_out.iter().any(|node| node.disabled)
                || facts.is_kept_out
                    && take_kept_out_machine(mutation, &bind_request.request).await?;
            let origin = NewNodeOrigin {
                shared_with,
                is_disabled,
                used_key,
                maker,
                facts,
            };
            let node = make_node(mutation, &bind_request, &registrant, origin).await?;
            Ok(Binding::Node(Box::new(node)))
        }
    }
}

/// Reads what is true of a registrant.
async fn read_registrant(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    registrant: &Registrant,
    maker: &NodeMaker,
) -> Result<RegistrantFacts, RegistryError> {
    let credential = &bind_request.credential;
    let question = RegistrantQuestion {
        request: &bind_request.request,
        owner: &registrant.owner,
        identity_revision: credential.identity_revision,
        pre_auth_key: credential.pre_auth_key.as_deref(),
        maker: &maker.name,
        guess: &bind_request.guess,
    };
    let facts = registrants::read_facts(mutation.connection(), question).await?;
    if facts.was_bound && !facts.is_bound {
        // It was bound and retired since it was looked for. Of no key that was bound to a node this can be found too late: in
        // this statement it is a key or a hash, and what is bound from here on conflicts.
        let constraint = node_keys::BOUND_ONCE.to_owned();
        return Err(DatabaseError::Conflict { constraint }.into());
    }
    Ok(facts)
}

/// Says whether the machine of a new node is kept out since its last node went; the new node is from here on.
async fn take_kept_out_machine(
    mutation: &mut Mutation,
    request: &RegisterRequest,
) -> Result<bool, RegistryError> {
    let tailnet = mutation.tailnet().get();
    let on = mutation.connection();
    Ok(kept_out_machines::take_machine(on, tailnet, &request.machine_key).await?)
}

/// Gives a node that its machine holds already its new key.
async fn rebind_node(
    mutation: &mut Mutation,
    bind_request: BindRequest,
    registrant: &Registrant,
    mut node: Node,
) -> Result<Binding, RegistryError> {
    own_changes::audit_deferred_change(mutation, &node).await?;
    let asked = limits::take_rotation(mutation, &node).await?;
    let before = node.clone();
    if bind_request.credential.approved {
        (node.approved, node.approved_by_rule) = (true, String::new());
    }
    let was_good = node.is_authorized();
    if (node.user_id, &node.tags) != (registrant.owner.user_id, &registrant.owner.tags) {
        approval::withdraw_rule(&mut node);
    }
    approve_by_rule(mutation, &bind_request, &mut node);
    set_key(&mut node, &bind_request, registrant, mutation.now());
    let is_good = was_good || node.is_authorized();
    if is_good {
        describe_node(&mut node, &bind_request, registrant);
        node_changes::follow_hostname(mutation, &mut node, &before.hostname).await?;
    }
    ask_outside(mutation, &bind_request, &node).await?;
    // What was reported before the login is older than what the client says with it.
    let kept = (!is_good).then(|| bind_request.host.clone());
    keep_report(mutation, &node, asked, kept).await?;
    write_bound_node(mutation, &bind_request, &before, &node).await?;
    audit_binding(mutation, "node.rotate", &bind_request, Some(&before), &node);
    Ok(Binding::Node(Box::new(node)))
}

/// Approves a node that would have to wait, if a rule of the key policy lets its machine in.
pub(super) fn approve_by_rule(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    node: &mut Node,
) {
    if let Some(rule) = find_approval_rule(bind_request, node) {
        node.approved = true;
        node.approved_by_rule.clone_from(&rule.name);
        let detail = json!({ "by": "rule", "rule": rule.name, "name": node.name });
        mutation.record_audit("node.approve", node.id.to_string(), &detail);
    }
}

/// Has an outside system decide on a node that waits, if the key policy names one.
pub(super) async fn ask_outside(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    node: &Node,
) -> Result<(), RegistryError> {
    let policy = bind_request.credential.tailnet.key_policy.as_ref();
    approval_questions::ask_if_waiting(mutation, policy, &bind_request.request, node).await
}

/// Binds the key and writes the node; what it routes may have to go elsewhere.
pub(super) async fn write_bound_node(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    before: &Node,
    node: &Node,
) -> Result<(), RegistryError> {
    let now = mutation.now();
    node_keys::bind_key(mutation.connection(), node, now).await?;
    retired_keys::mark_retired(mutation.connection(), &before.node_key, now).await?;
    node_changes::write_node(mutation, node, bind_request.credential.login_id.clone()).await?;
    if routes::may_move_primaries(before, node) {
        node_changes::elect_primaries(mutation).await?;
    }
    Ok(())
}
