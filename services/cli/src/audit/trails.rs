//! The trails of the three owners, read as one.

use std::collections::VecDeque;

use bowline_proto::{
    audit::v1::{
        AuditEntry, ListAuditRequest, ListAuditResponse, VerifyAuditRequest, VerifyAuditResponse,
    },
    identity::v1::audit_service_client::AuditServiceClient as IdentityAudit,
    key_registry::v1::audit_service_client::AuditServiceClient as RegistryAudit,
    policy::v1::audit_service_client::AuditServiceClient as PolicyAudit,
};
use clap::ValueEnum;

use crate::{connection::ConnectionArgs, failure::Failure};

/// The most entries that one request brings.
const PAGE: u32 = 1000;
/// The longest answer: a thousand entries.
const LONGEST_ANSWER: usize = 1 << 30;

/// A service that keeps a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditOwner {
    /// Tailnets, users, logins and credentials.
    Identity,
    /// Nodes and their keys.
    KeyRegistry,
    /// Policy documents.
    PolicyCompiler,
}

pub(crate) const OWNERS: [AuditOwner; 3] = [
    AuditOwner::Identity,
    AuditOwner::KeyRegistry,
    AuditOwner::PolicyCompiler,
];

impl AuditOwner {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::KeyRegistry => "key-registry",
            Self::PolicyCompiler => "policy-compiler",
        }
    }

    async fn list_entries(
        self,
        connection: &ConnectionArgs,
        request: ListAuditRequest,
    ) -> Result<ListAuditResponse, Failure> {
        let answer = match self {
            Self::Identity => {
                let client = IdentityAudit::new(connection.connect_to_identity()?);
                let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
                client.list_audit(request).await?
            }
            Self::KeyRegistry => {
                let client = RegistryAudit::new(connection.connect_to_registry()?);
                let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
                client.list_audit(request).await?
            }
            Self::PolicyCompiler => {
                let client = PolicyAudit::new(connection.connect_to_compiler()?);
                let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
                client.list_audit(request).await?
            }
        };
        Ok(answer.into_inner())
    }

    pub(crate) async fn verify_chain(
        self,
        connection: &ConnectionArgs,
        tailnet_id: u64,
    ) -> Result<VerifyAuditResponse, Failure> {
        let request = VerifyAuditRequest { tailnet_id };
        let answer = match self {
            Self::Identity => {
                let mut client = IdentityAudit::new(connection.connect_to_identity()?);
                client.verify_audit(request).await?
            }
            Self::KeyRegistry => {
                let mut client = RegistryAudit::new(connection.connect_to_registry()?);
                client.verify_audit(request).await?
            }
            Self::PolicyCompiler => {
                let mut client = PolicyAudit::new(connection.connect_to_compiler()?);
                client.verify_audit(request).await?
            }
        };
        Ok(answer.into_inner())
    }
}

/// One owner's entries that fit, as far as they were read.
#[derive(Debug)]
pub(crate) struct Trail {
    owner: AuditOwner,
    /// What is asked for next.
    request: ListAuditRequest,
    has_more: bool,
    read: VecDeque<AuditEntry>,
}

impl Trail {
    pub(crate) fn new(owner: AuditOwner, request: ListAuditRequest) -> Self {
        Self {
            owner,
            request: ListAuditRequest {
                limit: match request.limit {
                    0 => PAGE,
                    limit => limit.min(PAGE),
                },
                ..request
            },
            has_more: true,
            read: VecDeque::new(),
        }
    }

    /// Looks again for what has come since the end, where the oldest come first.
    pub(crate) fn look_again(&mut self) {
        self.has_more = true;
    }

    /// Returns the next entry, and leaves it there.
    pub(crate) async fn peek(
        &mut self,
        connection: &ConnectionArgs,
    ) -> Result<Option<&AuditEntry>, Failure> {
        while self.read.is_empty() && self.has_more {
            let request = self.request.clone();
            let answer = self.owner.list_entries(connection, request).await?;
            self.has_more = answer.has_more;
            match self.request.oldest_first {
                true => self.request.after_sequence = answer.next_sequence,
                false => self.request.before_sequence = answer.next_sequence,
            }
            self.read = answer.entries.into();
        }
        Ok(self.read.front())
    }

    pub(crate) fn take(&mut self) -> Option<AuditEntry> {
        self.read.pop_front()
    }
}

/// The entries of several trails, as one.
#[derive(Debug)]
pub(crate) struct MergedTrails(Vec<Trail>);

impl MergedTrails {
    pub(crate) fn new(owners: &[AuditOwner], request: &ListAuditRequest) -> Self {
        let trails = owners.iter().copied();
        Self(
            trails
                .map(|owner| Trail::new(owner, request.clone()))
                .collect(),
        )
    }

    pub(crate) fn look_again(&mut self) {
        self.0.iter_mut().for_each(Trail::look_again);
    }

    /// Returns the next entry of all: the newest, or the oldest, as was asked for.
    pub(crate) async fn next_entry(
        &mut self,
        connection: &ConnectionArgs,
    ) -> Result<Option<(AuditOwner, AuditEntry)>, Failure> {
        let mut chosen = None;
        for (place, trail) in self.0.iter_mut().enumerate() {
            let oldest_first = trail.request.oldest_first;
            let Some(entry) = trail.peek(connection).await? else {
                continue;
            };
            let time = entry.time.map(|time| (time.seconds, time.nanos));
            let is_next = match &chosen {
                None => true,
                Some((best, _)) if oldest_first => time < *best,
                Some((best, _)) => time > *best,
            };
            if is_next {
                chosen = Some((time, place));
            }
        }
        let trail = chosen.and_then(|(_, place)| self.0.get_mut(place));
        Ok(trail.and_then(|trail| Some((trail.owner, trail.take()?))))
    }
}
