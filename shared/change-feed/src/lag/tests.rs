use super::*;

fn at(revision: u64) -> Position {
    Position {
        revision,
        soft_revision: 0,
    }
}

#[test]
fn follower_is_as_old_as_the_last_head_that_it_has_reached() {
    let start = Instant::now();
    let second = |number| start + Duration::from_secs(number);
    let lag = FollowerLag::new(start);
    lag.note_head(at(5), second(1));
    assert_eq!(lag.measure(second(2)), (Duration::from_secs(2), 5));
    lag.note_position(at(5));
    assert_eq!(lag.measure(second(2)), (Duration::from_secs(1), 0));
    // The owner is always ahead a little, and the follower comes after it: it is behind by the way between them.
    for round in 2..60 {
        lag.note_head(at(round * 10), second(round));
        lag.note_position(at(round * 10 + 3));
    }
    assert_eq!(lag.measure(second(60)), (Duration::from_secs(1), 0));
    // It stands still, and the owner goes on.
    lag.note_head(at(603), second(60));
    lag.note_head(at(703), second(61));
    assert_eq!(lag.measure(second(70)), (Duration::from_secs(11), 110));
    // It comes as far as the owner was when it was first behind.
    lag.note_position(at(650));
    assert_eq!(lag.measure(second(70)).0, Duration::from_secs(10));
}

#[test]
fn owner_that_does_not_answer_leaves_its_follower_behind() {
    let start = Instant::now();
    let lag = FollowerLag::new(start);
    lag.note_position(at(7));
    lag.note_head(at(7), start + Duration::from_secs(1));
    let measured = lag.measure(start + Duration::from_secs(31));
    assert_eq!(measured, (Duration::from_secs(30), 0));
}
