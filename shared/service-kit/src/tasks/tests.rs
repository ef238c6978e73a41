use std::convert::Infallible;
use std::time::Duration;

use super::*;

fn tasks() -> Tasks {
    Tasks::new(Shutdown::new(Duration::from_secs(60)))
}

#[tokio::test]
async fn an_early_end_of_a_critical_task_ends_the_process() {
    let tasks = tasks();
    tasks.spawn_critical("lease", async { Ok::<_, Infallible>(()) });
    assert_eq!(tasks.run().await, Err(TaskError::Ended("lease")));
}

#[tokio::test]
async fn a_panic_in_any_task_ends_the_process() {
    let tasks = tasks();
    tasks.spawn("sweep", async { panic!("defect") });
    assert_eq!(tasks.run().await, Err(TaskError::Panicked("sweep")));
}

#[tokio::test]
async fn draining_waits_for_what_runs() {
    let tasks = tasks();
    let shutdown = tasks.shutdown().clone();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let draining = shutdown.clone();
    tasks.spawn_critical("serve", async move {
        draining.wait_for_drain().await;
        sender.send(()).map_err(|()| "nobody waits")
    });
    shutdown.drain();
    assert_eq!(tasks.run().await, Ok(()));
    assert_eq!(receiver.await, Ok(()));
}

#[tokio::test]
async fn a_companion_does_not_hold_up_draining() {
    let tasks = tasks();
    tasks.spawn_companion("health", std::future::pending::<Result<(), Infallible>>());
    tasks.shutdown().drain();
    assert_eq!(tasks.run().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_drain_time_bounds_draining() {
    let tasks = tasks();
    tasks.spawn("stuck", std::future::pending());
    tasks.shutdown().drain();
    assert_eq!(tasks.run().await, Ok(()));
}
