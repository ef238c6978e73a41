//! Registration: gathers facts, then lets one transaction bind the key.
//!
//! ```text
//! known key ─▶ domain::key::known ─▶ success, end, or logout: identity is not asked
//! else ─▶ credential: pre-auth key │ approved login │ none ─▶ owner ─▶ tags and routes judged ─▶ bind
//! ```

mod bind;
mod credential;
mod foreign;
mod limits;

use bowline_db::DatabaseError;
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::{ResolveTailnetRequest, identity_service_client::IdentityServiceClient},
    key_registry::v1::{
        HostReport, KeyExpired, LoggedOut, Node, RefusalReason, Refused, RegisterRequest,
        RegisterResponse, Registered, TaggedBy, register_response::Outcome,
    },
    policy::v1::{JudgeNodeRequest, policy_compiler_service_client::PolicyCompilerServiceClient},
};
use serde_json::json;

use crate::{
    KeyRegistry,
    domain::{self, key, self_report, tags},
    error::RegistryError,
    node_changes,
    store::{nodes, soft_states},
};
use credential::{Credential, Found};
pub use foreign::ForeignKeys;

/// The verdict on a registration.
type Verdict = Result<Outcome, RegistryError>;

pub(crate) fn refused(reason: RefusalReason, text: impl Into<String>) -> Outcome {
    Outcome::Refused(Refused {
        reason: reason.into(),
        text: text.into(),
    })
}

impl KeyRegistry {
    /// Registers, renews, rotates or logs out a node key.
    pub(crate) async fn register(
        &self,
        request: RegisterRequest,
    ) -> Result<RegisterResponse, RegistryError> {
        for (field, key) in [
            ("machine_key", &request.machine_key),
            ("node_key", &request.node_key),
        ] {
            if key.len() != 32 || key.iter().all(|byte| *byte == 0) {
                return Err(RegistryError::invalid(
                    field,
                    "is 32 bytes that are not all zero",
                ));
            }
        }
        let outcome = self.verdict(request).await?;
        Ok(RegisterResponse {
            outcome: Some(outcome),
        })
    }

    async fn verdict(&self, request: RegisterRequest) -> Verdict {
        let reader = self.log.database().reader();
        if let Some(node) = nodes::by_key(reader, &request.node_key).await? {
            return self.known(node, request).await;
        }
        if let Some(machine) = nodes::key_machine(reader, &request.node_key).await? {
            let retired = retired(&machine, &request);
            return self.bound_before(request, Ok(retired)).await;
        }
        if let Some(verdict) = self.old_key(&request).await? {
            return Ok(verdict);
        }
        let now = self.log.database().now().await?;
        let wished_end = request.expiry.and_then(domain::from_timestamp);
        if wished_end.is_some_and(|end| end <= now) {
            return Ok(Outcome::LoggedOut(LoggedOut { revision: 0 }));
        }
        match self.credential(&request, now).await? {
            Found::Credential(credential) => self.admit(request, *credential).await,
            // The same request, sent before, may have used the credential up meanwhile.
            Found::Verdict(outcome) => self.bound_before(request, Ok(*outcome)).await,
        }
    }

    /// Refuses a request that names a key of another machine as its old one.
    async fn old_key(&self, request: &RegisterRequest) -> Result<Option<Outcome>, RegistryError> {
        let reader = self.log.database().reader();
        if let Some(old) = nodes::by_key(reader, &request.old_node_key).await? {
            if old.machine_key == request.machine_key {
                return Ok(None);
            }
            self.audit_foreign_key(&old, request).await;
            return Ok(Some(another_machines()));
        }
        let machine = nodes::key_machine(reader, &request.old_node_key).await?;
        let is_foreign = machine.is_some_and(|machine| machine != request.machine_key);
        Ok(is_foreign.then(another_machines))
    }

    /// Answers for a key that is bound already; nobody else is asked, so that it works while they are away.
    async fn known(&self, node: Node, request: RegisterRequest) -> Verdict {
        let now = self.log.database().now().await?;
        let wished_end = request.expiry.and_then(domain::from_timestamp);
        match key::known(&node, &request.machine_key, wished_end, now) {
            key::Known::AnotherMachines => {
                self.audit_foreign_key(&node, &request).await;
                Ok(another_machines())
            }
            key::Known::Ended => Ok(Outcome::KeyExpired(KeyExpired { node: Some(node) })),
            key::Known::Logout => self.log_out(node).await,
            key::Known::Shorten(end) => {
                let (node, revision) = self.shorten(node, end).await?;
                Ok(self.registered(node, revision).await)
            }
            key::Known::Good => {
                let tailnet = tailnet_id(node.tailnet_id)?;
                let heads = self.log.heads(&[tailnet]).await?;
                let revision = heads.first().map_or(0, |head| head.revision.get());
                Ok(self.registered(node, revision).await)
            }
        }
    }

    async fn log_out(&self, node: Node) -> Verdict {
        let tailnet = tailnet_id(node.tailnet_id)?;
        let actor = machine_actor(&node.machine_key);
        let (id, node_key) = (node.id, node.node_key.clone());
        let ((), revision) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let found = nodes::by_key(mutation.connection(), &node_key).await?;
                    let Some(node) = found.filter(|node| node.id == id) else {
                        return Ok(());
                    };
                    let detail = json!({ "name": node.name });
                    if node.ephemeral {
                        mutation.record_audit("node.logout", id.to_string(), &detail);
                        return node_changes::delete(mutation, &node).await;
                    }
                    if !node.expired {
                        mutation.record_audit("node.logout", id.to_string(), &detail);
                        node_changes::expire(mutation, node).await?;
                    }
                    // Its client is gone: whoever logs in on the machine next is no other.
                    let now = mutation.now();
                    soft_states::end_session(mutation.connection(), id, now).await?;
                    Ok::<_, RegistryError>(())
                })
            })
            .await?;
        Ok(Outcome::LoggedOut(LoggedOut {
            revision: revision.get(),
        }))
    }

    /// Lets the compiler judge tags and routes, then binds the key.
    async fn admit(&self, request: RegisterRequest, credential: Credential) -> Verdict {
        let wanted = &request.required_tailnet;
        if !wanted.is_empty() && *wanted != credential.tailnet.name {
            let text = format!(
                "these credentials are for the tailnet \"{}\", the device asks for \"{wanted}\"",
                credential.tailnet.name
            );
            return Ok(refused(RefusalReason::OtherTailnet, text));
        }
        let requested = match tags::canonical(request.requested_tags.clone()) {
            Ok(requested) => requested,
            Err(error) => return Ok(refused(RefusalReason::Malformed, error.to_string())),
        };
        let host = self_report::judged_part(&HostReport {
            hostname: request.hostname.clone(),
            os: request.os.clone(),
            client_version: request.client_version.clone(),
            advertised_routes: request.advertised_routes.clone(),
            requested_tags: request.requested_tags.clone(),
            ..HostReport::default()
        });
        let has_key_tags = !credential.tags.is_empty();
        let tags = match has_key_tags {
            true => credential.tags.clone(),
            false => requested,
        };
        let user = credential.user.clone().unwrap_or_default();
        let question = JudgeNodeRequest {
            tailnet_id: credential.tailnet.id,
            user_id: user.id,
            role: user.role,
            login_name: user.login_name,
            groups: user.groups,
            current_tags: credential.tags.clone(),
            requested_tags: tags.clone(),
            // Who made a key with tags could give them; they have to be there still.
            administrator: has_key_tags,
            advertised_routes: host.advertised_routes.clone(),
        };
        let judgement = self.judge(question).await?;
        if !judgement.refused_tags.is_empty() {
            let listed = judgement.refused_tags.join(", ");
            let text = match has_key_tags {
                true => format!(
                    "the tags [{listed}] of the auth key are not defined in the policy any more: define them under tagOwners, or use another key"
                ),
                false => format!("requested tags [{listed}] are invalid or not permitted"),
            };
            return Ok(refused(RefusalReason::TagsNotPermitted, text));
        }
        let tagged_by = match (has_key_tags, tags.is_empty()) {
            (true, _) => TaggedBy::PreAuthKey,
            (false, false) => TaggedBy::User,
            (false, true) => TaggedBy::Unspecified,
        };
        let wish = bind::Wish {
            request,
            credential,
            host,
            tags,
            tagged_by,
            judgement,
        };
        self.bind(wish).await
    }

    pub(crate) async fn judge(
        &self,
        question: JudgeNodeRequest,
    ) -> Result<bowline_proto::policy::v1::JudgeNodeResponse, RegistryError> {
        let mut compiler = PolicyCompilerServiceClient::new(self.peers.compiler.clone());
        let answer = compiler.judge_node(question).await;
        Ok(answer
            .map_err(RegistryError::service("the policy compiler"))?
            .into_inner())
    }

    /// Tells a client who it is. That its user's name can not be had now is no reason to turn it away.
    async fn registered(&self, node: Node, revision: u64) -> Outcome {
        let mut registered = Registered {
            revision,
            ..Registered::default()
        };
        let mut identity = IdentityServiceClient::new(self.peers.identity.clone());
        if let Some(user_id) = node.owning_user() {
            let question = bowline_proto::identity::v1::ResolveUserRequest {
                tailnet_id: node.tailnet_id,
                user_id,
            };
            if let Ok(answer) = identity.resolve_user(question).await {
                let answer = answer.into_inner();
                let user = answer.user.unwrap_or_default();
                registered.login_name = user.login_name;
                registered.display_name = user.display_name;
                registered.profile_pic_url = user.profile_pic_url;
                registered.tailnet_name = answer.tailnet.unwrap_or_default().name;
            }
        } else {
            let question = ResolveTailnetRequest {
                tailnet_id: node.tailnet_id,
                name: String::new(),
            };
            if let Ok(answer) = identity.resolve_tailnet(question).await {
                registered.tailnet_name = answer.into_inner().tailnet.unwrap_or_default().name;
            }
        }
        registered.node = Some(node);
        Outcome::Registered(registered)
    }

    /// Keeps it on record that a machine named another machine's key, once in a while for each: machine keys cost
    /// nothing, and the other's tailnet has better things to do.
    pub(crate) async fn audit_foreign_key(&self, node: &Node, request: &RegisterRequest) {
        let Ok(tailnet) = tailnet_id(node.tailnet_id) else {
            return;
        };
        if !self
            .foreign
            .is_told(node.id, self.log.count_waiting(tailnet))
        {
            return;
        }
        let actor = machine_actor(&request.machine_key);
        let (id, source) = (node.id, request.source_address.clone());
        tracing::warn!(
            node = id,
            actor,
            source,
            "a machine named another machine's node key"
        );
        let audited = self.log.mutate(tailnet, actor, move |mutation| {
            let detail = json!({ "source": source });
            mutation.record_audit("node.foreign_key", id.to_string(), &detail);
            Box::pin(async { Ok::<_, RegistryError>(()) })
        });
        if let Err(error) = audited.await {
            tracing::warn!(node = id, %error, "this could not be put on record");
        }
    }
}

/// Answers for a key that was bound once and is bound to nobody again.
fn retired(machine: &[u8], request: &RegisterRequest) -> Outcome {
    if machine == request.machine_key {
        // The machine makes a new key and comes back at once (protocol section 5.3).
        return Outcome::KeyExpired(KeyExpired { node: None });
    }
    another_machines()
}

fn another_machines() -> Outcome {
    let text = "this node key belongs to another machine: log out and in again";
    refused(RefusalReason::NodeKeyOfAnotherMachine, text)
}

/// Returns how a machine is named in audit trails.
pub(crate) fn machine_actor(machine_key: &[u8]) -> String {
    let key = bowline_keys::MachinePublic::try_from(machine_key).unwrap_or_default();
    format!("machine:{key}")
}

pub(crate) fn tailnet_id(number: u64) -> Result<TailnetId, RegistryError> {
    TailnetId::try_from(number)
        .map_err(|error| RegistryError::invalid("tailnet_id", error.to_string()))
}

/// Says whether a conflict is about this constraint.
pub(crate) fn is_conflict(error: &RegistryError, wanted: &str) -> bool {
    matches!(error, RegistryError::Database(DatabaseError::Conflict { constraint }) if constraint == wanted)
}
