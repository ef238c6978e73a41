//! A mutation that comes while the process ends.

use std::{sync::mpsc, time::Duration};

use bowline_db::DatabaseError;
use bowline_test_servers::TestDatabase;
use futures_util::FutureExt as _;
use tokio::runtime::Builder;

use crate::support::{TestLog, tailnet};

const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_mutation_while_the_runtime_ends_does_not_hold_up_its_end() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let fixture = runtime.block_on(TestLog::open(TestDatabase::sqlite().unwrap()));
    let log = fixture.log.clone();
    let (busy_sender, busy) = mpsc::channel();
    let (go, wait_for_go) = mpsc::channel::<()>();
    let (refused_sender, refused) = mpsc::channel();
    // It holds one of the two threads. The other ends the tasks meanwhile, such as the one below.
    runtime.spawn(async move {
        busy_sender.send(()).unwrap();
        wait_for_go.recv().unwrap();
        let work = log.mutate(tailnet(1), "late", |_| {
            Box::pin(async { Ok::<_, DatabaseError>(()) })
        });
        drop(refused_sender.send(work.now_or_never()));
    });
    busy.recv_timeout(DEADLINE).unwrap();
    let (held, is_dropped) = mpsc::channel::<()>();
    runtime.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    runtime.shutdown_background();
    assert_eq!(
        is_dropped.recv_timeout(DEADLINE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
    go.send(()).unwrap();
    let answer = refused.recv_timeout(DEADLINE);
    let answer = answer.expect("the runtime ends").expect("an answer");
    assert!(
        matches!(answer, Err(DatabaseError::Unavailable { .. })),
        "{answer:?}"
    );
}
