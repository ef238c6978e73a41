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
