//! Seals frames for transports that need it.

use std::{fmt, sync::Arc};

use bowline_control_wire::FrameError;
use bytes::Bytes;

use super::run_blocking;

/// The longest frame that is sealed on the caller's thread: it takes less than a tenth of a millisecond.
const LONGEST_SEALED_IN_PLACE: usize = 32 << 10;

type Seal = dyn Fn(&Bytes) -> Result<Bytes, FrameError> + Send + Sync;

/// How a transport seals each frame, if it does. Cheap to clone.
#[derive(Clone)]
pub struct FrameSealer(Option<Arc<Seal>>);

impl FrameSealer {
    /// Leaves frames as they are.
    pub const NONE: Self = Self(None);

    /// Seals each frame with this function.
    pub fn with(
        seal: impl Fn(&Bytes) -> Result<Bytes, FrameError> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(seal)))
    }

    /// Seals a frame.
    ///
    /// # Errors
    ///
    /// When it can not be sealed.
    pub async fn seal_frame(&self, frame: Bytes) -> Result<Bytes, FrameError> {
        match self.0.clone() {
            None => Ok(frame),
            Some(seal) if frame.len() <= LONGEST_SEALED_IN_PLACE => seal(&frame),
            Some(seal) => run_blocking(move || seal(&frame)).await,
        }
    }
}

impl fmt::Debug for FrameSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "sealed" } else { "plain" })
    }
}
