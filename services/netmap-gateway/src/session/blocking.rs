//! Runs work that keeps a processor busy on other threads than those that answer clients.

use bowline_control_wire::FrameError;

/// Runs work that keeps a processor busy on a thread for blocking work.
///
/// # Errors
///
/// The error of the work, or that the process ends.
#[expect(
    clippy::disallowed_methods,
    reason = "it is short, and its caller waits for it"
)]
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FrameError> + Send + 'static,
) -> Result<T, FrameError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(std::io::Error::other(error).into()),
        },
    }
}
