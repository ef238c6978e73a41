//! The server's own keys: for each transport one that is active, and beside it, while keys are rolled, the next or the one before.
//!
//! ```text
//! prepared ──activate──▶ active ──activate of the next──▶ old ──retire──▶ gone
//!    └──drop-prepared──▶ gone
//! ```
//!
//! Clients are offered the active key. All of them open what clients have made with them: a gateway that hears of a roll earlier
//! or later than others understands the clients of those.
//!
//! All gateways have the same keys. `bowline control-keys` makes and rolls them in a directory, gateways read that, or run a
//! command that prints the same as text; a server of one process makes its own at the first start.

mod files;
mod rolling;
mod text;

use std::{io, path::PathBuf};

use bowline_keys::{KeyError, MachinePublic, PrivateKey};

pub use files::key_files;

/// Why control keys can not be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlKeyError {
    /// There are none.
    #[error(
        "no control keys in {0}: make them once with `bowline control-keys create {0}`, for all gateways"
    )]
    Missing(PathBuf),
    /// An old key is there: the next would take it from clients that hold it.
    #[error(
        "the old control keys in {0} are still in use: once the clients that hold them were started again, remove them with `bowline control-keys retire {0}`"
    )]
    OldInUse(PathBuf),
    /// Only one transport has its next key.
    #[error(
        "control keys are prepared in {0} for one transport only: finish that with `bowline control-keys prepare {0}`, or take it back with `bowline control-keys drop-prepared {0}`"
    )]
    HalfPrepared(PathBuf),
    /// There is nothing to activate.
    #[error(
        "no control keys are prepared in {0}: make them with `bowline control-keys prepare {0}`"
    )]
    NotPrepared(PathBuf),
    /// The next keys wait for their activation.
    #[error(
        "control keys are prepared in {0}: use them with `bowline control-keys activate {0}`, or take them back with `bowline control-keys drop-prepared {0}`"
    )]
    Prepared(PathBuf),
    /// An activation ended in its midst.
    #[error(
        "an activation of the control keys in {0} was cut short: finish it with `bowline control-keys activate {0}`"
    )]
    CutShort(PathBuf),
    /// A file can not be read or written.
    #[error("control key {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("control key {path}: {source}")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// A line of a text is no control key.
    #[error(
        "line {0} of the control keys is none: each is such as `noise active privkey:…`, as `bowline control-keys export` prints them"
    )]
    Line(usize),
    /// A text has too many or too few keys.
    #[error(
        "the control keys have {0} an {1} key for {2}: `bowline control-keys export` prints them"
    )]
    Count(&'static str, ControlKeyState, ControlTransport),
}

/// A way in which clients speak to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlTransport {
    /// The Noise handshake of current clients.
    Noise,
    /// The crypto_box of older ones.
    Legacy,
}

impl ControlTransport {
    /// All of them, in the order in which their keys are written.
    pub const ALL: [Self; 2] = [Self::Noise, Self::Legacy];

    /// Returns its name in files and texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Legacy => "legacy",
        }
    }
}

impl std::fmt::Display for ControlTransport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a control key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlKeyState {
    /// It opens what clients make with it; none is offered it yet.
    Prepared,
    /// Clients are offered it.
    Active,
    /// It opens what clients make with it that were offered it before.
    Old,
}

impl ControlKeyState {
    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
        }
    }
}

impl std::fmt::Display for ControlKeyState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The public half of a control key, and what the key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControlKeyInfo {
    /// Where it is used.
    pub transport: ControlTransport,
    /// What for.
    pub state: ControlKeyState,
    /// Its public half.
    pub public: MachinePublic,
}

/// The control keys of one transport.
#[derive(Debug)]
pub struct KeyRing {
    active: PrivateKey,
    prepared: Option<PrivateKey>,
    old: Option<PrivateKey>,
}

impl KeyRing {
    /// Returns the public half of the active key: what clients are offered.
    #[must_use]
    pub fn public(&self) -> MachinePublic {
        public_half(&self.active)
    }

    /// Returns the keys to try, in the order of [`KeyRing::with_states`].
    pub fn iter(&self) -> impl Iterator<Item = &PrivateKey> {
        self.with_states().map(|(_, key)| key)
    }

    /// Returns the keys with their states, the active one first.
    pub fn with_states(&self) -> impl Iterator<Item = (ControlKeyState, &PrivateKey)> {
        let active = [(ControlKeyState::Active, &self.active)];
        let prepared = self.prepared.iter();
        let old = self.old.iter();
        active
            .into_iter()
            .chain(prepared.map(|key| (ControlKeyState::Prepared, key)))
            .chain(old.map(|key| (ControlKeyState::Old, key)))
    }
}

/// The control keys of both transports.
#[derive(Debug)]
pub struct ControlKeys {
    /// For Noise.
    pub noise: KeyRing,
    /// For crypto_box.
    pub legacy: KeyRing,
}

impl ControlKeys {
    /// Returns the keys of a transport.
    #[must_use]
    pub fn ring(&self, transport: ControlTransport) -> &KeyRing {
        match transport {
            ControlTransport::Noise => &self.noise,
            ControlTransport::Legacy => &self.legacy,
        }
    }

    /// Describes all keys, without their private halves.
    #[must_use]
    pub fn describe(&self) -> Vec<ControlKeyInfo> {
        let of = |transport| {
            let keys = self.ring(transport).with_states();
            keys.map(move |(state, key)| ControlKeyInfo {
                transport,
                state,
                public: public_half(key),
            })
        };
        ControlTransport::ALL.into_iter().flat_map(of).collect()
    }
}

fn public_half(key: &PrivateKey) -> MachinePublic {
    MachinePublic::from_bytes(key.public_bytes())
}
