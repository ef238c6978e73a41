//! The transaction that binds a node key: key used up, node made or rotated, address, name, log, audit.

use bowline_db::{Mutation, next_id};
use bowline_proto::{
    key_registry::v1::{Node, RefusalReason, RegisterRequest, register_response::Outcome},
    policy::v1::JudgeNodeResponse,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Verdict, another_machines, credential::Credential, is_conflict, machine_actor, refused,
    tailnet_id,
};
use crate::{
    KeyRegistry,
    domain::{self, address_pool::AddressPool, key, pre_auth_key},
    error::RegistryError,
    node_changes,
    store::{nodes, pools, pre_auth_keys},
};

/// Everything the transaction needs.
pub(super) struct Wish {
    pub(super) request: RegisterRequest,
    pub(super) credential: Credential,
    pub(super) tags: Vec<String>,
    pub(super) offered: Vec<String>,
    pub(super) judgement: JudgeNodeResponse,
}

/// What the transaction did.
enum Bound {
    Node(Box<Node>),
    Refused(Box<Outcome>),
    /// Another request bound the key meanwhile: its outcome is this one's.
    Before,
}

impl KeyRegistry {
    pub(super) async fn bind(&self, wish: Wish) -> Verdict {
        let tailnet = tailnet_id(wish.credential.tailnet.id)?;
        let actor = match (&wish.credential.pre_auth_key, &wish.credential.user) {
            (Some(key), _) => format!("pre-auth-key:{key}"),
            (None, Some(user)) => format!("user:{}", user.login_name),
            (None, None) => machine_actor(&wish.request.machine_key),
        };
        let request = wish.request.clone();
        let bound = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(bind(mutation, wish))
            })
            .await;
        match bound {
            Ok((Bound::Node(node), revision)) => Ok(self.registered(*node, revision.get()).await),
            Ok((Bound::Refused(outcome), _)) => Ok(*outcome),
            Ok((Bound::Before, _)) => {
                let gone = Err(RegistryError::NotFound("node key"));
                self.bound_before(request, gone).await
            }
            Err(RegistryError::AddressesExhausted) => {
                let text = RegistryError::AddressesExhausted.to_string();
                Ok(refused(RefusalReason::AddressesExhausted, text))
            }
            Err(error) if is_conflict(&error, "node_keys_pkey") => {
                self.bound_before(request, Err(error)).await
            }
            Err(error) => Err(error),
        }
    }

    /// Answers for a key that another request may have bound since this one looked for it; with `otherwise` when none
    /// has.
    pub(super) async fn bound_before(
        &self,
        request: RegisterRequest,
        otherwise: Verdict,
    ) -> Verdict {
        let found = nodes::by_key(self.log.database().reader(), &request.node_key).await?;
        match found {
            Some(node) => Box::pin(self.known(node, request)).await,
            None => otherwise,
        }
    }
}

async fn bind(mutation: &mut Mutation, wish: Wish) -> Result<Bound, RegistryError> {
    let Wish {
        request,
        credential,
        tags,
        offered,
        judgement,
    } = wish;
    let bound = nodes::by_key(mutation.connection(), &request.node_key).await?;
    if bound.is_some() {
        // The answer to the first try was lost, or is on its way: a one-off key is used up once.
        return Ok(Bound::Before);
    }
    if let Some(login_id) = &credential.login_id
        && let Some(node) = nodes::by_login(mutation.connection(), login_id).await?
    {
        let text = format!(
            "this login made the device {} already: start a new one",
            node.name
        );
        let refusal = refused(RefusalReason::LoginDenied, text);
        return Ok(Bound::Refused(Box::new(refusal)));
    }
    let owner = key::Owner {
        tailnet_id: mutation.tailnet().get(),
        user_id: credential.user.as_ref().map_or(0, |user| user.id),
        tags,
    };
    let old = match request.old_node_key.len() {
        32 => nodes::by_key(mutation.connection(), &request.old_node_key).await?,
        _ => None,
    };
    let proof = key::Proof {
        machine_key: &request.machine_key,
        node_key: &request.node_key,
        held: &request.proven_node_keys,
        is_required: credential.tailnet.require_key_proof,
    };
    let rotation = old.as_ref().map(|old| key::rotation(old, proof, &owner));
    if let Some(key::Rotation::Refused(refusal)) = rotation {
        return Ok(Bound::Refused(Box::new(not_replaced(refusal))));
    }
    if let Some(refusal) = use_up(mutation, &credential).await? {
        return Ok(Bound::Refused(Box::new(refusal)));
    }
    let old = old.filter(|_| rotation == Some(key::Rotation::Replaces));
    let rotated = old.is_some();
    let mut node = match old {
        Some(old) => old,
        None => new_node(mutation, &request, &credential, &judgement.ipv4_pools).await?,
    };
    let now = mutation.now();
    describe(&mut node, &owner, &request, &credential, now);
    node.approved_routes.extend(judgement.approved_routes);
    node.approved_routes.sort();
    node.approved_routes.dedup();
    node.advertised_routes = offered;
    node_changes::follow_hostname(mutation, &mut node).await?;
    nodes::bind_key(mutation.connection(), &node, now).await?;
    node_changes::put(mutation, &node, credential.login_id).await?;
    if !node.advertised_routes.is_empty() || !node.primary_routes.is_empty() {
        node_changes::elect_primaries(mutation).await?;
    }
    let action = if rotated {
        "node.rotate"
    } else {
        "node.register"
    };
    let detail = json!({ "name": node.name, "ipv4": node.ipv4, "tags": node.tags });
    mutation.audit(action, node.id.to_string(), &detail);
    Ok(Bound::Node(Box::new(node)))
}

/// Gives a node its new key, whose it is, until when, and what its client says of it.
fn describe(
    node: &mut Node,
    owner: &key::Owner,
    request: &RegisterRequest,
    credential: &Credential,
    now: DateTime<Utc>,
) {
    let lifetime = credential.tailnet.key_lifetime;
    let lifetime = lifetime.and_then(|life| TimeDelta::try_seconds(life.seconds));
    let wished_end = request.expiry.and_then(domain::time);
    node.key_expiry = key::expiry(owner, lifetime, wished_end, now);
    node.node_key.clone_from(&request.node_key);
    node.expired = false;
    node.user_id = owner.user_id;
    node.tags.clone_from(&owner.tags);
    node.hostname.clone_from(&request.hostname);
    node.os.clone_from(&request.os);
    node.client_version.clone_from(&request.client_version);
    node.requested_tags.clone_from(&request.requested_tags);
    node.ephemeral = credential.ephemeral || request.ephemeral;
}

/// Returns what a client is told whose old key is not replaced.
fn not_replaced(refusal: key::RotationRefusal) -> Outcome {
    match refusal {
        key::RotationRefusal::AnotherMachines => another_machines(),
        key::RotationRefusal::Unproven => {
            let text = "this network asks for a proof of both node keys: log out, then log in as a new device";
            refused(RefusalReason::NodeKeyUnproven, text)
        }
    }
}

/// Counts a use of the pre-auth key, unless it has none left.
async fn use_up(
    mutation: &mut Mutation,
    credential: &Credential,
) -> Result<Option<Outcome>, RegistryError> {
    let Some(id) = &credential.pre_auth_key else {
        return Ok(None);
    };
    let found = pre_auth_keys::by_id(mutation.connection(), id).await?;
    let (mut key, _) = found.ok_or(RegistryError::NotFound("pre-auth key"))?;
    if let Some((reason, text)) = pre_auth_key::refusal(&key, mutation.now()) {
        return Ok(Some(refused(reason, text)));
    }
    key.uses += 1;
    pre_auth_keys::update(mutation.connection(), &key).await?;
    Ok(None)
}

async fn new_node(
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
    let (ipv4, ipv6) = if wanted.is_empty() {
        pools::take(mutation.connection(), tailnet.id, pool).await?
    } else {
        pools::take_from(mutation.connection(), tailnet.id, pool, &wanted).await?
    };
    Ok(Node {
        id: next_id(mutation.connection()).await?.cast_unsigned(),
        tailnet_id: tailnet.id,
        machine_key: request.machine_key.clone(),
        ipv4: ipv4.to_string(),
        ipv6: ipv6.to_string(),
        approved: credential.approved || !tailnet.machine_approval,
        created_at: Some(domain::timestamp(mutation.now())),
        ..Node::default()
    })
}
