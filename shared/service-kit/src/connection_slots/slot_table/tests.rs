use super::*;

fn table_of(all: usize) -> SlotTable<&'static str> {
    SlotTable::new(SlotLimits {
        all,
        of_one_holder: 2,
    })
}

/// A node of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Device(&'static str, u64);

impl SlotHolder for Device {
    type Owner = &'static str;

    fn owner(&self) -> &'static str {
        self.0
    }
}

/// For tests where each holder answers for itself.
impl SlotHolder for &'static str {
    type Owner = Self;

    fn owner(&self) -> Self {
        self
    }
}

fn devices(all: usize) -> SlotTable<Device> {
    SlotTable::new(SlotLimits {
        all,
        of_one_holder: 2,
    })
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

/// Enters once and returns who had to go.
fn displaced(table: &mut SlotTable<&'static str>, address: &str) -> Option<u64> {
    table.add_connection(ip(address)).expect("a slot").displaced
}

#[test]
fn newcomer_displaces_the_oldest_stranger_of_the_fullest_network() {
    let mut table = table_of(6);
    for address in [
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.1",
        "198.51.100.1",
        "198.51.100.1",
        "203.0.113.1",
    ] {
        assert_eq!(displaced(&mut table, address), None);
    }
    assert_eq!(displaced(&mut table, "203.0.114.1"), Some(0));
    assert_eq!(
        displaced(&mut table, "203.0.115.1"),
        Some(1),
        "two of each now: this network grew longest ago"
    );
}

#[test]
fn those_who_are_known_stay_and_nobody_enters_when_all_are() {
    let mut table = table_of(2);
    for holder in ["a", "b"] {
        let entered = table.add_connection(ip("192.0.2.1")).expect("a slot");
        let settled = table.mark_known(entered.id, holder);
        assert_eq!(settled.1, None);
    }
    assert!(
        table.add_connection(ip("198.51.100.1")).is_some(),
        "one source has half: the other is a stranger yet"
    );
    let settled = table.mark_known(2, "c");
    assert_eq!(settled, (true, None));
    assert!(table.add_connection(ip("203.0.113.1")).is_none());
    table.remove_connection(0);
    table.remove_connection(1);
    assert!(table.add_connection(ip("203.0.113.1")).is_some());
}

#[test]
fn share_of_one_source_is_displaced_before_others_are() {
    let mut table = table_of(1024);
    for _ in 0..16 {
        assert_eq!(displaced(&mut table, "192.0.2.1"), None);
    }
    assert_eq!(displaced(&mut table, "192.0.2.1"), Some(0));
    assert_eq!(displaced(&mut table, "192.0.2.2"), None);
    for number in 0..16 {
        table
            .add_connection(ip(&format!("2001:db8:0:{number}::1")))
            .expect("a slot");
    }
    assert_eq!(
        displaced(&mut table, "2001:db8:0:ff00::1"),
        Some(18),
        "one /48 is one source"
    );
}

#[test]
fn holder_with_too_many_slots_loses_its_oldest() {
    let mut table = table_of(100);
    let ids: Vec<u64> = (0..3)
        .map(|_| table.add_connection(ip("192.0.2.1")).expect("a slot").id)
        .collect();
    assert_eq!(table.mark_known(ids[0], "a"), (true, None));
    assert_eq!(table.mark_known(ids[1], "a"), (true, None));
    assert_eq!(
        table.mark_known(ids[1], "a"),
        (true, None),
        "once more is nothing new"
    );
    assert_eq!(table.mark_known(ids[2], "a"), (true, Some(ids[0])));
    assert_eq!(
        table.mark_known(ids[0], "a"),
        (false, None),
        "it is on its way out"
    );
}

#[test]
fn whoever_is_a_stranger_again_is_the_first_to_go() {
    let mut table = table_of(2);
    let known = table.add_connection(ip("192.0.2.1")).expect("a slot").id;
    assert!(table.mark_known(known, "a").0);
    let stranger = table.add_connection(ip("192.0.2.1")).expect("a slot").id;
    table.mark_stranger(known);
    assert_eq!(displaced(&mut table, "192.0.2.1"), Some(known));
    assert_eq!(displaced(&mut table, "192.0.2.1"), Some(stranger));
}

#[test]
fn proxy_takes_nobodys_share_until_its_client_is_known() {
    let mut table = table_of(1024);
    let ids: Vec<u64> = (0..20)
        .map(|_| table.add_connection(None).expect("a slot").id)
        .collect();
    for id in &ids[..16] {
        assert_eq!(table.set_address(*id, ip("192.0.2.1").expect("one")), None);
    }
    assert_eq!(
        table.set_address(ids[16], ip("192.0.2.1").expect("one")),
        Some(ids[0])
    );
    assert_eq!(
        table.set_address(ids[17], ip("192.0.2.2").expect("one")),
        None
    );
}

#[test]
fn everything_is_forgotten_of_those_who_left() {
    let mut table = table_of(4);
    for number in 0..40 {
        let id = table.add_connection(ip("192.0.2.1")).expect("a slot").id;
        if number % 2 == 0 {
            table.mark_known(id, "a");
        }
    }
    (0..40).for_each(|id| table.remove_connection(id));
    assert_eq!(table.known.count(), 0);
    assert!(table.known_from.is_empty());
    assert_eq!((table.count_slots(), table.leaving), (0, 0));
    assert_eq!(table.strangers.count(Network::ALL), 0);
}

/// Enters and settles each of `holders` in turn, from a source of its own, and returns who had to go for each.
fn settled(table: &mut SlotTable<Device>, holders: &[Device]) -> Vec<Option<u64>> {
    let settle = |holder: &Device| {
        let number = table.next;
        let address = format!("2001:db8:{number:x}::1");
        let entered = table.add_connection(ip(&address)).expect("a slot");
        let (stays, displaced) = table.mark_known(entered.id, *holder);
        assert!(stays || displaced.is_none());
        if stays { displaced } else { Some(entered.id) }
    };
    holders.iter().map(settle).collect()
}

#[test]
fn owner_with_most_slots_gives_one_to_whoever_has_fewer() {
    let mut table = devices(16);
    // All slots of those who are known, of one key: seven nodes with two connections each.
    let crowd: Vec<Device> = (0..14).map(|number| Device("key", number / 2)).collect();
    assert!(settled(&mut table, &crowd).iter().all(Option::is_none));
    let others = [Device("ann", 1), Device("ben", 1), Device("ann", 2)];
    assert_eq!(settled(&mut table, &others), [Some(0), Some(2), Some(4)]);
    for id in [0, 2, 4] {
        table.remove_connection(id);
    }
    assert_eq!(
        settled(&mut table, &[Device("key", 9)]),
        [Some(6)],
        "what it gets more it loses itself"
    );
}

#[test]
fn owners_that_have_as_much_as_each_other_do_not_displace_each_other() {
    let mut table = devices(16);
    let owners = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n",
    ];
    let one_each = owners.map(|owner| Device(owner, 1));
    assert!(settled(&mut table, &one_each).iter().all(Option::is_none));
    assert_eq!(
        settled(&mut table, &[Device("o", 1)]),
        [Some(14)],
        "it is a stranger as long as nobody needs its slot"
    );
    assert_eq!(
        settled(&mut table, &[Device("a", 1)]),
        [Some(0)],
        "a newer connection of a node is in place of its older one"
    );
}

#[test]
fn fleet_of_one_owner_has_all_slots_while_nobody_else_wants_them() {
    let mut table = devices(64);
    let fleet: Vec<Device> = (0..56).map(|number| Device("fleet", number)).collect();
    assert!(settled(&mut table, &fleet).iter().all(Option::is_none));
    assert_eq!(
        settled(&mut table, &[Device("fleet", 56)]),
        [Some(56)],
        "its nodes do not displace each other in turn"
    );
}

#[test]
fn strangers_displace_nobody_who_is_known_and_always_come_in() {
    let mut table = devices(16);
    let crowd: Vec<Device> = (0..40).map(|number| Device("key", number)).collect();
    settled(&mut table, &crowd);
    let known = table.known.count();
    assert_eq!(known, 14);
    for number in 0..100 {
        let address = format!("2001:db8:ffff:{number:x}::1");
        assert!(table.add_connection(ip(&address)).is_some());
    }
    assert_eq!(table.known.count(), known);
}

#[test]
fn owner_with_most_slots_of_one_source_makes_room_for_others_from_there() {
    let mut table = devices(16);
    let mut settle = |owner, number| {
        let entered = table.add_connection(ip("192.0.2.1")).expect("a slot");
        table.mark_known(entered.id, Device(owner, number))
    };
    for number in 0..8 {
        assert_eq!(settle("key", number), (true, None));
    }
    assert_eq!(settle("ann", 1), (true, Some(0)));
    assert_eq!(settle("key", 8), (false, None));
    assert_eq!(settle("ann", 1), (true, Some(1)));
    assert_eq!(settle("ann", 1), (true, Some(8)), "two of one node at most");
}
