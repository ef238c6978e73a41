//! Soft state batches.

use bowline_bus::{Event, Hint, LogOwner};
use bowline_db::DatabaseError;
use bowline_ids::Revision;
use bowline_test_servers::on_both;

use crate::support::{TestLog, add, tailnet};

on_both!(TestLog::open =>
    a_batch_takes_one_revision_for_each_tailnet,
    a_failed_batch_takes_none
);

async fn a_batch_takes_one_revision_for_each_tailnet(fixture: TestLog) {
    add(&fixture.log, tailnet(2), "a").await.unwrap();
    let mut subscription = fixture.bus.subscribe(&[LogOwner::KeyRegistry]);
    for turn in 1..=2 {
        let taken: Vec<u64> = fixture
            .log
            .commit_soft_state(|batch| {
                Box::pin(async move {
                    let mut taken = Vec::new();
                    for id in [1, 2, 1] {
                        taken.push(batch.take_revision(tailnet(id)).await?);
                    }
                    Ok::<_, DatabaseError>(taken)
                })
            })
            .await
            .unwrap();
        assert_eq!(taken, [turn; 3]);
        for (id, revision) in [(1, 0), (2, 1)] {
            let revision = Revision::new(revision);
            let hint = Hint {
                tailnet: tailnet(id),
                revision,
                soft_revision: turn,
            };
            assert_eq!(
                subscription.next().await,
                Some(Event::Hint(LogOwner::KeyRegistry, hint))
            );
        }
    }
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    let head = fixture.log.heads(&[tailnet(1)]).await.unwrap()[0];
    assert_eq!((head.revision, head.soft_revision), (Revision::new(1), 2));
}

async fn a_failed_batch_takes_none(fixture: TestLog) {
    let result: Result<(), DatabaseError> = fixture
        .log
        .commit_soft_state(|batch| {
            Box::pin(async move {
                batch.take_revision(tailnet(1)).await?;
                Err(DatabaseError::Conflict {
                    constraint: "x".into(),
                })
            })
        })
        .await;
    assert!(result.is_err());
    assert_eq!(
        fixture.log.heads(&[tailnet(1)]).await.unwrap()[0].soft_revision,
        0
    );
}
