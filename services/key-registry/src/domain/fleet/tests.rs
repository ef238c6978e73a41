use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

/// Returns a gateway with nodes that renewed its lease last at a time.
fn renewed(gateway: &str, seconds: i64) -> Incarnation {
    Incarnation {
        gateway: gateway.to_owned(),
        slot: String::new(),
        known_at: at(0),
        lease_end: at(seconds + 5),
        staleness: TimeDelta::seconds(3600),
        has_left: false,
        holds_nodes: true,
    }
}

#[test]
fn what_most_gateways_suffer_together_is_not_held_against_their_nodes() {
    let fleet = |live: usize, over: usize| {
        let live = (0..live).map(|number| renewed(&format!("live{number}"), 100));
        let over = (0..over).map(|number| renewed(&format!("over{number}"), 90));
        live.chain(over).collect::<Vec<_>>()
    };
    for (live, over, expected) in [
        (0, 0, TrustedRecords::Leases),
        (0, 1, TrustedRecords::Nothing),
        (0, 20, TrustedRecords::Nothing),
        (1, 1, TrustedRecords::Leases),
        (1, 2, TrustedRecords::ReportedEnds),
        (10, 10, TrustedRecords::Leases),
        (9, 11, TrustedRecords::ReportedEnds),
        (19, 1, TrustedRecords::Leases),
    ] {
        assert_eq!(
            judge_fleet(&fleet(live, over), at(101)),
            expected,
            "{live} {over}"
        );
    }
    // Those whose nodes have all come back elsewhere count no more, nor those that are gone.
    let mut some = fleet(1, 5);
    for one in &mut some[1..4] {
        one.holds_nodes = false;
    }
    some[4].has_left = true;
    assert_eq!(judge_fleet(&some, at(101)), TrustedRecords::Leases);
}

#[test]
fn time_begins_to_count_again_after_a_hold_and_after_a_pause() {
    let mut health = FleetHealth::default();
    for second in 0..=8 {
        assert_eq!(health.leases_trusted_since(), None, "{second}");
        assert_eq!(
            health.observe_fleet(&[renewed("g", second)], at(second)),
            None
        );
    }
    assert_eq!(health.leases_trusted_since(), Some(at(0)));
    // The lease is over from second 14 on, and nobody else has one.
    let mut alarms = Vec::new();
    for second in 9..=30 {
        alarms.extend(health.observe_fleet(&[renewed("g", 8)], at(second)));
    }
    assert_eq!(
        (health.ends_trusted_since(), health.leases_trusted_since()),
        (None, None)
    );
    for second in 31..=39 {
        alarms.extend(health.observe_fleet(&[renewed("g", second)], at(second)));
    }
    assert_eq!(alarms, [FleetAlarm::Begins, FleetAlarm::Ends]);
    assert_eq!(health.leases_trusted_since(), Some(at(31)));
    health.observe_fleet(&[renewed("g", 60)], at(60));
    assert_eq!(
        health.leases_trusted_since(),
        None,
        "it did not look for long"
    );
}

#[test]
fn receipt_names_only_gateways_that_clients_may_hold_on_to() {
    let state = |fleet: &[Incarnation], applied, seconds| {
        fleet[0].gateway_state(applied, 7, fleet, at(seconds))
    };
    let dead = [renewed("dead", 0)];
    let served = AppliedRevision::Through(9);
    assert_eq!(state(&dead, served, 3), Some(GatewayState::Applied));
    assert_eq!(
        state(&dead, AppliedRevision::Through(6), 3),
        Some(GatewayState::Lagging)
    );
    assert_eq!(
        state(&dead, AppliedRevision::NotServed, 3),
        Some(GatewayState::Applied)
    );
    assert_eq!(
        state(&dead, AppliedRevision::NotReported, 3),
        Some(GatewayState::Lagging)
    );
    // Partitioned, as far as anybody knows.
    assert_eq!(state(&dead, served, 6), Some(GatewayState::Stale));
    assert_eq!(
        state(&dead, AppliedRevision::NotReported, 6),
        Some(GatewayState::Stale)
    );
    assert_eq!(state(&dead, AppliedRevision::NotServed, 6), None);
    assert_eq!(state(&dead, served, 3605), Some(GatewayState::Stale));
    assert_eq!(
        state(&dead, served, 3606),
        None,
        "it admits nobody so long without a lease"
    );
    let after = |slot: &str, seconds| Incarnation {
        slot: slot.to_owned(),
        known_at: at(1),
        ..renewed("next", seconds)
    };
    let placed = |slot: &str| Incarnation {
        slot: slot.to_owned(),
        ..renewed("dead", 0)
    };
    // The next process on its address: it is dead once it is silent, and drains while it renews.
    assert_eq!(state(&[placed("a"), after("a", 2)], served, 3), None);
    assert!(state(&[placed("a"), after("a", 1)], served, 3).is_some());
    for (slot, next) in [("a", "b"), ("", "")] {
        assert!(state(&[placed(slot), after(next, 9)], served, 9).is_some());
    }
    // The older never takes the place of the newer.
    let older = Incarnation {
        known_at: at(0),
        ..after("a", 9)
    };
    assert!(state(&[placed("a"), older], served, 9).is_some());
}
