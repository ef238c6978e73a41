//! A measurement, not a proof: `cargo test -p bowline-db -- --ignored --nocapture throughput`.

use std::time::Instant;

use bowline_test_servers::TestDatabase;
use futures_util::future::join_all;

use crate::support::{TestLog, add, tailnet};

async fn measure(name: &str, fixture: TestLog) {
    for callers in [1_u32, 64] {
        let begin = Instant::now();
        let turns = 2048 / callers.max(8);
        let work = (0..callers).map(|caller| {
            let log = fixture.log.clone();
            tokio::spawn(async move {
                for turn in 0..turns {
                    add(&log, tailnet(1), &format!("{callers}/{caller}/{turn}"))
                        .await
                        .unwrap();
                }
            })
        });
        join_all(work).await;
        let rate = f64::from(callers * turns) / begin.elapsed().as_secs_f64();
        println!("{name}: {callers} callers, {rate:.0} mutations a second");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput() {
    measure(
        "sqlite",
        TestLog::open(TestDatabase::sqlite().unwrap()).await,
    )
    .await;
    if let Some(database) = TestDatabase::postgres().unwrap() {
        let fixture = TestLog::open(database).await;
        measure("postgres", fixture).await;
    }
}
