//! The audit chain.

use bowline_db::AuditVerdict;
use bowline_proto::{
    audit::v1::{ListAuditRequest, ListAuditResponse},
    time::to_timestamp,
};
use bowline_service_kit::TracedWork;
use bowline_test_servers::on_both;
use chrono::TimeDelta;

use crate::support::{TestLog, add, start, tailnet};

on_both!(TestLog::open =>
    a_tampered_trail_is_found,
    an_entry_says_where_it_was_asked_for,
    long_entries_come_in_answers_that_can_be_sent,
    entries_are_found_by_actor_action_object_and_time,
    entries_are_listed_in_pages_both_ways,
    one_request_looks_at_a_bounded_part,
    entries_tell_who_did_what,
    tailnets_have_their_own_trails
);

async fn entries_tell_who_did_what(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "a").await.unwrap();
    fixture.advance(1);
    add(&fixture.log, tailnet(1), "b").await.unwrap();
    let entries = fixture.log.audit_entries(tailnet(1), 1, 10).await.unwrap();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(entry.sequence, 2);
    assert_eq!((entry.time - start()).num_seconds(), 1);
    assert_eq!(
        (entry.actor.as_str(), entry.action.as_str()),
        ("admin:test", "thing.add")
    );
    assert_eq!(
        (entry.object.as_str(), entry.detail.as_str()),
        ("b", "{\"id\":2}")
    );
    let verdict = fixture.log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(verdict, AuditVerdict::Whole { entries: 2 });
}

async fn tailnets_have_their_own_trails(fixture: TestLog) {
    for (id, name) in [(1, "a"), (2, "a"), (1, "b")] {
        add(&fixture.log, tailnet(id), name).await.unwrap();
    }
    for (id, entries) in [(1, 2), (2, 1), (3, 0)] {
        let verdict = fixture.log.verify_audit(tailnet(id)).await.unwrap();
        assert_eq!(verdict, AuditVerdict::Whole { entries });
    }
}

async fn a_tampered_trail_is_found(fixture: TestLog) {
    for (id, tampering, sequence) in [
        (
            1,
            "UPDATE audit SET actor = 'x' WHERE sequence = 2 AND tailnet_id = 1",
            2,
        ),
        (
            2,
            "DELETE FROM audit WHERE sequence = 1 AND tailnet_id = 2",
            1,
        ),
        (
            3,
            "DELETE FROM audit WHERE sequence = 3 AND tailnet_id = 3",
            3,
        ),
        (
            4,
            "UPDATE audit SET detail = '' WHERE sequence = 3 AND tailnet_id = 4",
            3,
        ),
        (5, "UPDATE audit SET tailnet_id = 6 WHERE tailnet_id = 5", 1),
    ] {
        for name in ["a", "b", "c"] {
            add(&fixture.log, tailnet(id), name).await.unwrap();
        }
        fixture.execute(tampering).await;
        let verdict = fixture.log.verify_audit(tailnet(id)).await.unwrap();
        assert_eq!(verdict, AuditVerdict::Broken { sequence }, "{tampering}");
    }
}

async fn an_entry_says_where_it_was_asked_for(fixture: TestLog) {
    let source = "192.0.2.7".parse().unwrap();
    let work = TracedWork::begin("test").with_source(Some(source));
    work.scope(add(&fixture.log, tailnet(1), "a"))
        .await
        .unwrap();
    let entries = fixture.log.audit_entries(tailnet(1), 0, 10).await.unwrap();
    assert_eq!(entries[0].detail, "{\"id\":1,\"source\":\"192.0.2.7\"}");
}

async fn list(fixture: &TestLog, request: ListAuditRequest) -> ListAuditResponse {
    fixture.log.list_audit(tailnet(1), &request).await.unwrap()
}

fn places(listed: &ListAuditResponse) -> Vec<u64> {
    listed.entries.iter().map(|entry| entry.sequence).collect()
}

async fn add_as(fixture: &TestLog, actor: &str, action: &'static str, object: &'static str) {
    let added = fixture.log.mutate(tailnet(1), actor, move |mutation| {
        Box::pin(async move {
            mutation.record_audit(action, object, &serde_json::json!({}));
            Ok::<_, bowline_db::DatabaseError>(())
        })
    });
    added.await.unwrap();
    fixture.advance(60);
}

async fn long_entries_come_in_answers_that_can_be_sent(fixture: TestLog) {
    let text = "x".repeat(3 << 20);
    for _ in 0..150 {
        add_as(&fixture, "admin:ops", "user.create", "kim").await;
    }
    for _ in 0..4 {
        let detail = serde_json::json!({ "text": text });
        let added = fixture
            .log
            .mutate(tailnet(1), "admin:ops", move |mutation| {
                Box::pin(async move {
                    mutation.record_audit("policy.set", "long", &detail);
                    Ok::<_, bowline_db::DatabaseError>(())
                })
            });
        added.await.unwrap();
    }
    for oldest_first in [true, false] {
        let (mut seen, mut answers, mut after) = (Vec::new(), 0, 0);
        loop {
            let request = ListAuditRequest {
                oldest_first,
                after_sequence: if oldest_first { after } else { 0 },
                before_sequence: if oldest_first { 0 } else { after },
                ..ListAuditRequest::default()
            };
            let listed = list(&fixture, request).await;
            seen.extend(places(&listed));
            (answers, after) = (answers + 1, listed.next_sequence);
            if !listed.has_more {
                break;
            }
        }
        if !oldest_first {
            seen.reverse();
        }
        assert_eq!(seen, (1..=154).collect::<Vec<_>>());
        assert!(answers > 1);
    }
    let whole = fixture.log.verify_audit(tailnet(1)).await.unwrap();
    assert_eq!(whole, AuditVerdict::Whole { entries: 154 });
}

async fn entries_are_found_by_actor_action_object_and_time(fixture: TestLog) {
    for (actor, action, object) in [
        ("user:kim/api-key:1", "node.rename", "5"),
        ("user:kim/session:2", "node.delete", "5"),
        ("user:kimberly/session:3", "node.delete", "6"),
        ("admin:ops", "user.create", "kim"),
        ("admin:ops", "node", "7"),
        ("admin:ops", "nodes.other", "8"),
    ] {
        add_as(&fixture, actor, action, object).await;
    }
    let minute = |minutes| Some(to_timestamp(start() + TimeDelta::minutes(minutes)));
    let every = ListAuditRequest {
        oldest_first: true,
        ..ListAuditRequest::default()
    };
    let by = |change: fn(&mut ListAuditRequest)| {
        let mut request = every.clone();
        change(&mut request);
        request
    };
    for (request, found) in [
        (
            by(|request| request.actor = "user:kim".to_owned()),
            vec![1, 2],
        ),
        (
            by(|request| request.actor = "user:kim/session:2".to_owned()),
            vec![2],
        ),
        (
            by(|request| request.action = "node.delete".to_owned()),
            vec![2, 3],
        ),
        (
            by(|request| request.action = "node".to_owned()),
            vec![1, 2, 3, 5],
        ),
        (by(|request| request.object = "5".to_owned()), vec![1, 2]),
        (by(|request| request.object = "%".to_owned()), vec![]),
    ] {
        let listed = list(&fixture, request.clone()).await;
        assert_eq!(places(&listed), found, "{request:?}");
        assert!(!listed.has_more);
    }
    for (since, until, found) in [
        (minute(2), None, vec![3, 4, 5, 6]),
        (None, minute(2), vec![1, 2]),
        (minute(1), minute(3), vec![2, 3]),
        (minute(9), None, vec![]),
        (None, minute(-9), vec![]),
        (minute(3), minute(1), vec![]),
    ] {
        for oldest_first in [true, false] {
            let request = ListAuditRequest {
                since_time: since,
                before_time: until,
                oldest_first,
                ..ListAuditRequest::default()
            };
            let mut listed = places(&list(&fixture, request).await);
            listed.sort_unstable();
            assert_eq!(listed, found, "{since:?} {until:?}");
        }
    }
}

async fn entries_are_listed_in_pages_both_ways(fixture: TestLog) {
    for name in ["a", "b", "c", "d", "e"] {
        add(&fixture.log, tailnet(1), name).await.unwrap();
    }
    for oldest_first in [false, true] {
        let mut request = ListAuditRequest {
            limit: 2,
            oldest_first,
            ..ListAuditRequest::default()
        };
        let mut pages = Vec::new();
        loop {
            let listed = list(&fixture, request.clone()).await;
            pages.push(places(&listed));
            match oldest_first {
                true => request.after_sequence = listed.next_sequence,
                false => request.before_sequence = listed.next_sequence,
            }
            if !listed.has_more {
                break;
            }
        }
        let expected: [&[u64]; 3] = match oldest_first {
            true => [&[1, 2], &[3, 4], &[5]],
            false => [&[5, 4], &[3, 2], &[1]],
        };
        assert_eq!(pages, expected);
        if oldest_first {
            // What comes later is found from there on.
            add(&fixture.log, tailnet(1), "f").await.unwrap();
            assert_eq!(places(&list(&fixture, request).await), [6]);
        }
    }
}

async fn one_request_looks_at_a_bounded_part(fixture: TestLog) {
    add(&fixture.log, tailnet(1), "first").await.unwrap();
    let many = "INSERT INTO audit (tailnet_id, sequence, happened_at, actor, action, object, detail, hash)
         WITH RECURSIVE places (place) AS (SELECT 2 UNION ALL SELECT place + 1 FROM places WHERE place < 20005)
         SELECT 1, place, happened_at, actor, 'thing.other', object, detail, hash FROM places, audit
         WHERE audit.tailnet_id = 1 AND audit.sequence = 1;
         UPDATE heads SET audit_sequence = 20005 WHERE tailnet_id = 1";
    fixture.execute(many).await;
    let request = ListAuditRequest {
        action: "thing.add".to_owned(),
        ..ListAuditRequest::default()
    };
    let listed = list(&fixture, request.clone()).await;
    assert_eq!(
        (places(&listed), listed.next_sequence, listed.has_more),
        (vec![], 6, true)
    );
    let rest = ListAuditRequest {
        before_sequence: 6,
        ..request
    };
    let listed = list(&fixture, rest).await;
    assert_eq!((places(&listed), listed.has_more), (vec![1], false));
}
