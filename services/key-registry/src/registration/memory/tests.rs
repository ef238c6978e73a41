use super::*;

fn pool() -> Option<AddressPool> {
    AddressPool::parse("100.64.0.0/10", "fd7a:115c:a1e0::/48")
}

#[test]
fn next_node_of_a_tailnet_is_guessed_from_the_one_before() {
    let memory = RegistrationMemory::default();
    memory.note_place(1, 8);
    memory.note_name(1, "laptop", "laptop-4");
    let guess = memory.guess(1, pool(), "laptop");
    assert_eq!((guess.next_place, guess.number), (8, 5));
    assert_eq!(guess.numbered_label(), "laptop-5");
    assert_eq!(memory.guess(1, pool(), "phone").number, 1);
    assert_eq!(
        memory.guess(2, pool(), "laptop"),
        RegistrantGuess::new(pool(), 1, "laptop"),
        "another tailnet"
    );
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
    for tailnet in 0..=MOST_TAILNETS as u64 {
        memory.note_place(tailnet, 2);
    }
    let most = memory.tailnets.lock().len();
    assert!(most <= MOST_TAILNETS, "{most}");
}
