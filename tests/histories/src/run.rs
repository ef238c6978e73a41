//! The run of one history: calls are made, and what is answered and seen is compared with the model.
//!
//! Calls that are under way at the same time may be done in either order, and a call whose answer is lost may be done or
//! not. So there is not one model but all that are still possible. A history fails when none is left.

use futures_util::future::join_all;

use crate::{
    call::{KeyAnswer, KeyCall, NewKey},
    compare::{TailnetLedger, check_offered, compare_registry, compare_told},
    counts::AnswerCounts,
    gateway_copy::GatewayCopy,
    history::{Fault, History, Moment, RoundPlan},
    lock,
    model::{KeyModel, explain_answers},
    planted::PlantedBug,
    resolve::NewNumbers,
    services::TestReplicas,
    tailnet::{CallPath, TestedTailnet},
};

/// How often a call is made again whose answer is lost.
const MOST_TRIES: usize = 100;
/// The keys that every history begins with: one for every machine of the first user, one for one machine of the second.
const STARTING_KEYS: [NewKey; 2] = [starting_key(0, true), starting_key(1, false)];

const fn starting_key(user: u8, reusable: bool) -> NewKey {
    NewKey {
        user: Some(user),
        tag: None,
        reusable,
        ephemeral: false,
        pre_approved: false,
        lifetime: 60 * 86_400,
    }
}

/// Why a history fails.
#[derive(Clone, Debug)]
pub struct HistoryFailure {
    /// In which round.
    pub round: usize,
    /// What is wrong.
    pub text: String,
}

/// A history under way.
pub struct HistoryRun<'s> {
    services: &'s TestReplicas,
    bug: Option<PlantedBug>,
    history: History,
    tailnet: TestedTailnet,
    numbers: NewNumbers,
    /// All that are still possible.
    models: Vec<KeyModel>,
    ledger: TailnetLedger,
    /// Copies of two gateways: one follows at once, one when it is looked at.
    copies: [GatewayCopy; 2],
    counts: AnswerCounts,
    /// Whether a user was suspended, or not any more, since the first copy followed identity's log.
    is_identity_ahead: bool,
    failure: Option<HistoryFailure>,
}

impl<'s> HistoryRun<'s> {
    /// Makes the tailnet of a history, with keys that let clients in.
    pub async fn start(
        services: &'s TestReplicas,
        name: String,
        history: History,
        bug: Option<PlantedBug>,
    ) -> Self {
        let tailnet = TestedTailnet::create(services, history.rules, &name).await;
        let mut copies = [
            GatewayCopy::start(services, tailnet.id).await,
            GatewayCopy::start(services, tailnet.id).await,
        ];
        for copy in &mut copies {
            copy.follow_identity(services).await.unwrap();
        }
        let mut run = Self {
            services,
            bug,
            models: vec![KeyModel::new(services.now(), history.rules)],
            history,
            tailnet,
            numbers: NewNumbers::default(),
            ledger: TailnetLedger::default(),
            copies,
            counts: AnswerCounts::default(),
            is_identity_ahead: false,
            failure: None,
        };
        if run.history.rules.locked {
            let signer = lock::switch_on(services, &run.tailnet).await;
            run.models[0].add_signer(signer);
        }
        for made in STARTING_KEYS {
            let number = run.numbers.next_pre_auth_key();
            run.make_key(KeyCall::MakeKey(number, made), 0)
                .await
                .unwrap();
        }
        run
    }

    /// Returns why the history failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&HistoryFailure> {
        self.failure.as_ref()
    }

    /// Returns what was answered how often.
    #[must_use]
    pub fn counts(&self) -> &AnswerCounts {
        &self.counts
    }

    /// Returns the ids of all nodes that there ever were.
    pub fn node_ids(&self) -> impl Iterator<Item = u64> {
        self.ledger.node_ids()
    }

    /// Lets the clocks of the models go on.
    pub fn note_time(&mut self) {
        for model in &mut self.models {
            model.now = self.services.now();
        }
    }

    /// Makes the calls of a round. In it one replica may crash.
    pub async fn act(&mut self, round: usize, plan: RoundPlan) {
        let moment = self.history.moments[round].clone();
        if self.failure.is_none()
            && let Some(moment) = moment
            && let Err(text) = self.act_out(&moment, plan).await
        {
            self.failure = Some(HistoryFailure { round, text });
        }
    }

    async fn act_out(&mut self, moment: &Moment, plan: RoundPlan) -> Result<(), String> {
        let model = &self.models[0];
        let call = self.numbers.resolve_step(&moment.step, model);
        let beside = moment.beside.as_ref();
        let beside = beside.and_then(|step| self.numbers.resolve_step(step, model));
        let (own, other) = (moment.replica, 1 - moment.replica);
        let mut group = Vec::new();
        if let Some(call) = &call {
            let looks = match moment.fault {
                Fault::Lost(looks) => Some(looks),
                _ => None,
            };
            let replica = own;
            group.push((call.clone(), CallPath { replica, looks }));
        }
        let looks = None;
        if let (Some(call), Fault::AtBoth) = (&call, moment.fault) {
            let replica = other;
            group.push((call.clone(), CallPath { replica, looks }));
        }
        if let Some(beside) = beside {
            let replica = other;
            group.push((beside, CallPath { replica, looks }));
        }
        // A key whose answer is lost would be one that nobody knows: it is made by itself, where nothing crashes.
        let is_new_key = |made: &(KeyCall, CallPath)| matches!(made.0, KeyCall::MakeKey(..));
        let (mut new_keys, group): (Vec<_>, Vec<_>) = group.into_iter().partition(is_new_key);
        new_keys.dedup_by(|one, other| one.0 == other.0);
        for (call, path) in new_keys {
            let replica = plan.crashing.map_or(path.replica, |crashing| 1 - crashing);
            self.make_key(call, replica).await?;
        }
        self.make_calls(group).await?;
        if let (Some(call), Fault::Again) = (call, moment.fault)
            && !matches!(call, KeyCall::MakeKey(..))
        {
            let replica = other;
            self.make_calls(vec![(call, CallPath { replica, looks })])
                .await?;
        }
        self.look_at_registry(own).await
    }

    async fn make_key(&mut self, call: KeyCall, replica: usize) -> Result<(), String> {
        let KeyCall::MakeKey(number, made) = &call else {
            return Ok(());
        };
        let answer = self
            .tailnet
            .make_key(self.services, *number, *made, replica)
            .await;
        self.counts.add(&call, &answer);
        self.explain(&[(call, answer)])
    }

    /// Makes calls at the same time, and again those whose answers are lost.
    async fn make_calls(&mut self, mut group: Vec<(KeyCall, CallPath)>) -> Result<(), String> {
        for tries in 0..MOST_TRIES {
            if let Some(bug) = self.bug {
                for (call, _) in &group {
                    bug.prepare_call(self.services, &self.tailnet, call).await;
                }
            }
            let is_of_identity =
                |(call, _): &(KeyCall, _)| matches!(call, KeyCall::SetSuspended { .. });
            self.is_identity_ahead |= group.iter().any(is_of_identity);
            let (services, tailnet) = (self.services, &self.tailnet);
            let asking = group
                .iter()
                .map(|(call, path)| tailnet.ask(services, call, *path));
            let mut answers = join_all(asking).await;
            for ((call, _), answer) in group.iter().zip(&mut answers) {
                if let Some(bug) = self.bug {
                    bug.finish_call(self.services, &self.tailnet, call).await;
                    bug.alter_answer(&self.tailnet, call, answer);
                }
                self.counts.add(call, answer);
                self.check_key(call, answer)?;
            }
            let calls = group.iter().map(|(call, _)| call.clone());
            let made: Vec<_> = calls.zip(answers).collect();
            self.explain(&made)?;
            let lost = made.into_iter().zip(group);
            let lost = lost.filter(|((_, answer), _)| *answer == KeyAnswer::Lost);
            group = lost
                .map(|((call, _), (_, path))| (call, path.next()))
                .collect();
            if group.is_empty() {
                return Ok(());
            }
            self.services.wait_for_next_try(tries).await;
            for replica in 0..2 {
                // One that has crashed has nothing under way.
                drop(self.tailnet.settle(self.services, replica).await);
            }
        }
        Err(format!("nobody answers {group:?}"))
    }

    fn check_key(&self, call: &KeyCall, answer: &KeyAnswer) -> Result<(), String> {
        match (call, answer) {
            (KeyCall::Register(call), KeyAnswer::Registered { node_key, .. })
                if *node_key != self.tailnet.node_key(call.node_key) =>
            {
                Err(format!("{call:?} is answered with the key {node_key:?}"))
            }
            _ => Ok(()),
        }
    }

    fn explain(&mut self, made: &[(KeyCall, KeyAnswer)]) -> Result<(), String> {
        let listed: Vec<_> = made.iter().map(|(call, answer)| (call, answer)).collect();
        let possible = explain_answers(&self.models, &listed);
        if !possible.is_empty() {
            self.models = possible;
            self.models.iter_mut().for_each(KeyModel::end_calls);
            return Ok(());
        }
        let mut text = String::from("no order explains:");
        for (call, answer) in made {
            let expected = self.models[0].clone().answer(call);
            text +=
                &format!("\n    {call:?}\n        is answered {answer:?}, expected {expected:?}");
        }
        Err(text + &format!("\n    in {:?}", self.models[0]))
    }

    /// Compares what there is with the models, and what a gateway offers.
    async fn look_at_registry(&mut self, replica: usize) -> Result<(), String> {
        let first = self.tailnet.observe(self.services, replica).await;
        let seen = match first {
            Ok(seen) => Ok(seen),
            Err(_) => self.tailnet.observe(self.services, 1 - replica).await,
        };
        let mut seen = seen.map_err(|status| status.to_string())?;
        if let Some(bug) = self.bug {
            bug.alter_nodes(&mut seen);
        }
        self.ledger.note_nodes(&seen)?;
        let mut differences = Vec::new();
        let tailnet = &self.tailnet;
        self.models
            .retain_mut(|model| match compare_registry(model, &seen, tailnet) {
                Ok(()) => true,
                Err(difference) => {
                    differences.push(difference);
                    false
                }
            });
        // Once the ids are known, models that differed in those alone are the same.
        let mut models = std::mem::take(&mut self.models);
        models.dedup();
        self.models = models;
        if self.models.is_empty() {
            return Err(differences.join("\n    or: "));
        }
        if self.is_identity_ahead {
            self.follow_identity(0).await?;
            self.is_identity_ahead = false;
        }
        self.follow(0, replica).await?;
        self.check_any(|copies, model, tailnet| check_offered(&copies[0], model, tailnet))
    }

    async fn follow_identity(&mut self, copy: usize) -> Result<(), String> {
        let followed = self.copies[copy].follow_identity(self.services).await;
        followed.map_err(|status| status.to_string())
    }

    /// Lets a gateway's copy follow the registry's log, without waiting for the policy.
    async fn follow(&mut self, copy: usize, replica: usize) -> Result<(), String> {
        let (services, bug) = (self.services, self.bug);
        let copy = &mut self.copies[copy];
        let alter = |node: &mut _| {
            if let Some(bug) = bug {
                bug.alter_entry(node);
            }
        };
        let followed = match copy.follow_registry(services, replica, alter).await {
            Ok(()) => Ok(()),
            Err(_) => copy.follow_registry(services, 1 - replica, alter).await,
        };
        followed.map_err(|status| status.to_string())
    }

    /// Compares what two gateways tell all clients.
    pub async fn look(&mut self, round: usize) {
        if self.failure.is_none()
            && let Err(text) = self.compare_with_gateways(round).await
        {
            self.failure = Some(HistoryFailure { round, text });
        }
    }

    async fn compare_with_gateways(&mut self, round: usize) -> Result<(), String> {
        // The sweep has marked what time has ended.
        self.look_at_registry(round % 2).await?;
        for copy in 0..self.copies.len() {
            self.follow_identity(copy).await?;
            self.follow(copy, copy).await?;
            self.copies[copy].follow_policy().await;
        }
        self.check_any(|copies, model, tailnet| {
            copies
                .iter()
                .try_for_each(|copy| compare_told(copy, model, tailnet))
        })
    }

    /// Checks that something is right by one of the models.
    fn check_any(
        &self,
        check: impl Fn(&[GatewayCopy], &KeyModel, &TestedTailnet) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut last = Ok(());
        for model in &self.models {
            last = check(&self.copies, model, &self.tailnet);
            if last.is_ok() {
                break;
            }
        }
        last
    }
}
