//! Work that takes so long that it would hold up other requests.

use crate::error::CompilerError;

/// Runs `work` on a thread of its own and waits for its result.
///
/// # Errors
///
/// [`CompilerError::Broken`] when it panics, [`CompilerError::Ending`] when the process ends before it has begun.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CompilerError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how many there are is bounded by who calls this"
    )]
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        // Only a runtime that shuts down cancels such a task: nobody waits for the answer any more.
        if error.is_cancelled() {
            return CompilerError::Ending;
        }
        tracing::error!(%error, "a policy could not be worked with");
        CompilerError::Broken
    })
}

#[cfg(test)]
mod tests;
