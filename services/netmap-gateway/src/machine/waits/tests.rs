use futures_util::FutureExt as _;

use super::*;

fn login(number: u8) -> LoginId {
    LoginId::from_random([number; 16])
}

fn machine(number: u8) -> MachinePublic {
    MachinePublic::from_bytes([number; 32])
}

fn enter(waits: &Arc<FollowupWaits>, numbers: (u8, u8), address: &str) -> Option<FollowupWait> {
    let address = address.parse().expect("an address");
    waits.begin_wait(login(numbers.0), machine(numbers.1), address)
}

fn has_ended(wait: &FollowupWait) -> bool {
    wait.wait_until_displaced().now_or_never().is_some()
}

#[test]
fn newest_waits_of_a_login_and_of_a_machine_end_the_oldest() {
    let waits = FollowupWaits::new();
    let of_login: Vec<_> = (0..3)
        .map(|_| enter(&waits, (1, 1), "192.0.2.1").expect("a place"))
        .collect();
    assert_eq!(
        of_login.iter().map(has_ended).collect::<Vec<_>>(),
        [true, false, false]
    );
    let of_machine: Vec<_> = (2..5)
        .map(|number| enter(&waits, (number, 1), "192.0.2.1").expect("a place"))
        .collect();
    assert_eq!(
        of_login.iter().map(has_ended).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert!(!of_machine.iter().any(has_ended));
    drop((of_login, of_machine));
    let waiting = waits.lock_waits();
    assert!(waiting.logins.is_empty() && waiting.machines.is_empty() && waiting.entries.is_empty());
}

#[test]
fn one_source_has_so_many_and_no_more() {
    let waits = FollowupWaits::new();
    let held: Vec<_> = (0..70)
        .filter_map(|number| enter(&waits, (number, number), "192.0.2.1"))
        .collect();
    assert_eq!(held.len(), OF_SOURCE);
    assert!(enter(&waits, (100, 100), "192.0.2.2").is_some());
    let subnets: Vec<_> = (0..70)
        .filter_map(|number| {
            let address = format!("2001:db8:0:{number:x}00::1");
            enter(&waits, (number + 100, number + 100), &address)
        })
        .collect();
    assert_eq!(subnets.len(), OF_SOURCE, "one /48");
    drop(held);
    assert!(enter(&waits, (100, 100), "192.0.2.1").is_some());
}

#[test]
fn all_together_have_a_bound() {
    let waits = FollowupWaits::new();
    let address = |number: usize| {
        format!(
            "{}.{}.{}.1",
            1 + number % 100,
            number / 100 % 256,
            number / 25_600
        )
    };
    let held: Vec<_> = (0..5000_usize)
        .filter_map(|number| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            let address = address(number).parse().expect("an address");
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            waits.begin_wait(
                LoginId::from_random(bytes),
                MachinePublic::from_bytes(key),
                address,
            )
        })
        .collect();
    assert_eq!(held.len(), IN_ALL);
}
