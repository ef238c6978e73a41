//! Work that takes longer than others should wait for.

use crate::error::CompilerError;

/// Runs something long on a thread of its own.
///
/// # Errors
///
/// [`CompilerError::Broken`] when it panics.
pub async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CompilerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        tracing::error!(%error, "a policy could not be worked with");
        CompilerError::Broken
    })
}
