//! Which release each process of a deployment is: it says so with every call to another service.
//!
//! ```text
//! GrpcChannel ─ `bowline-process: ID RELEASE LEVEL [ENDS]` ─▶ AccessRules ─▶ CallerVersions::admit_caller
//! ```
//!
//! During an upgrade two releases run side by side. What the older one can not read, the newer one writes only once every
//! process that lives knows it: `bowline-db` keeps that level in each database.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use bowline_clock::random_bytes;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use tonic::Status;

use crate::{CertificateEnds, ServiceName, status::refuse_caller};

/// The schema level of this release: a release that writes a new table, field or kind of log entry has the next one. 1 is
/// the first that processes tell; those that tell none have 0.
///
/// * 2: nodes that are disabled or denied, keys that never end, key policies, limits of pre-auth keys, tailnet lock, webhooks,
///   attributes of nodes for postures.
pub const SCHEMA_LEVEL: u32 = 2;

/// The header that carries what a process is.
const HEADER: &str = "bowline-process";
/// The longest value of the header, in bytes.
const LONGEST_HEADER: usize = 128;
/// How many processes are remembered between two looks.
const MOST_CALLERS: usize = 4096;

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessVersion {
    /// Tells this start of the process from others.
    pub id: String,
    /// The release, such as `0.2.0`; empty where the process does not say.
    pub release: String,
    /// The schema level that it reads and can write.
    pub level: u32,
    /// When its certificates end, as far as it says.
    pub ends: CertificateEnds,
}

impl ProcessVersion {
    /// Returns what this process is.
    #[must_use]
    pub fn own() -> Self {
        static ID: LazyLock<String> =
            LazyLock::new(|| format!("{:016x}", u64::from_be_bytes(random_bytes())));
        Self {
            id: ID.clone(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            level: SCHEMA_LEVEL,
            ends: CertificateEnds::own(),
        }
    }

    /// Reads what a caller says. A process of a release that says nothing has level 0.
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap_or_default().to_owned();
        Self {
            id: next(),
            release: next(),
            level: next().parse().unwrap_or_default(),
            ends: CertificateEnds::parse(words),
        }
    }
}

impl fmt::Display for ProcessVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            release,
            level,
            ends,
        } = self;
        write!(formatter, "{id} {release} {level}{ends}")
    }
}

/// Lets a call say which process makes it.
pub(crate) fn write_header(headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(ProcessVersion::own().to_string()) {
        headers.insert(HEADER, value);
    }
}

/// Returns what a caller says of itself; nothing where it says none.
fn read_header(headers: &HeaderMap) -> &str {
    let value = headers.get(HEADER);
    let text = value.and_then(|value| value.to_str().ok());
    text.filter(|text| text.len() <= LONGEST_HEADER)
        .unwrap_or_default()
}

/// The processes that call this one, and the level that they need. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CallerVersions(Arc<CallersState>);

#[derive(Debug, Default)]
struct CallersState {
    least: AtomicU32,
    /// By what each says, which has an id that no other process has.
    seen: Mutex<BTreeMap<String, (ServiceName, ProcessVersion)>>,
}

impl CallerVersions {
    /// Refuses, from here on, callers of a lower level: they can not read what may be written.
    pub fn require_level(&self, level: u32) {
        self.0.least.fetch_max(level, Ordering::Relaxed);
        // Who was admitted before is looked at again.
        self.0
            .seen
            .lock()
            .retain(|_, (_, version)| version.level >= level);
    }

    /// Returns the processes that have called since the last time.
    #[must_use]
    pub fn take_callers(&self) -> Vec<(ServiceName, ProcessVersion)> {
        let seen = std::mem::take(&mut *self.0.seen.lock());
        seen.into_values().collect()
    }

    /// Notes who calls. A relay counts for nothing: it reads no log, and is silent for long.
    ///
    /// # Errors
    ///
    /// When its level is too low.
    pub(crate) fn admit_caller(
        &self,
        service: ServiceName,
        headers: &HeaderMap,
    ) -> Result<(), Status> {
        if service == ServiceName::Relay {
            return Ok(());
        }
        let text = read_header(headers);
        let mut seen = self.0.seen.lock();
        // Read under the lock: nobody is noted by a level that was raised meanwhile.
        let least = self.0.least.load(Ordering::Relaxed);
        if !seen.contains_key(text) {
            let version = ProcessVersion::parse(text);
            check_level(service, &version, least)?;
            if seen.len() < MOST_CALLERS {
                seen.insert(text.to_owned(), (service, version));
            }
        }
        Ok(())
    }
}

fn check_level(service: ServiceName, version: &ProcessVersion, least: u32) -> Result<(), Status> {
    let ProcessVersion { release, level, .. } = version;
    if *level >= least {
        return Ok(());
    }
    Err(refuse_caller(format!(
        "{service} {release} knows schema level {level}, and this deployment writes level {least}: start a newer release of it"
    )))
}

#[cfg(test)]
mod tests;
