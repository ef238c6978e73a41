//! Histories: what happens in them, and how they are drawn at random.
//!
//! A step names machines, nodes and keys by their place among those that there are when its turn comes, so that a history
//! still makes sense when steps of it are left out.

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    call::{Machine, NewKey, UserNumber},
    model::{TailnetRules, USERS},
};

/// How many machines a history has.
pub const MACHINES: Machine = 3;

/// Something that happens, before it is known what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryStep {
    /// A client registers a key, with something to present.
    Register {
        machine: Machine,
        key: KeyPick,
        old: KeyPick,
        credential: CredentialPick,
        ephemeral: bool,
    },
    /// A client logs out.
    LogOut {
        machine: Machine,
        key: KeyPick,
    },
    MakeKey(NewKey),
    RevokeKey(usize),
    EndNodesOfKey(usize),
    ApproveLogin {
        login: usize,
        user: UserNumber,
    },
    SetSuspended {
        user: UserNumber,
        suspended: bool,
    },
    /// A key of a machine is signed for tailnet lock.
    Sign {
        machine: Machine,
        key: KeyPick,
    },
    OnNode {
        node: usize,
        change: NodeStep,
    },
}

/// A node key that a client names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPick {
    /// None; where one has to be named, a new one.
    New,
    /// One that a node of the machine has.
    Current(usize),
    /// One that its nodes ever had.
    Former(usize),
    /// One that another machine has or had.
    Foreign(usize),
}

/// What a client presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialPick {
    Nothing,
    PreAuthKey(usize),
    /// A login of the machine, for the key that it is of.
    Login(usize),
}

/// What happens to a node that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeStep {
    Expire,
    Delete,
    Approve,
    Deny,
    Disable,
    Enable,
    NeverExpire,
    ExpireAfter(i64),
    SetTag(u8),
    Rename(u8),
    /// An attribute that it has from then on, or no more.
    SetAttribute(Option<u8>),
    Connect,
    Disconnect,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It is made again, at the other replica, after it was answered.
    Again,
    /// It is made at both replicas at the same time.
    AtBoth,
    /// Its caller goes away after it has been looked at so often, and asks the other replica again.
    Lost(u8),
}

/// A moment of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What happens.
    pub step: HistoryStep,
    /// What happens at the same time.
    pub beside: Option<HistoryStep>,
    /// What goes wrong with the first of them.
    pub fault: Fault,
    /// Which replica is asked first.
    pub replica: usize,
}

/// A history of one tailnet; where there is nothing, time passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub rules: TailnetRules,
    pub moments: Vec<Option<Moment>>,
}

/// What a database's histories have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    /// Which batch this is.
    pub seed: u64,
    pub rounds: Vec<RoundPlan>,
}

/// One moment of all histories of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundPlan {
    /// How much time passes before it, in seconds.
    pub pause: i64,
    /// Whether what time ends has ended before anything else happens.
    pub is_swept: bool,
    /// The replica that crashes in it.
    pub crashing: Option<usize>,
    /// Whether what gateways would tell is compared with the model at its end.
    pub is_look: bool,
}

impl BatchPlan {
    /// Draws the plan of a batch.
    #[must_use]
    pub fn draw(seed: u64, rounds: usize) -> Self {
        let mut drawn = draw(seed, u64::MAX, &prop::collection::vec(round(), rounds));
        if let Some(last) = drawn.last_mut() {
            (last.is_look, last.is_swept) = (true, true);
        }
        Self {
            seed,
            rounds: drawn,
        }
    }

    /// Draws one of the histories that go with it.
    #[must_use]
    pub fn draw_history(&self, index: u64) -> History {
        let moments = prop::collection::vec(moment().prop_map(Some), self.rounds.len());
        let (rules, moments) = draw(self.seed, index, &(rules(), moments));
        History { rules, moments }
    }
}

fn draw<S: Strategy>(seed: u64, index: u64, strategy: &S) -> S::Value {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&index.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let tree = strategy.new_tree(&mut runner);
    tree.expect("no strategy here rejects").current()
}

fn rules() -> impl Strategy<Value = TailnetRules> {
    let lifetime = prop_oneof![Just(None), Just(Some(3_600)), Just(Some(86_400))];
    let drawn = (lifetime, any::<bool>(), prop::bool::weighted(0.3));
    drawn.prop_map(|(key_lifetime, machine_approval, locked)| TailnetRules {
        key_lifetime,
        machine_approval,
        locked,
    })
}

fn round() -> impl Strategy<Value = RoundPlan> {
    let pause = prop_oneof![6 => Just(20_i64), 2 => Just(1_800), 1 => Just(86_400)];
    let crashing = prop_oneof![9 => Just(None), 1 => (0..2_usize).prop_map(Some)];
    let drawn = (
        pause,
        prop::bool::weighted(0.3),
        crashing,
        prop::bool::weighted(0.1),
    );
    drawn.prop_map(|(pause, is_swept, crashing, is_look)| RoundPlan {
        pause,
        is_swept: is_swept || is_look,
        crashing,
        is_look,
    })
}

fn moment() -> impl Strategy<Value = Moment> {
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Again),
        1 => Just(Fault::AtBoth),
        2 => (1..16_u8).prop_map(Fault::Lost),
    ];
    let beside = prop::option::weighted(0.15, step());
    let drawn = (step(), beside, fault, 0..2_usize);
    drawn.prop_map(|(step, beside, fault, replica)| Moment {
        step,
        beside,
        fault,
        replica,
    })
}

fn step() -> impl Strategy<Value = HistoryStep> {
    let user = 0..USERS;
    prop_oneof![
        10 => registration(),
        2 => (0..MACHINES, any::<usize>()).prop_map(|(machine, place)| {
            let key = KeyPick::Current(place);
            HistoryStep::LogOut { machine, key }
        }),
        1 => (0..MACHINES, key_pick()).prop_map(|(machine, key)| HistoryStep::LogOut { machine, key }),
        2 => new_key().prop_map(HistoryStep::MakeKey),
        1 => any::<usize>().prop_map(HistoryStep::RevokeKey),
        1 => any::<usize>().prop_map(HistoryStep::EndNodesOfKey),
        2 => (any::<usize>(), user.clone())
            .prop_map(|(login, user)| HistoryStep::ApproveLogin { login, user }),
        2 => (user, prop::bool::weighted(0.3))
            .prop_map(|(user, suspended)| HistoryStep::SetSuspended { user, suspended }),
        3 => (0..MACHINES, prop_oneof![3 => any::<usize>().prop_map(KeyPick::Current), 1 => key_pick()])
            .prop_map(|(machine, key)| HistoryStep::Sign { machine, key }),
        12 => (any::<usize>(), node_step()).prop_map(|(node, change)| HistoryStep::OnNode { node, change }),
    ]
}

fn registration() -> impl Strategy<Value = HistoryStep> {
    let key = prop_oneof![6 => Just(KeyPick::New), 3 => key_pick()];
    let old = prop_oneof![3 => Just(KeyPick::New), 3 => any::<usize>().prop_map(KeyPick::Current), 1 => key_pick()];
    let credential = prop_oneof![
        6 => any::<usize>().prop_map(CredentialPick::PreAuthKey),
        2 => any::<usize>().prop_map(CredentialPick::Login),
        2 => Just(CredentialPick::Nothing),
    ];
    let drawn = (0..MACHINES, key, old, credential, prop::bool::weighted(0.1));
    drawn.prop_map(
        |(machine, key, old, credential, ephemeral)| HistoryStep::Register {
            machine,
            key,
            old,
            credential,
            ephemeral,
        },
    )
}

fn key_pick() -> impl Strategy<Value = KeyPick> {
    prop_oneof![
        any::<usize>().prop_map(KeyPick::Current),
        any::<usize>().prop_map(KeyPick::Former),
        any::<usize>().prop_map(KeyPick::Foreign),
    ]
}

fn new_key() -> impl Strategy<Value = NewKey> {
    let owner = prop_oneof![
        3 => (0..USERS).prop_map(|user| (Some(user), None)),
        1 => (0..2_u8).prop_map(|tag| (None, Some(tag))),
        1 => (0..USERS, 0..2_u8).prop_map(|(user, tag)| (Some(user), Some(tag))),
    ];
    let lifetime = prop_oneof![Just(600_i64), Just(7 * 86_400)];
    let kinds = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
    (owner, kinds, lifetime).prop_map(|((user, tag), kinds, lifetime)| {
        let (reusable, ephemeral, pre_approved) = kinds;
        NewKey {
            user,
            tag,
            reusable,
            ephemeral,
            pre_approved,
            lifetime,
        }
    })
}

fn node_step() -> impl Strategy<Value = NodeStep> {
    prop_oneof![
        2 => Just(NodeStep::Expire),
        1 => Just(NodeStep::Delete),
        3 => Just(NodeStep::Approve),
        2 => Just(NodeStep::Deny),
        2 => Just(NodeStep::Disable),
        2 => Just(NodeStep::Enable),
        1 => Just(NodeStep::NeverExpire),
        1 => (60..100_000_i64).prop_map(NodeStep::ExpireAfter),
        2 => (0..2_u8).prop_map(NodeStep::SetTag),
        1 => (0..2_u8).prop_map(NodeStep::Rename),
        1 => proptest::option::of(0..2_u8).prop_map(NodeStep::SetAttribute),
        3 => Just(NodeStep::Connect),
        1 => Just(NodeStep::Disconnect),
    ]
}
