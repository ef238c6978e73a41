//! Enforces the key policy: the one place where a credential that is good is refused nevertheless, because of what it makes,
//! where it is used, or how often.

use bowline_db::Mutation;
use bowline_proto::{
    identity::v1::KeyPolicy,
    key_registry::v1::{Node, PreAuthKey, RefusalReason, register_response::Outcome},
};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{answers::refuse, bind::BindRequest, limits};
use crate::{
    actors::{machine_actor, pre_auth_key_actor},
    domain::{
        from_timestamp,
        key_policy::{self, RegistrationResult},
        node_limits::NodeCounts,
        pace, pre_auth_key,
        rotation::KeyOwner,
        to_timestamp,
    },
    error::RegistryError,
    store::paces,
};

/// Uses a credential for a node that is there already, or for a new one, and returns the pre-auth key as the caller writes it, if it
/// is one. The error is the answer where the credential may not be used for that.
pub(super) async fn use_credential(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    owner: &KeyOwner,
    same: Option<&Node>,
    key: Option<PreAuthKey>,
) -> Result<Result<Option<PreAuthKey>, Outcome>, RegistryError> {
    let policy = bind_request.credential.tailnet.key_policy.clone();
    let policy = policy.unwrap_or_default();
    let (mut used_key, mut is_alarming) = (None, false);
    let mut refusal = match &bind_request.credential.pre_auth_key {
        None => find_login_refusal(&policy, bind_request, same),
        Some(_) => {
            let mut key = key.ok_or(RegistryError::NotFound("pre-auth key"))?;
            if let Some((reason, text)) = pre_auth_key::find_refusal(&key, mutation.now()) {
                return Ok(Err(refuse(reason, text)));
            }
            let counted = count_use(&policy, bind_request, &mut key, mutation.now());
            used_key = Some(key);
            is_alarming = counted == Ok(true);
            counted.err()
        }
    };
    if refusal.is_none() && same.is_none() {
        refusal = count_node_of_user(mutation, bind_request, &policy, owner).await?;
    }
    if let Some(text) = refusal {
        let refusing = refuse_by_policy(mutation, bind_request, text);
        return refusing.await.map(Err);
    }
    if let Some(key) = used_key.as_ref().filter(|_| is_alarming) {
        raise_alarm(mutation, key);
    }
    Ok(Ok(used_key))
}

/// Counts one use of a key and says whether it is used too often for one without a limit, or says why it may not be used.
fn count_use(
    policy: &KeyPolicy,
    bind_request: &BindRequest,
    key: &mut PreAuthKey,
    now: DateTime<Utc>,
) -> Result<bool, String> {
    let rules = policy.pre_auth_keys.clone().unwrap_or_default();
    let source = &bind_request.request.source_address;
    let networks = [&*rules.source_networks, &*key.source_networks];
    let refusal = key_policy::find_key_refusal(&rules, key, now)
        .or_else(|| key_policy::find_source_refusal(networks, source))
        .or_else(|| key_policy::find_uses_refusal(&rules, key));
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let limit = key_policy::hourly_limit(&rules, key);
    let pace = pace::hourly(limit.unwrap_or(pace::ALARMING_USES));
    let rested_at = key.rested_at.and_then(from_timestamp).unwrap_or(now);
    let (rested_at, is_alarming) = match (pace::next_rest(pace, rested_at, now), limit) {
        (Ok(rested_at), _) => (rested_at, false),
        (Err(due), Some(limit)) => {
            let minutes = (due - now).num_minutes() + 1;
            return Err(format!(
                "the auth key was used {limit} times in an hour, as often as it may be: try again in {minutes} minutes, or ask \
                 an administrator for another"
            ));
        }
        (Err(_), None) => (now, true),
    };
    key.rested_at = Some(to_timestamp(rested_at));
    key.uses += 1;
    Ok(is_alarming)
}

/// Tells administrators that a key without a limit is used very often: it may have got into wrong hands.
fn raise_alarm(mutation: &mut Mutation, key: &PreAuthKey) {
    let uses = key.uses;
    tracing::warn!(
        key = key.id,
        uses,
        "a pre-auth key was used more than {} times in an hour: if that is not meant, revoke it with all its nodes",
        pace::ALARMING_USES
    );
    metrics::counter!("bowline_registry_pre_auth_key_alarms_total").increment(1);
    let detail = json!({ "uses": uses, "in_an_hour": pace::ALARMING_USES });
    mutation.record_audit("pre_auth_key.alarm", key.id.clone(), &detail);
}

fn find_login_refusal(
    policy: &KeyPolicy,
    bind_request: &BindRequest,
    same: Option<&Node>,
) -> Option<String> {
    let rules = policy.logins.as_ref()?;
    let tags = &bind_request.tags;
    let made = RegistrationResult {
        is_new: same.is_none(),
        gets_tags: !tags.is_empty() && same.is_none_or(|node| node.tags != *tags),
    };
    let networks = [&*rules.source_networks, &[]];
    let source = &bind_request.request.source_address;
    key_policy::find_login_refusal(rules, made)
        .or_else(|| key_policy::find_source_refusal(networks, source))
}

/// Refuses a key that is replaced without a credential from where nobody may log in.
pub(super) async fn check_login_source(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
) -> Result<Option<Outcome>, RegistryError> {
    let policy = bind_request.credential.tailnet.key_policy.as_ref();
    let rules = policy.and_then(|policy| policy.logins.as_ref());
    let networks = rules.map_or(&[][..], |rules| &rules.source_networks);
    let source = &bind_request.request.source_address;
    match key_policy::find_source_refusal([networks, &[]], source) {
        None => Ok(None),
        Some(text) => {
            let refusing = refuse_by_policy(mutation, bind_request, text);
            refusing.await.map(Some)
        }
    }
}

/// Counts one more node of a user, or says why the user may not have it.
async fn count_node_of_user(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    policy: &KeyPolicy,
    owner: &KeyOwner,
) -> Result<Option<String>, RegistryError> {
    let Some(rules) = policy.users.as_ref().filter(|_| owner.user_id != 0) else {
        return Ok(None);
    };
    let (tailnet, now) = (owner.tailnet_id, mutation.now());
    if rules.max_nodes != 0 {
        let refuse = |counts: NodeCounts| key_policy::find_user_refusal(rules, counts.of_user);
        let refusing = limits::find_refusal(mutation, bind_request, owner, refuse);
        if let Some(text) = refusing.await? {
            return Ok(Some(text));
        }
    }
    if rules.max_new_nodes_per_hour == 0 {
        return Ok(None);
    }
    let maker = format!("user-hour:{}", owner.user_id);
    let on = mutation.connection();
    let rested_at = paces::rested_at(on, tailnet, &maker).await?.unwrap_or(now);
    let limit = rules.max_new_nodes_per_hour;
    match pace::next_rest(pace::hourly(limit), rested_at, now) {
        Ok(rested_at) => {
            paces::put_rest(on, tailnet, &maker, rested_at, now).await?;
            Ok(None)
        }
        Err(due) => {
            let minutes = (due - now).num_minutes() + 1;
            Ok(Some(format!(
                "this user has added {limit} devices in an hour, as many as the network's key policy allows: try again in \
                 {minutes} minutes, or ask an administrator"
            )))
        }
    }
}

/// Refuses a registration because of the key policy, and puts that on record, once in a while for each credential.
async fn refuse_by_policy(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    text: String,
) -> Result<Outcome, RegistryError> {
    let credential = &bind_request.credential;
    let holder = match (&credential.pre_auth_key, &credential.user) {
        (Some(key), _) => pre_auth_key_actor(key),
        (None, user) => format!("user:{}", user.as_ref().map_or(0, |user| user.id)),
    };
    let (tailnet, now) = (mutation.tailnet().get(), mutation.now());
    let maker = format!("refused:{holder}");
    let on = mutation.connection();
    let rested_at = paces::rested_at(on, tailnet, &maker).await?.unwrap_or(now);
    if let Ok(rested_at) = pace::next_rest(pace::AUDITED_REFUSALS, rested_at, now) {
        paces::put_rest(on, tailnet, &maker, rested_at, now).await?;
        let request = &bind_request.request;
        let detail = json!({
            "reason": text,
            "hostname": request.hostname,
            "source": request.source_address,
        });
        let machine = machine_actor(&request.machine_key);
        mutation.record_audit("registration.refuse", machine, &detail);
    }
    Ok(refuse(RefusalReason::KeyPolicy, text))
}
