//! Registration: gathers facts, then lets one transaction bind the key.
//!
//! ```text
//! key that is bound ─▶ bound_key: good, ended, logged out, shortened; identity is not asked for a verdict
//! any other ─▶ renewal: names its old key in the last tenth of an interval
//!           └▶ credential: pre-auth key │ approved login │ none ─▶ owner ─▶ tags and routes judged ─▶ bind
//! ```
//!
//! Calls go in one direction. A request that was sent twice can find its key bound by the other one; that is looked for
//! once, at the end.

mod answers;
mod bind;
mod bound_key;
mod credential;
mod foreign;
mod key_policy;
mod limits;
mod lock_signature;
mod make_node;
mod memory;
mod new_node;
mod questions;
mod registrant_node;
mod renewal;

use std::sync::Arc;

use bowline_db::{ChangeLog, DatabaseError};
use bowline_proto::{
    key_registry::v1::{
        HostReport, LoggedOut, RefusalReason, RegisterRequest, RegisterResponse, TaggedBy,
        register_response::Outcome,
    },
    policy::v1::JudgeNodeRequest,
};

use crate::{
    adoption::Adoption,
    approval_questions::{self, ApprovalQuestions},
    asked_services::AskedServices,
    attributes::POSTURE_LEVEL,
    domain::{self, address_pool::AddressPool, pre_auth_key, self_report, tags},
    error::RegistryError,
    fields::read_tailnet_id,
    store::{
        node_keys, nodes,
        presented_keys::{self, PresentedKeys},
    },
};
use answers::{OwnerNames, answer_retired_key, confirm_registration, refuse, refuse_foreign_key};
use bind::{BindOutcome, BindRequest};
use bound_key::BoundKeys;
use credential::{Credential, CredentialOutcome, Credentials};
use foreign::ForeignKeyAudits;
use lock_signature::KeySignature;
use memory::RegistrationMemory;
use questions::SharedQuestions;
use renewal::Renewal;

/// Registers, renews, rotates and logs out node keys. Clones share it.
#[derive(Clone, Debug)]
pub struct Registration {
    log: ChangeLog,
    services: AskedServices,
    questions: SharedQuestions,
    approval_questions: ApprovalQuestions,
    credentials: Credentials,
    bound_keys: BoundKeys,
    foreign_keys: Arc<ForeignKeyAudits>,
    memory: Arc<RegistrationMemory>,
}

/// What became of a request whose key was not bound when it came.
enum Attempt {
    /// The answer.
    Answer(Outcome),
    /// The answer, unless the same request, sent before, has bound the key meanwhile.
    AnswerUnlessBound(Result<Outcome, RegistryError>),
}

impl Registration {
    pub(crate) fn new(
        log: ChangeLog,
        services: AskedServices,
        adoption: Adoption,
        approval_questions: ApprovalQuestions,
    ) -> Self {
        let foreign_keys = Arc::new(ForeignKeyAudits::new(log.clone()));
        let questions = SharedQuestions::new(services.clone());
        Self {
            credentials: Credentials::new(log.clone(), services.clone(), questions.clone()),
            questions,
            approval_questions,
            bound_keys: BoundKeys::new(
                log.clone(),
                services.clone(),
                adoption,
                Arc::clone(&foreign_keys),
            ),
            log,
            services,
            foreign_keys,
            memory: Arc::default(),
        }
    }

    /// Registers, renews, rotates or logs out a node key.
    pub(crate) async fn register_key(
        &self,
        mut request: RegisterRequest,
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
        let level = self.log.database().schema_level();
        lock_signature::reduce_to_level(&mut request, level);
        let outcome = self.answer_request(&request).await?;
        Ok(RegisterResponse {
            outcome: Some(outcome),
        })
    }

    /// Answers for a key that a node has, or tries to register it; says once more what became of a key that another
    /// request has bound meanwhile.
    async fn answer_request(&self, request: &RegisterRequest) -> Result<Outcome, RegistryError> {
        let database = self.log.database();
        let token = pre_auth_key::parse_key(&request.pre_auth_key);
        let named = token.as_ref().map(|token| token.id());
        let mut keys = presented_keys::read_keys(database, request, named).await?;
        if let Some(node) = keys.bound.take() {
            return self.bound_keys.answer_request(node, request).await;
        }
        let otherwise = match self.attempt_registration(request, keys).await? {
            Attempt::Answer(outcome) => return Ok(outcome),
            Attempt::AnswerUnlessBound(otherwise) => otherwise,
        };
        match nodes::by_key(database.reader(), &request.node_key).await? {
            Some(node) => self.bound_keys.answer_request(node, request).await,
            None => otherwise,
        }
    }

    async fn attempt_registration(
        &self,
        request: &RegisterRequest,
        keys: PresentedKeys,
    ) -> Result<Attempt, RegistryError> {
        let now = keys.now;
        if let Some(former) = keys.former {
            let retired = answer_retired_key(&former.machine_key, request);
            return Ok(Attempt::AnswerUnlessBound(Ok(retired)));
        }
        if let Some(refused) = self.refuse_other_machines_key(request).await? {
            return Ok(Attempt::Answer(refused));
        }
        let wished_end = request.expiry.and_then(domain::from_timestamp);
        if wished_end.is_some_and(|end| end <= now) {
            // Nobody has the key, so nothing changes: no revision has the logout, and nobody waits for one.
            let logged_out = Outcome::LoggedOut(LoggedOut { revision: 0 });
            return Ok(Attempt::Answer(logged_out));
        }
        match renewal::renew_key(&self.log, &self.credentials, request, now).await? {
            Renewal::Done(outcome, credential) => {
                return self.answer_bound(*outcome, &credential).await;
            }
            Renewal::Answer(outcome) => return Ok(Attempt::Answer(*outcome)),
            Renewal::NotDue => {}
        }
        let checking = self
            .credentials
            .check_request(request, keys.pre_auth_key, now);
        match checking.await? {
            CredentialOutcome::Credential(credential) => {
                self.admit_registrant(request, *credential).await
            }
            // The same request, sent before, may have used the credential up.
            CredentialOutcome::Answer(outcome) => Ok(Attempt::AnswerUnlessBound(Ok(*outcome))),
        }
    }

    /// Refuses a request that names a key of another machine as its old one, and audits that for the node that has it.
    async fn refuse_other_machines_key(
        &self,
        request: &RegisterRequest,
    ) -> Result<Option<Outcome>, RegistryError> {
        if request.old_node_key.len() != 32 {
            return Ok(None);
        }
        let reader = self.log.database().reader();
        if let Some(old) = nodes::by_key(reader, &request.old_node_key).await? {
            if old.machine_key == request.machine_key {
                return Ok(None);
            }
            self.foreign_keys.audit_request(&old, request).await;
            return Ok(Some(refuse_foreign_key()));
        }
        let mut on = reader.acquire().await.map_err(DatabaseError::from)?;
        let (key, machine) = (&request.old_node_key, &request.machine_key);
        let former = node_keys::holder_of_key(&mut on, key, machine).await?;
        let is_foreign = former.is_some_and(|former| former.machine_key != request.machine_key);
        Ok(is_foreign.then(refuse_foreign_key))
    }

    /// Lets the compiler judge tags and routes, then binds the key.
    async fn admit_registrant(
        &self,
        request: &RegisterRequest,
        credential: Credential,
    ) -> Result<Attempt, RegistryError> {
        let bind_request = match self.judge_registrant(request, credential).await? {
            Ok(bind_request) => bind_request,
            Err(refused) => return Ok(Attempt::Answer(refused)),
        };
        let credential = bind_request.credential.clone();
        let outcome = bind::bind_key(&self.log, bind_request).await?;
        if let BindOutcome::Node(node, _) = &outcome
            && approval_questions::is_asked_about(credential.tailnet.key_policy.as_ref(), node)
        {
            self.approval_questions.wake();
        }
        self.answer_bound(outcome, &credential).await
    }

    /// Answers what became of a request to bind a key.
    async fn answer_bound(
        &self,
        outcome: BindOutcome,
        credential: &Credential,
    ) -> Result<Attempt, RegistryError> {
        match outcome {
            BindOutcome::Node(node, revision) => {
                let names = match OwnerNames::from_credential(&node, credential) {
                    Some(names) => names,
                    None => OwnerNames::ask(&self.services, &node).await,
                };
                let confirmed = confirm_registration(*node, revision, names);
                Ok(Attempt::Answer(confirmed))
            }
            BindOutcome::Refused(outcome) => Ok(Attempt::Answer(*outcome)),
            BindOutcome::AlreadyBound(error) => Ok(Attempt::AnswerUnlessBound(Err(error))),
        }
    }

    /// Returns what a client says of its host, bounded.
    fn describe_host(&self, request: &RegisterRequest) -> HostReport {
        let mut host = self_report::logged_part(&HostReport {
            hostname: request.hostname.clone(),
            os: request.os.clone(),
            client_version: request.client_version.clone(),
            advertised_routes: request.advertised_routes.clone(),
            requested_tags: request.requested_tags.clone(),
            os_version: request.os_version.clone(),
            auto_update: request.auto_update,
            state_encrypted: request.state_encrypted,
            ..HostReport::default()
        });
        if self.log.database().schema_level() < POSTURE_LEVEL {
            self_report::forget_posture(&mut host);
        }
        host
    }

    /// Judges what a registrant asks for, and returns what the transaction needs, or the refusal.
    async fn judge_registrant(
        &self,
        request: &RegisterRequest,
        credential: Credential,
    ) -> Result<Result<BindRequest, Outcome>, RegistryError> {
        let wanted = &request.required_tailnet;
        if !wanted.is_empty() && *wanted != credential.tailnet.name {
            let text = format!(
                "these credentials are for the tailnet \"{name}\", the device asks for \"{wanted}\": take credentials of \"{wanted}\", or let \
                 the device ask for \"{name}\"",
                name = credential.tailnet.name
            );
            return Ok(Err(refuse(RefusalReason::OtherTailnet, text)));
        }
        let requested = match tags::canonical_tags(request.requested_tags.clone()) {
            Ok(requested) => requested,
            Err(error) => return Ok(Err(refuse(RefusalReason::Malformed, error.to_string()))),
        };
        let host = self.describe_host(request);
        let has_key_tags = !credential.tags.is_empty();
        let tags = if has_key_tags {
            credential.tags.clone()
        } else {
            requested
        };
        let mut question = JudgeNodeRequest {
            tailnet_id: credential.tailnet.id,
            current_tags: credential.tags.clone(),
            requested_tags: tags.clone(),
            // Whoever made a key with tags could give them; they have to be in the policy still.
            administrator: has_key_tags,
            advertised_routes: host.advertised_routes.clone(),
            ..JudgeNodeRequest::default()
        };
        if let Some(user) = &credential.user {
            question = question.for_user(user.clone());
        }
        let judgement = self.questions.judge_node(question).await?;
        if !judgement.refused_tags.is_empty() {
            let listed = judgement.refused_tags.join(", ");
            let text = if has_key_tags {
                format!(
                    "the tags [{listed}] of the auth key are not defined in the policy any more: define them under tagOwners, or use another key"
                )
            } else {
                format!(
                    "requested tags [{listed}] are invalid or not permitted: the policy has to define them, with you as an owner \
                     (tagOwners); leave them out, or ask an administrator"
                )
            };
            return Ok(Err(refuse(RefusalReason::TagsNotPermitted, text)));
        }
        let tailnet = read_tailnet_id(credential.tailnet.id)?;
        let user_id = credential.user.as_ref().map_or(0, |user| user.id);
        let counted = self.memory.count_nodes(&self.log, tailnet, user_id).await?;
        let pool = AddressPool::parse(&credential.tailnet.ipv4_pool, &credential.tailnet.ipv6_pool);
        let wanted = judgement.ipv4_pools.iter();
        let wanted: Vec<_> = wanted.filter_map(|pool| pool.parse().ok()).collect();
        let (memory, name) = (Arc::clone(&self.memory), &host.hostname);
        let tagged_by = match (has_key_tags, tags.is_empty()) {
            (true, _) => TaggedBy::PreAuthKey,
            (false, false) => TaggedBy::User,
            (false, true) => TaggedBy::Unspecified,
        };
        Ok(Ok(BindRequest {
            tailnet,
            request: request.clone(),
            credential,
            tags,
            tagged_by,
            judgement,
            signature: KeySignature::default(),
            guess: memory.guess(tailnet.get(), pool, &wanted, name),
            wanted_pools: wanted,
            counted,
            memory,
            host,
        }))
    }
}
