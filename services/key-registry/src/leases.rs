//! Leases of gateways, and how far each has applied the logs of the tailnets that it serves.

use bowline_db::ChangeLog;
use bowline_proto::key_registry::v1::{
    RenewLeaseRequest, RenewLeaseResponse, ReportProgressRequest, ReportedControlKey,
    ReportedControlKeys,
};
use chrono::TimeDelta;

use crate::{
    domain,
    error::RegistryError,
    fields::{check_gateway, read_tailnet_id},
    revocations::ProgressSignal,
    store::gateways::{self, LeaseRenewal, ProgressRow},
};

/// How long a lease lives.
const LEASE_LIFETIME: TimeDelta = TimeDelta::seconds(5);
/// How long clients may stay with a gateway without a lease: for gateways of earlier releases, which send no
/// `max_staleness`.
const DEFAULT_STALENESS: TimeDelta = TimeDelta::hours(1);
/// The most tailnets whose progress is recorded in one transaction.
const MOST_TAILNETS: usize = 1000;
/// The most control keys that a gateway says it has.
const MOST_CONTROL_KEYS: usize = 16;

/// Renews leases and records progress. Clones share it.
#[derive(Clone, Debug)]
pub struct Leases {
    log: ChangeLog,
    progress: ProgressSignal,
}

/// A gateway's report of the revisions it has applied.
struct ProgressReport {
    gateway: String,
    /// Grouped: rows of a group set the same columns, so that one statement writes them.
    rows: Vec<Vec<ProgressRow>>,
    /// The tailnets that it serves no longer.
    dropped: Vec<u64>,
    /// Whether it has said by now how far it is in each tailnet that it serves.
    is_complete: bool,
}

impl Leases {
    pub(crate) fn new(log: ChangeLog, progress: ProgressSignal) -> Self {
        Self { log, progress }
    }

    /// Renews a gateway's lease, or ends it for one that leaves.
    pub(crate) async fn renew_lease(
        &self,
        request: RenewLeaseRequest,
    ) -> Result<RenewLeaseResponse, RegistryError> {
        let RenewLeaseRequest {
            gateway,
            applied,
            leaving,
            applied_identity,
            dropped,
            slot,
            max_staleness_seconds,
            control_keys,
        } = request;
        check_gateway(&gateway)?;
        check_control_keys(control_keys.as_ref())?;
        if slot.len() > 100 {
            return Err(RegistryError::invalid("slot", "is longer than 100 bytes"));
        }
        let staleness = max_staleness_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let staleness = staleness.and_then(TimeDelta::try_seconds);
        let name = gateway.clone();
        let renewed = self.log.database().write(move |write| {
            Box::pin(async move {
                let now = write.now();
                if leaving {
                    gateways::end_lease(write.connection(), &name, now).await?;
                    return Ok((now, false));
                }
                let renewal = LeaseRenewal {
                    gateway: name,
                    slot,
                    staleness: staleness.unwrap_or(DEFAULT_STALENESS),
                    control_keys,
                    now,
                    expires_at: now + LEASE_LIFETIME,
                };
                let lapsed = gateways::renew_lease(write.connection(), &renewal).await?;
                Ok::<_, RegistryError>((renewal.expires_at, lapsed))
            })
        });
        let (expires_at, lapsed) = renewed.await?;
        // A gateway of an earlier release says all that it serves with its lease.
        if max_staleness_seconds.is_none() && !leaving {
            let registry = applied.iter().map(|head| ProgressRow {
                tailnet_id: head.tailnet_id,
                revision: Some(head.revision),
                identity_revision: None,
            });
            let identity = applied_identity.iter().map(|head| ProgressRow {
                tailnet_id: head.tailnet_id,
                revision: None,
                identity_revision: Some(head.revision),
            });
            let report = ProgressReport {
                gateway,
                rows: vec![registry.collect(), identity.collect()],
                dropped,
                is_complete: true,
            };
            self.record_report(report).await?;
        }
        Ok(RenewLeaseResponse {
            expires_at: Some(domain::to_timestamp(expires_at)),
            lapsed,
        })
    }

    /// Records how far a gateway is in some of the tailnets that it serves.
    pub(crate) async fn record_progress(
        &self,
        request: ReportProgressRequest,
    ) -> Result<(), RegistryError> {
        let ReportProgressRequest {
            gateway,
            progress,
            dropped,
            complete,
        } = request;
        check_gateway(&gateway)?;
        if progress.len() > MOST_TAILNETS || dropped.len() > MOST_TAILNETS {
            let most = format!("is of more than {MOST_TAILNETS} tailnets");
            return Err(RegistryError::invalid("progress", most));
        }
        let rows = progress.iter().map(|one| ProgressRow {
            tailnet_id: one.tailnet_id,
            revision: Some(one.registry_revision),
            identity_revision: Some(one.identity_revision),
        });
        let report = ProgressReport {
            gateway,
            rows: vec![rows.collect()],
            dropped,
            is_complete: complete,
        };
        self.record_report(report).await
    }

    /// Records a report, a part of it in each transaction, and tells whoever waits for it.
    async fn record_report(&self, report: ProgressReport) -> Result<(), RegistryError> {
        let ProgressReport {
            gateway,
            rows,
            dropped,
            is_complete,
        } = report;
        let first = rows.iter().flatten().next().copied();
        let parts = rows.iter().flat_map(|rows| rows.chunks(MOST_TAILNETS));
        for part in parts.map(<[ProgressRow]>::to_vec).collect::<Vec<_>>() {
            let gateway = gateway.clone();
            let recording = self.log.database().write(move |write| {
                Box::pin(async move {
                    gateways::record_progress(write.connection(), &gateway, &part).await?;
                    Ok::<_, RegistryError>(())
                })
            });
            recording.await?;
        }
        if is_complete || !dropped.is_empty() {
            let recording = self.log.database().write(move |write| {
                Box::pin(async move {
                    gateways::drop_progress(write.connection(), &gateway, &dropped).await?;
                    if is_complete {
                        gateways::mark_complete(write.connection(), &gateway).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            });
            recording.await?;
        }
        if let Some(first) = first {
            let revision = first.revision.or(first.identity_revision).unwrap_or(0);
            let tailnet = read_tailnet_id(first.tailnet_id)?;
            self.progress.announce_progress(tailnet, revision);
        }
        Ok(())
    }
}

fn check_control_keys(reported: Option<&ReportedControlKeys>) -> Result<(), RegistryError> {
    let keys = reported.map(|reported| &*reported.keys).unwrap_or_default();
    let is_short = |key: &ReportedControlKey| key.transport.len() + key.public_key.len() <= 100;
    if keys.len() > MOST_CONTROL_KEYS || !keys.iter().all(is_short) {
        let most = format!("has more than {MOST_CONTROL_KEYS} keys, or a long one");
        return Err(RegistryError::invalid("control_keys", most));
    }
    Ok(())
}
