//! The control keys in force. They are read again when their files change, or their command prints others: sessions go on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bowline_control_keys::{
    ControlKeyError, ControlKeyState, ControlKeys, ControlTransport, key_files,
};
use bowline_proto::key_registry::v1::{ReportedControlKey, ReportedControlKeys, ReportedKeyState};
use bowline_service_kit::{FileWatch, KeyCommandError, Tasks, run_key_command};

/// How often a command is run again.
const COMMAND_INTERVAL: Duration = Duration::from_secs(60);

/// Where control keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlKeySource {
    /// A directory of files.
    Directory(PathBuf),
    /// A command that prints them.
    Command(String),
}

/// Why control keys can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadKeysError {
    /// What is wrong with the directory.
    #[error(transparent)]
    Directory(ControlKeyError),
    /// The command gives none.
    #[error("control_keys_command: {0}")]
    Command(#[from] KeyCommandError),
    /// The command prints something else.
    #[error("control_keys_command: {0}")]
    Printed(ControlKeyError),
}

/// The control keys of a gateway.
#[derive(Debug)]
pub struct CurrentControlKeys {
    source: ControlKeySource,
    watch: FileWatch,
    current: ArcSwap<ControlKeys>,
}

impl CurrentControlKeys {
    /// Reads the keys; where a command prints them, it is run again and again while the process lives.
    ///
    /// # Errors
    ///
    /// [`ReadKeysError`].
    pub(crate) async fn open(
        source: ControlKeySource,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, ReadKeysError> {
        let files = match &source {
            ControlKeySource::Directory(directory) => key_files(directory),
            ControlKeySource::Command(_) => Vec::new(),
        };
        let watch = FileWatch::new(files);
        let keys = match &source {
            ControlKeySource::Directory(directory) => {
                ControlKeys::load(directory).map_err(ReadKeysError::Directory)?
            }
            ControlKeySource::Command(command) => ask_command(command).await?,
        };
        let keys = Arc::new(Self {
            source,
            watch,
            current: ArcSwap::from_pointee(keys),
        });
        keys.keep_asking(tasks);
        Ok(keys)
    }

    /// Makes keys that nothing changes.
    #[cfg(test)]
    pub(crate) fn generate() -> Self {
        let directory = tempfile::tempdir().unwrap();
        ControlKeys::create(directory.path()).unwrap();
        Self {
            source: ControlKeySource::Command(String::new()),
            watch: FileWatch::new(Vec::new()),
            current: ArcSwap::from_pointee(ControlKeys::load(directory.path()).unwrap()),
        }
    }

    fn keep_asking(self: &Arc<Self>, tasks: &Tasks) {
        let ControlKeySource::Command(command) = self.source.clone() else {
            return;
        };
        let keys = Arc::clone(self);
        tasks.spawn_background("control-keys", async move {
            loop {
                tokio::time::sleep(COMMAND_INTERVAL).await;
                keys.replace(ask_command(&command).await);
            }
        });
    }

    /// Returns the keys in force, after a look at the files.
    pub(crate) fn current(&self) -> Arc<ControlKeys> {
        if let ControlKeySource::Directory(directory) = &self.source
            && self.watch.check_for_changes()
        {
            self.replace(ControlKeys::load(directory).map_err(ReadKeysError::Directory));
        }
        self.current.load_full()
    }

    /// Puts what was read in force. While it can not be used, the keys before stay.
    fn replace(&self, read: Result<ControlKeys, ReadKeysError>) {
        match read {
            Ok(keys) => {
                let described = keys.describe();
                if described != self.current.load().describe() {
                    tracing::info!(keys = ?described, "the control keys were read again");
                    self.current.store(Arc::new(keys));
                }
            }
            Err(error) => {
                self.watch.report_again();
                tracing::warn!(%error, "the control keys before stay in use");
            }
        }
    }

    /// Describes the keys in force for the registry.
    pub(crate) fn report(&self) -> ReportedControlKeys {
        let keys = self.current().describe().into_iter();
        let report = keys.map(|key| ReportedControlKey {
            transport: key.transport.to_string(),
            public_key: key.public.to_string(),
            state: match key.state {
                ControlKeyState::Prepared => ReportedKeyState::Prepared,
                ControlKeyState::Active => ReportedKeyState::Active,
                ControlKeyState::Old => ReportedKeyState::Old,
            }
            .into(),
        });
        ReportedControlKeys {
            keys: report.collect(),
        }
    }
}

async fn ask_command(command: &str) -> Result<ControlKeys, ReadKeysError> {
    let printed = run_key_command(command).await?;
    ControlKeys::parse(&printed).map_err(ReadKeysError::Printed)
}

/// Counts a handshake or box that was made with a control key: once none was made with the old one for long, it may be retired.
pub(crate) fn count_use(transport: ControlTransport, state: ControlKeyState) {
    let (transport, state) = (transport.as_str(), state.as_str());
    metrics::counter!("bowline_gateway_control_key_uses_total", "transport" => transport, "state" => state)
        .increment(1);
}

#[cfg(test)]
mod tests;
