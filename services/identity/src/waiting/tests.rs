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
    let mut one = waiters.join("1").unwrap();
    let mut other = waiters.join("2").unwrap();
    waiters.tell(&decided("1"));
    let soon = Instant::now() + Duration::from_secs(45);
    assert_eq!(one.decided_until(soon).await, Some(decided("1")));
    assert_eq!(Instant::now() + Duration::from_secs(45), soon);
    assert_eq!(other.decided_until(soon).await, None);
}

#[test]
fn places_are_bounded_for_a_login_and_in_all_and_come_back() {
    let waiters = Waiters::default();
    let mut waits: Vec<_> = (0..PER_LOGIN).map(|_| waiters.join("1").unwrap()).collect();
    assert!(matches!(
        waiters.join("1"),
        Err(IdentityError::TooManyOfLogin)
    ));
    waits.pop();
    waits.push(waiters.join("1").unwrap());
    for id in 0..IN_ALL - PER_LOGIN {
        waits.push(waiters.join(&format!("other {id}")).unwrap());
    }
    assert!(matches!(
        waiters.join("2"),
        Err(IdentityError::TooManyWaiters)
    ));
    drop(waits);
    assert!(waiters.join("2").is_ok());
    assert!(waiters.ids(Instant::now()).0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn being_waited_for_is_noted_at_first_and_then_rarely() {
    let waiters = Waiters::default();
    let _wait = waiters.join("1").unwrap();
    assert_eq!(waiters.ids(Instant::now()).1, ["1"]);
    assert!(waiters.ids(Instant::now() + LOOK).1.is_empty());
    assert_eq!(waiters.ids(Instant::now() + NOTE).1, ["1"]);
}
