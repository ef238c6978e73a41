use chrono::TimeDelta;

use super::*;

#[test]
fn certificate_is_ordered_once_and_again_with_a_third_of_its_time_left() {
    let start = DateTime::UNIX_EPOCH;
    let at = |days| start + TimeDelta::days(days);
    let hosts = ["vpn.example.com".to_owned()];
    let certificate = CertificateFacts {
        names: hosts.iter().cloned().collect(),
        begins: start,
        ends: at(90),
    };
    let decide = |day, failed| decide_step(at(day), &hosts, Some(&certificate), failed);
    assert_eq!(decide_step(start, &hosts, None, None), NextStep::Order);
    assert_eq!(decide(1, None), NextStep::Wait(at(60)));
    assert_eq!(decide(60, None), NextStep::Order);
    assert_eq!(decide(100, None), NextStep::Order);

    let failed = FailedAttempt {
        failures: 1,
        next: at(61),
        problem: String::new(),
    };
    assert_eq!(decide(60, Some(&failed)), NextStep::Wait(at(61)));
    assert_eq!(decide(61, Some(&failed)), NextStep::Order);
    // The clock was wrong when it was recorded.
    let far = FailedAttempt {
        next: at(3000),
        ..failed.clone()
    };
    assert_eq!(decide(60, Some(&far)), NextStep::Order);
    // A failure of long ago hastens nothing.
    let old = FailedAttempt {
        next: start,
        ..failed.clone()
    };
    assert_eq!(decide(1, Some(&old)), NextStep::Wait(at(60)));

    let more = [hosts[0].clone(), "b.example.com".to_owned()];
    let step = decide_step(at(1), &more, Some(&certificate), None);
    assert_eq!(step, NextStep::Order, "it lacks a name");
}
