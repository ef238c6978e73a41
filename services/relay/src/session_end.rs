//! The ends of a connection.

use std::io;

use crate::frame::DerpFrameError;
use crate::handshake::DerpHandshakeError;

/// Why a connection ended, or was turned away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DerpSessionEnd {
    #[error("connection failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] DerpFrameError),
    #[error(transparent)]
    Handshake(#[from] DerpHandshakeError),
    #[error("handshake took too long")]
    Late,
    #[error("node is not served here")]
    NotAdmitted,
    #[error("client was silent for too long")]
    Idle,
    #[error("client took nothing for too long")]
    Stalled,
    #[error("a newer connection of the same node took over")]
    Replaced,
    #[error("relay is closing")]
    Drained,
}

impl DerpSessionEnd {
    /// Returns the reason as metrics name it.
    pub(crate) fn metric_label(&self) -> &'static str {
        match self {
            Self::Io(_) => "hung_up",
            Self::Frame(_) => "bad_frame",
            Self::Handshake(_) => "bad_handshake",
            Self::Late => "late",
            Self::NotAdmitted => "not_admitted",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Replaced => "replaced",
            Self::Drained => "drained",
        }
    }
}
