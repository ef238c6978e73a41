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
mod tests {
    use std::task::{Context, Poll, Waker};

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn work_that_an_ending_process_no_longer_takes_is_no_fault() {
        let ending = Builder::new_current_thread().build().unwrap();
        let handle = ending.handle().clone();
        ending.shutdown_background();
        let _entered = handle.enter();
        let mut waiting = Box::pin(run_blocking(|| ()));
        let mut context = Context::from_waker(Waker::noop());
        let answer = waiting.as_mut().poll(&mut context);
        assert!(
            matches!(answer, Poll::Ready(Err(CompilerError::Ending))),
            "{answer:?}"
        );
    }
}
