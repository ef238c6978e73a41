use super::*;

fn decided(id: &str) -> Login {
    Login {
        id: id.to_owned(),
        ..Login::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_wakes_those_of_its_login_and_nobody_else() {
    let waiters = Waiters::default();
    let mut one = waiters.begin_wait("1").unwrap();
    let mut other = waiters.begin_wait("2").unwrap();
    waiters.announce_decision(&decided("1"));
    let soon = Instant::now() + Duration::from_secs(45);
    assert_eq!(one.decided_until(soon).await, Some(decided("1")));
    assert_eq!(Instant::now() + Duration::from_secs(45), soon);
    assert_eq!(other.decided_until(soon).await, None);
}

#[test]
fn places_are_bounded_for_a_login_and_in_all_and_come_back() {
    let waiters = Waiters::default();
    let mut waits: Vec<_> = (0..MOST_OF_LOGIN)
        .map(|_| waiters.begin_wait("1").unwrap())
        .collect();
    assert!(matches!(
        waiters.begin_wait("1"),
        Err(IdentityError::TooManyOfLogin)
    ));
    waits.pop();
    waits.push(waiters.begin_wait("1").unwrap());
    for id in 0..MOST_IN_ALL - MOST_OF_LOGIN {
        waits.push(waiters.begin_wait(&format!("other {id}")).unwrap());
    }
    assert!(matches!(
        waiters.begin_wait("2"),
        Err(IdentityError::TooManyWaiters)
    ));
    drop(waits);
    assert!(waiters.begin_wait("2").is_ok());
    assert!(waiters.take_awaited_ids(Instant::now()).0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn being_waited_for_is_noted_at_first_and_then_rarely() {
    let waiters = Waiters::default();
    let _wait = waiters.begin_wait("1").unwrap();
    assert_eq!(waiters.take_awaited_ids(Instant::now()).1, ["1"]);
    assert!(
        waiters
            .take_awaited_ids(Instant::now() + POLL_INTERVAL)
            .1
            .is_empty()
    );
    assert_eq!(
        waiters.take_awaited_ids(Instant::now() + NOTE_INTERVAL).1,
        ["1"]
    );
}
