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
use credential::{Credential, CredentialOutcome};
pub use foreign::ForeignKeyAudits;

/// The verdict on a registration.
type RegistrationResult = Result<Outcome, RegistryError>;

pub(crate) fn refuse(reason: RefusalReason, text: impl Into<String>) -> Outcome {
    Outcome::Refused(Refused {
        reason: reason.into(),
        text: text.into(),
    })
}

impl KeyRegistry {
    /// Registers, renews, rotates or logs out a node key.
    pub(crate) async fn register_node(
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
        let outcome = self.judge_request(request).await?;
        Ok(RegisterResponse {
            outcome: Some(outcome),
        })
    }

    async fn judge_request(&self, request: RegisterRequest) -> RegistrationResult {
        let reader = self.log.database().reader();
        if let Some(node) = nodes::by_key(reader, &request.node_key).await? {
            return self.answer_bound_key(node, request).await;
        }
        if let Some(machine) = nodes::machine_of_key(reader, &request.node_key).await? {
            let retired = answer_retired_key(&machine, &request);
            return self.answer_if_bound(request, Ok(retired)).await;
        }
        if let Some(verdict) = self.check_old_key(&request).await? {
            return Ok(verdict);
        }
        let now = self.log.database().now().await?;
        let wished_end = request.expiry.and_then(domain::from_timestamp);
        if wished_end.is_some_and(|end| end <= now) {
            return Ok(Outcome::LoggedOut(LoggedOut { revision: 0 }));
        }
        match self.find_credential(&request, now).await? {
            CredentialOutcome::Credential(credential) => {
                self.admit_newcomer(request, *credential).await
            }
            // The same request, sent before, may have used the credential up meanwhile.
            CredentialOutcome::Answer(outcome) => self.answer_if_bound(request, Ok(*outcome)).await,
        }
    }

    /// Refuses a request that names a key of another machine as its old one.
    async fn check_old_key(
        &self,
        request: &RegisterRequest,
    ) -> Result<Option<Outcome>, RegistryError> {
        let reader = self.log.database().reader();
        if let Some(old) = nodes::by_key(reader, &request.old_node_key).await? {
            if old.machine_key == request.machine_key {
                return Ok(None);
            }
            self.audit_foreign_key(&old, request).await;
            return Ok(Some(refuse_foreign_key()));
        }
        let machine = nodes::machine_of_key(reader, &request.old_node_key).await?;
        let is_foreign = machine.is_some_and(|machine| machine != request.machine_key);
        Ok(is_foreign.then(refuse_foreign_key))
    }

    /// Answers for a key that is bound already; nobody else is asked, so that it works while they are away.
    async fn answer_bound_key(&self, node: Node, request: RegisterRequest) -> RegistrationResult {
        let now = self.log.database().now().await?;
        let wished_end = request.expiry.and_then(domain::from_timestamp);
        match key::judge_bound_key(&node, &request.machine_key, wished_end, now) {
            key::BoundKeyVerdict::AnotherMachines => {
                self.audit_foreign_key(&node, &request).await;
                Ok(refuse_foreign_key())
            }
            key::BoundKeyVerdict::Ended => Ok(Outcome::KeyExpired(KeyExpired { node: Some(node) })),
            key::BoundKeyVerdict::Logout => self.log_out(node).await,
            key::BoundKeyVerdict::Shorten(end) => {
                let (node, revision) = self.shorten_key(node, end).await?;
                Ok(self.describe_registration(node, revision).await)
            }
            key::BoundKeyVerdict::Good => {
                let tailnet = read_tailnet_id(node.tailnet_id)?;
                let heads = self.log.heads(&[tailnet]).await?;
                let revision = heads.first().map_or(0, |head| head.revision.get());
                Ok(self.describe_registration(node, revision).await)
            }
        }
    }

    async fn log_out(&self, node: Node) -> RegistrationResult {
        let tailnet = read_tailnet_id(node.tailnet_id)?;
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
                        return node_changes::delete_node(mutation, &node).await;
                    }
                    if !node.expired {
                        mutation.record_audit("node.logout", id.to_string(), &detail);
                        node_changes::expire_key(mutation, node).await?;
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
    async fn admit_newcomer(
        &self,
        request: RegisterRequest,
        credential: Credential,
    ) -> RegistrationResult {
        let wanted = &request.required_tailnet;
        if !wanted.is_empty() && *wanted != credential.tailnet.name {
            let text = format!(
                "these credentials are for the tailnet \"{}\", the device asks for \"{wanted}\"",
                credential.tailnet.name
            );
            return Ok(refuse(RefusalReason::OtherTailnet, text));
        }
        let requested = match tags::canonical_tags(request.requested_tags.clone()) {
            Ok(requested) => requested,
            Err(error) => return Ok(refuse(RefusalReason::Malformed, error.to_string())),
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
        let tags = if has_key_tags {
            credential.tags.clone()
        } else {
            requested
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
        let judgement = self.judge_node(question).await?;
        if !judgement.refused_tags.is_empty() {
            let listed = judgement.refused_tags.join(", ");
            let text = if has_key_tags {
                format!(
                    "the tags [{listed}] of the auth key are not defined in the policy any more: define them under tagOwners, or use another key"
                )
            } else {
                format!("requested tags [{listed}] are invalid or not permitted")
            };
            return Ok(refuse(RefusalReason::TagsNotPermitted, text));
        }
        let tagged_by = match (has_key_tags, tags.is_empty()) {
            (true, _) => TaggedBy::PreAuthKey,
            (false, false) => TaggedBy::User,
            (false, true) => TaggedBy::Unspecified,
        };
        let wish = bind::BindRequest {
            request,
            credential,
            host,
            tags,
            tagged_by,
            judgement,
        };
        self.bind_key(wish).await
    }

    pub(crate) async fn judge_node(
        &self,
        question: JudgeNodeRequest,
    ) -> Result<bowline_proto::policy::v1::JudgeNodeResponse, RegistryError> {
        let mut compiler = PolicyCompilerServiceClient::new(self.peers.compiler.clone());
        let answer = compiler.judge_node(question).await;
        Ok(answer
            .map_err(RegistryError::from_service("the policy compiler"))?
            .into_inner())
    }

    /// Tells a client who it is. That its user's name can not be had now is no reason to turn it away.
    async fn describe_registration(&self, node: Node, revision: u64) -> Outcome {
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
        let Ok(tailnet) = read_tailnet_id(node.tailnet_id) else {
            return;
        };
        if !self
            .foreign
            .take_turn(node.id, self.log.count_waiting(tailnet))
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
fn answer_retired_key(machine: &[u8], request: &RegisterRequest) -> Outcome {
    if machine == request.machine_key {
        // The machine makes a new key and comes back at once (protocol section 5.3).
        return Outcome::KeyExpired(KeyExpired { node: None });
    }
    refuse_foreign_key()
}

fn refuse_foreign_key() -> Outcome {
    let text = "this node key belongs to another machine: log out and in again";
    refuse(RefusalReason::NodeKeyOfAnotherMachine, text)
}

/// Returns how a machine is named in audit trails.
pub(crate) fn machine_actor(machine_key: &[u8]) -> String {
    let key = bowline_keys::MachinePublic::try_from(machine_key).unwrap_or_default();
    format!("machine:{key}")
}

/// Reads a tailnet's number, which the span of the call then has.
pub(crate) fn read_tailnet_id(number: u64) -> Result<TailnetId, RegistryError> {
    bowline_service_kit::trace::note_tailnet(number);
    TailnetId::try_from(number)
        .map_err(|error| RegistryError::invalid("tailnet_id", error.to_string()))
}

/// Says whether a conflict is about this constraint.
pub(crate) fn is_conflict(error: &RegistryError, wanted: &str) -> bool {
    matches!(error, RegistryError::Database(DatabaseError::Conflict { constraint }) if constraint == wanted)
}
