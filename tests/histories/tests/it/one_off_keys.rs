//! A one-off key lets in one machine, however many try it at once at two replicas, and however many answers are lost.

use std::collections::BTreeSet;

use bowline_histories::{
    CallPath, KeyAnswer, KeyCall, NewKey, PresentedCredential, RegisterCall, TailnetRules,
    TestReplicas, TestedTailnet,
};
use bowline_proto::key_registry::v1::RefusalReason;
use bowline_test_servers::{choose_size, on_both};
use futures_util::future::join_all;

/// How many machines try a key.
const MACHINES: u8 = 64;
/// How many keys one tailnet has.
const KEYS: usize = 50;

const ONE_OFF: NewKey = NewKey {
    user: Some(0),
    tag: None,
    reusable: false,
    ephemeral: false,
    pre_approved: false,
    lifetime: 3_600,
};
const RULES: TailnetRules = TailnetRules {
    key_lifetime: None,
    machine_approval: false,
    locked: false,
};

on_both!(TestReplicas::start => one_off_key_lets_in_one_of_64_machines);

async fn one_off_key_lets_in_one_of_64_machines(services: TestReplicas) {
    let rounds = choose_size(20, 1_000);
    let mut lost = 0;
    for first in (0..rounds).step_by(KEYS) {
        let name = format!("keys-{first}");
        let mut tailnet = TestedTailnet::create(&services, RULES, &name).await;
        for key in 0..KEYS.min(rounds - first) {
            lost += try_key(&services, &mut tailnet, key).await;
        }
    }
    println!("{rounds} keys, {MACHINES} machines each: {lost} answers were lost");
}

/// Lets all machines try a new key at once; returns how many answers were lost.
async fn try_key(services: &TestReplicas, tailnet: &mut TestedTailnet, key: usize) -> usize {
    // Only so many new nodes of a user are let in within a second.
    services.advance(2);
    for tries in 0..100 {
        match tailnet.make_key(services, key, ONE_OFF, key % 2).await {
            KeyAnswer::Lost => services.wait_for_next_try(tries).await,
            made => {
                assert_eq!(made, KeyAnswer::Done);
                break;
            }
        }
    }
    let tailnet = &*tailnet;
    let register = |machine: u8| {
        let number = u32::try_from(key).unwrap() * u32::from(MACHINES) + u32::from(machine);
        KeyCall::Register(RegisterCall {
            machine,
            node_key: number,
            old_key: None,
            credential: PresentedCredential::PreAuthKey(key),
            ephemeral: false,
            is_logout: false,
        })
    };
    let trying = (0..MACHINES).map(|machine| async move {
        let path = path_of(machine, key);
        let call = register(machine);
        ask_until_answered(services, tailnet, &call, path).await
    });
    let (answers, lost): (Vec<_>, Vec<_>) = join_all(trying).await.into_iter().unzip();
    let mut let_in = BTreeSet::new();
    for answer in &answers {
        match answer {
            KeyAnswer::Registered { id, .. } => drop(let_in.insert(*id)),
            other => assert_eq!(*other, KeyAnswer::Refused(RefusalReason::PreAuthKeyUsed)),
        }
    }
    assert_eq!(let_in.len(), 1, "one machine is let in: {answers:?}");
    let registered = |answer: &&KeyAnswer| matches!(answer, KeyAnswer::Registered { .. });
    assert_eq!(answers.iter().filter(registered).count(), 1);
    let seen = tailnet.observe(services, key % 2).await.unwrap();
    assert_eq!(seen.nodes.len(), key + 1, "every key makes one node");
    let id = tailnet.key_id(key);
    let used = seen.keys.iter().find(|key| key.id == id).unwrap();
    assert_eq!(used.uses, 1);
    // Whoever asks once more is told the same.
    for machine in [0, MACHINES / 2, MACHINES - 1] {
        let path = CallPath {
            replica: 0,
            looks: None,
        };
        let again = tailnet.ask(services, &register(machine), path).await;
        assert_eq!(again, answers[usize::from(machine)]);
    }
    lost.into_iter().sum()
}

/// Half of the machines ask each replica, and half of them go away in the middle, some sooner, some later.
fn path_of(machine: u8, key: usize) -> CallPath {
    let looks = (usize::from(machine) * 7 + key) % 32;
    CallPath {
        replica: usize::from(machine % 2),
        looks: u8::try_from(looks)
            .ok()
            .filter(|looks| (1..16).contains(looks)),
    }
}

async fn ask_until_answered(
    services: &TestReplicas,
    tailnet: &TestedTailnet,
    call: &KeyCall,
    mut path: CallPath,
) -> (KeyAnswer, usize) {
    // A database that is busy for some seconds answers nobody meanwhile: a client comes back, too.
    for lost in 0..100 {
        let answer = tailnet.ask(services, call, path).await;
        if answer != KeyAnswer::Lost {
            return (answer, lost);
        }
        services.wait_for_next_try(lost).await;
        path = path.next();
    }
    panic!("nobody answers {call:?}");
}
