//! Replaces a key without a person, in the last tenth of the interval in which that has to be done.
//!
//! ```text
//! no credential, and names the old key ─▶ may be renewed? ─▶ tailnet and user in good standing ─▶ transaction: same node, new key
//! ```
//!
//! Nothing of the node changes but its key: what the client says of its host it reports with its next map request. A client
//! that asks for other tags than before wants more than a key, and logs in.

use bowline_db::{ChangeLog, Mutation};
use bowline_proto::key_registry::v1::{Node, RegisterRequest, register_response::Outcome};
use chrono::{DateTime, Utc};

use super::{
    answers::{refuse_barred_user, refuse_denied_machine, refuse_rotation},
    bind::{BindOutcome, BindRequest, write_bound_node},
    credential::{Credential, CredentialOutcome, Credentials},
    key_policy, limits,
    lock_signature::{KeySignature, judge_signature, set_signature},
    new_node::{audit_binding, rotation_rules},
};
use crate::{
    actors::machine_actor,
    domain::{
        from_timestamp,
        rotation::{self, KeyOwner, KeyProof, Registrant, RotationVerdict},
        rotation_interval,
        tags::canonical_tags,
    },
    error::RegistryError,
    fields::read_tailnet_id,
    own_changes,
    store::{adoptions, barred_users, node_keys, nodes},
};

/// What became of a request that could be a renewal.
pub(super) enum Renewal {
    /// It was one: what became of it, and the credential with its names.
    Done(Box<BindOutcome>, Box<Credential>),
    /// The answer.
    Answer(Box<Outcome>),
    /// It is none, or not now: the client needs a credential.
    NotDue,
}

/// What the transaction did.
enum KeyRenewal {
    Renewed(Box<Node>),
    Refused(Box<Outcome>),
    AlreadyBound,
    NotDue,
}

/// Renews the key that a request without credential names as its old one, if that is due.
pub(super) async fn renew_key(
    log: &ChangeLog,
    credentials: &Credentials,
    request: &RegisterRequest,
    now: DateTime<Utc>,
) -> Result<Renewal, RegistryError> {
    let has_credential = !request.pre_auth_key.is_empty() || !request.login_id.is_empty();
    if has_credential || request.old_node_key.len() != 32 {
        return Ok(Renewal::NotDue);
    }
    let found = nodes::by_key(log.database().reader(), &request.old_node_key).await?;
    let due = found.filter(|node| is_renewal(node, request, now));
    let Some(node) = due else {
        return Ok(Renewal::NotDue);
    };
    let user_id = standing_user(&node);
    let tailnet_id = node.tailnet_id;
    let owner = credentials.resolve_owner(Credential::default(), tailnet_id, user_id);
    let credential = match owner.await? {
        CredentialOutcome::Credential(credential) => credential,
        CredentialOutcome::Answer(outcome) => return Ok(Renewal::Answer(outcome)),
    };
    let wanted = &request.required_tailnet;
    if !wanted.is_empty() && *wanted != credential.tailnet.name {
        return Ok(Renewal::NotDue);
    }
    let bind_request = BindRequest::for_renewal(request, &credential, &node)?;
    let actor = machine_actor(&request.machine_key);
    let renewing = log.mutate(bind_request.tailnet, actor, move |mutation| {
        Box::pin(try_renew(mutation, bind_request))
    });
    let outcome = match renewing.await {
        Ok((KeyRenewal::Renewed(node), revision)) => BindOutcome::Node(node, revision.get()),
        Ok((KeyRenewal::Refused(outcome), _)) => BindOutcome::Refused(outcome),
        Ok((KeyRenewal::AlreadyBound, _)) => {
            BindOutcome::AlreadyBound(RegistryError::NotFound("node key"))
        }
        Ok((KeyRenewal::NotDue, _)) => return Ok(Renewal::NotDue),
        Err(error) if error.is_conflict(node_keys::BOUND_ONCE) => BindOutcome::AlreadyBound(error),
        Err(error) => return Err(error),
    };
    Ok(Renewal::Done(Box::new(outcome), credential))
}

/// Says whether a request is for a key that its machine may replace now, and for nothing else.
fn is_renewal(node: &Node, request: &RegisterRequest, now: DateTime<Utc>) -> bool {
    let asked = canonical_tags(request.requested_tags.clone());
    let has_same_tags = asked.is_ok_and(|asked| {
        canonical_tags(node.requested_tags.clone()).is_ok_and(|before| before == asked)
    });
    rotation_interval::may_renew(node, now) && has_same_tags
}

/// Returns the user who has to be in good standing; zero where the node does not go with one.
fn standing_user(node: &Node) -> u64 {
    if node.goes_with_user() {
        node.user_id
    } else {
        0
    }
}

async fn try_renew(
    mutation: &mut Mutation,
    bind_request: BindRequest,
) -> Result<KeyRenewal, RegistryError> {
    let refused = |outcome| Ok(KeyRenewal::Refused(Box::new(outcome)));
    let (request, credential) = (&bind_request.request, &bind_request.credential);
    let now = mutation.now();
    let bound = nodes::by_key(mutation.connection(), &request.node_key).await?;
    if bound.is_some() {
        return Ok(KeyRenewal::AlreadyBound);
    }
    // Another request may have replaced it meanwhile.
    let found = nodes::by_key(mutation.connection(), &request.old_node_key).await?;
    let Some(before) = found.filter(|node| is_renewal(node, request, now)) else {
        return Ok(KeyRenewal::NotDue);
    };
    let mut owner = KeyOwner {
        tailnet_id: before.tailnet_id,
        user_id: standing_user(&before),
        tags: before.tags.clone(),
    };
    let revision = credential.identity_revision;
    if barred_users::is_barred_since(mutation.connection(), &owner, revision).await? {
        return refused(refuse_barred_user());
    }
    let (on, machine) = (mutation.connection(), &request.machine_key);
    let kept_out = nodes::kept_out_of_machine(on, before.tailnet_id, machine).await?;
    if kept_out.iter().any(|node| node.denied) {
        return refused(refuse_denied_machine());
    }
    owner.user_id = before.user_id;
    let registrant = Registrant {
        owner,
        ephemeral: before.ephemeral,
    };
    let proof = KeyProof {
        machine_key: &request.machine_key,
        node_key: &request.node_key,
        proven_keys: &request.proven_node_keys,
        is_required: credential.tailnet.require_key_proof,
    };
    match rotation::judge_rotation(&before, proof, &registrant, false, now) {
        RotationVerdict::Replaces => {}
        RotationVerdict::NewNode => return Ok(KeyRenewal::NotDue),
        RotationVerdict::Refused(refusal) => return refused(refuse_rotation(refusal)),
    }
    let interval = rotation_interval::find_interval(
        &rotation_rules(&credential.tailnet),
        &before,
        &before.tags,
    );
    if interval.is_none() {
        // Keys need not be replaced any more: what replaces this one nevertheless is a login.
        return Ok(KeyRenewal::NotDue);
    }
    let owner = Some(&registrant.owner);
    let signature = match judge_signature(mutation, request, owner, Some(&before)).await? {
        Ok(signature) => signature,
        Err(answer) => return refused(answer),
    };
    let checking = key_policy::check_login_source(mutation, &bind_request);
    if let Some(refusal) = checking.await? {
        return refused(refusal);
    }
    own_changes::audit_deferred_change(mutation, &before).await?;
    let asked = limits::take_rotation(mutation, &before).await?;
    adoptions::put_row(mutation.connection(), &asked).await?;
    let mut node = before.clone();
    let wished_end = request.expiry.and_then(from_timestamp);
    let login_ends = rotation_interval::login_end(&before);
    let login_ends = login_ends.into_iter().chain(wished_end).min();
    rotation_interval::start_interval(&mut node, interval, login_ends, now);
    node.node_key.clone_from(&request.node_key);
    set_signature(&mut node, request, &signature);
    write_bound_node(mutation, &bind_request, &before, &node).await?;
    audit_binding(mutation, "node.renew", &bind_request, Some(&before), &node);
    Ok(KeyRenewal::Renewed(Box::new(node)))
}

impl BindRequest {
    /// Asks for a new key for a node that stays as it is.
    fn for_renewal(
        request: &RegisterRequest,
        credential: &Credential,
        node: &Node,
    ) -> Result<Self, RegistryError> {
        Ok(Self {
            tailnet: read_tailnet_id(node.tailnet_id)?,
            request: request.clone(),
            credential: credential.clone(),
            host: Default::default(),
            tags: node.tags.clone(),
            tagged_by: node.tagged_by(),
            judgement: Default::default(),
            wanted_pools: Vec::new(),
            signature: KeySignature::default(),
            guess: Default::default(),
            counted: Default::default(),
            memory: Default::default(),
        })
    }
}
