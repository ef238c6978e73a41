use super::*;

fn pool() -> Option<AddressPool> {
    AddressPool::parse("100.64.0.0/10", "fd7a:115c:a1e0::/48")
}

#[test]
fn next_node_of_a_tailnet_is_guessed_from_the_one_before() {
    let memory = RegistrationMemory::default();
    memory.note_place(1, 8);
    memory.note_name(1, "laptop", "laptop-4");
    let guess = |tailnet, hostname| memory.guess(tailnet, pool(), &[], hostname);
    let ipv4 = |guess: &RegistrantGuess| guess.pair.unwrap().ipv4.to_string();
    let again = guess(1, "laptop");
    assert_eq!((&*ipv4(&again), again.number), ("100.64.0.8", 5));
    assert_eq!(again.numbered_label(), "laptop-5");
    assert_eq!(guess(1, "phone").number, 1);
    let of_another = guess(2, "laptop");
    assert_eq!((&*ipv4(&of_another), of_another.number), ("100.64.0.1", 1));
}

#[test]
fn addresses_that_a_policy_wants_are_guessed_behind_the_one_before() {
    let memory = RegistrationMemory::default();
    memory.note_place(1, 8);
    let pools = ["100.80.0.0/31", "100.81.0.0/31"].map(|pool| pool.parse().unwrap());
    let guess = |tailnet, pools: &[Ipv4Net]| {
        let guess = memory.guess(tailnet, pool(), pools, "laptop");
        guess.pair.unwrap().ipv4.to_string()
    };
    for next in [
        "100.80.0.0",
        "100.80.0.1",
        "100.81.0.0",
        "100.81.0.1",
        "100.80.0.0",
    ] {
        assert_eq!(guess(1, &pools), next);
        memory.note_wanted(1, &pools, next.parse().unwrap());
    }
    assert_eq!(guess(1, &pools[1..]), "100.81.0.0", "other pools");
    assert_eq!(guess(2, &pools), "100.80.0.0", "another tailnet");
    assert_eq!(guess(1, &[]), "100.64.0.8", "its own pool");
}

#[test]
fn names_that_nobody_else_wants_are_not_remembered() {
    let memory = RegistrationMemory::default();
    memory.note_name(1, "laptop", "laptop");
    assert!(memory.tailnets.lock().is_empty());
}

#[test]
fn memory_is_bounded() {
    let memory = RegistrationMemory::default();
    for number in 0..=MOST_LABELS {
        memory.note_name(1, &format!("host{number}"), &format!("host{number}-1"));
    }
    let most = memory.tailnets.lock()[&1].numbers.len();
    assert!(most <= MOST_LABELS, "{most}");
    for number in 0..=MOST_POOLS as u32 {
        let given = Ipv4Addr::from(number);
        memory.note_wanted(1, &[given.into()], given);
    }
    let most = memory.tailnets.lock()[&1].last_given.len();
    assert!(most <= MOST_POOLS, "{most}");
    for tailnet in 0..=MOST_TAILNETS as u64 {
        memory.note_place(tailnet, 2);
    }
    let most = memory.tailnets.lock().len();
    assert!(most <= MOST_TAILNETS, "{most}");
}
