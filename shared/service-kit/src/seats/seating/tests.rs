use super::*;

fn seating(all: usize) -> Seating<&'static str> {
    Seating::new(SeatLimits {
        all,
        of_one_holder: 2,
    })
}

/// A node of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Device(&'static str, u64);

impl SeatHolder for Device {
    type Owner = &'static str;

    fn owner(&self) -> &'static str {
        self.0
    }
}

/// For tests where each holder answers for itself.
impl SeatHolder for &'static str {
    type Owner = Self;

    fn owner(&self) -> Self {
        self
    }
}

fn devices(all: usize) -> Seating<Device> {
    Seating::new(SeatLimits {
        all,
        of_one_holder: 2,
    })
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

/// Enters once and returns who had to go.
fn displaced(seating: &mut Seating<&'static str>, address: &str) -> Option<u64> {
    seating.enter(ip(address)).expect("a seat").displaced
}

#[test]
fn newcomer_displaces_the_oldest_stranger_of_the_fullest_network() {
    let mut seating = seating(6);
    for address in [
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.1",
        "198.51.100.1",
        "198.51.100.1",
        "203.0.113.1",
    ] {
        assert_eq!(displaced(&mut seating, address), None);
    }
    assert_eq!(displaced(&mut seating, "203.0.114.1"), Some(0));
    assert_eq!(
        displaced(&mut seating, "203.0.115.1"),
        Some(1),
        "two of each now: this network grew longest ago"
    );
}

#[test]
fn those_who_are_known_stay_and_nobody_enters_when_all_are() {
    let mut seating = seating(2);
    for holder in ["a", "b"] {
        let entered = seating.enter(ip("192.0.2.1")).expect("a seat");
        let settled = seating.settle(entered.id, holder);
        assert_eq!(settled.1, None);
    }
    assert!(
        seating.enter(ip("198.51.100.1")).is_some(),
        "one source has half: the other is a stranger yet"
    );
    let settled = seating.settle(2, "c");
    assert_eq!(settled, (true, None));
    assert!(seating.enter(ip("203.0.113.1")).is_none());
    seating.leave(0);
    seating.leave(1);
    assert!(seating.enter(ip("203.0.113.1")).is_some());
}

#[test]
fn share_of_one_source_is_displaced_before_others_are() {
    let mut seating = seating(1024);
    for _ in 0..16 {
        assert_eq!(displaced(&mut seating, "192.0.2.1"), None);
    }
    assert_eq!(displaced(&mut seating, "192.0.2.1"), Some(0));
    assert_eq!(displaced(&mut seating, "192.0.2.2"), None);
    for number in 0..16 {
        seating
            .enter(ip(&format!("2001:db8:0:{number}::1")))
            .expect("a seat");
    }
    assert_eq!(
        displaced(&mut seating, "2001:db8:0:ff00::1"),
        Some(18),
        "one /48 is one source"
    );
}

#[test]
fn holder_with_too_many_seats_loses_its_oldest() {
    let mut seating = seating(100);
    let ids: Vec<u64> = (0..3)
        .map(|_| seating.enter(ip("192.0.2.1")).expect("a seat").id)
        .collect();
    assert_eq!(seating.settle(ids[0], "a"), (true, None));
    assert_eq!(seating.settle(ids[1], "a"), (true, None));
    assert_eq!(
        seating.settle(ids[1], "a"),
        (true, None),
        "once more is nothing new"
    );
    assert_eq!(seating.settle(ids[2], "a"), (true, Some(ids[0])));
    assert_eq!(
        seating.settle(ids[0], "a"),
        (false, None),
        "it is on its way out"
    );
}

#[test]
fn whoever_is_a_stranger_again_is_the_first_to_go() {
    let mut seating = seating(2);
    let known = seating.enter(ip("192.0.2.1")).expect("a seat").id;
    assert!(seating.settle(known, "a").0);
    let stranger = seating.enter(ip("192.0.2.1")).expect("a seat").id;
    seating.unsettle(known);
    assert_eq!(displaced(&mut seating, "192.0.2.1"), Some(known));
    assert_eq!(displaced(&mut seating, "192.0.2.1"), Some(stranger));
}

#[test]
fn proxy_takes_nobodys_share_until_its_client_is_known() {
    let mut seating = seating(1024);
    let ids: Vec<u64> = (0..20)
        .map(|_| seating.enter(None).expect("a seat").id)
        .collect();
    for id in &ids[..16] {
        assert_eq!(seating.relocate(*id, ip("192.0.2.1").expect("one")), None);
    }
    assert_eq!(
        seating.relocate(ids[16], ip("192.0.2.1").expect("one")),
        Some(ids[0])
    );
    assert_eq!(
        seating.relocate(ids[17], ip("192.0.2.2").expect("one")),
        None
    );
}

#[test]
fn everything_is_forgotten_of_those_who_left() {
    let mut seating = seating(4);
    for number in 0..40 {
        let id = seating.enter(ip("192.0.2.1")).expect("a seat").id;
        if number % 2 == 0 {
            seating.settle(id, "a");
        }
    }
    (0..40).for_each(|id| seating.leave(id));
    assert_eq!(seating.known.count(), 0);
    assert!(seating.known_from.is_empty());
    assert_eq!((seating.held(), seating.leaving), (0, 0));
    assert_eq!(seating.strangers.count(Network::ALL), 0);
}

/// Enters and settles each of `holders` in turn, from a source of its own, and returns who had to go for each.
fn settled(seating: &mut Seating<Device>, holders: &[Device]) -> Vec<Option<u64>> {
    let settle = |holder: &Device| {
        let number = seating.next;
        let address = format!("2001:db8:{number:x}::1");
        let entered = seating.enter(ip(&address)).expect("a seat");
        let (stays, displaced) = seating.settle(entered.id, *holder);
        assert!(stays || displaced.is_none());
        if stays { displaced } else { Some(entered.id) }
    };
    holders.iter().map(settle).collect()
}

#[test]
fn owner_with_most_seats_gives_one_to_whoever_has_fewer() {
    let mut seating = devices(16);
    // All seats of those who are known, of one key: seven nodes with two connections each.
    let crowd: Vec<Device> = (0..14).map(|number| Device("key", number / 2)).collect();
    assert!(settled(&mut seating, &crowd).iter().all(Option::is_none));
    let others = [Device("ann", 1), Device("ben", 1), Device("ann", 2)];
    assert_eq!(settled(&mut seating, &others), [Some(0), Some(2), Some(4)]);
    for id in [0, 2, 4] {
        seating.leave(id);
    }
    assert_eq!(
        settled(&mut seating, &[Device("key", 9)]),
        [Some(6)],
        "what it gets more it loses itself"
    );
}

#[test]
fn owners_that_have_as_much_as_each_other_do_not_displace_each_other() {
    let mut seating = devices(16);
    let owners = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",
    ];
    let one_each = owners.map(|owner| Device(owner, 1));
    assert!(settled(&mut seating, &one_each).iter().all(Option::is_none));
    assert_eq!(
        settled(&mut seating, &[Device("o", 1)]),
        [Some(14)],
        "it is a stranger as long as nobody needs its seat"
    );
    assert_eq!(
        settled(&mut seating, &[Device("a", 1)]),
        [Some(0)],
        "a newer connection of a node is in place of its older one"
    );
}

#[test]
fn fleet_of_one_owner_has_all_seats_while_nobody_else_wants_them() {
    let mut seating = devices(64);
    let fleet: Vec<Device> = (0..56).map(|number| Device("fleet", number)).collect();
    assert!(settled(&mut seating, &fleet).iter().all(Option::is_none));
    assert_eq!(
        settled(&mut seating, &[Device("fleet", 56)]),
        [Some(56)],
        "its nodes do not displace each other in turn"
    );
}

#[test]
fn strangers_displace_nobody_who_is_known_and_always_come_in() {
    let mut seating = devices(16);
    let crowd: Vec<Device> = (0..40).map(|number| Device("key", number)).collect();
    settled(&mut seating, &crowd);
    let known = seating.known.count();
    assert_eq!(known, 14);
    for number in 0..100 {
        let address = format!("2001:db8:ffff:{number:x}::1");
        assert!(seating.enter(ip(&address)).is_some());
    }
    assert_eq!(seating.known.count(), known);
}

#[test]
fn owner_with_most_seats_of_one_source_makes_room_for_others_from_there() {
    let mut seating = devices(16);
    let mut settle = |owner, number| {
        let entered = seating.enter(ip("192.0.2.1")).expect("a seat");
        seating.settle(entered.id, Device(owner, number))
    };
    for number in 0..8 {
        assert_eq!(settle("key", number), (true, None));
    }
    assert_eq!(settle("ann", 1), (true, Some(0)));
    assert_eq!(settle("key", 8), (false, None));
    assert_eq!(settle("ann", 1), (true, Some(1)));
    assert_eq!(settle("ann", 1), (true, Some(8)), "two of one node at most");
}
