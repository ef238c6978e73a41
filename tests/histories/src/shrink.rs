//! Shorter histories that fail as well.

use crate::{
    batch::run_batch,
    history::{BatchPlan, Fault, History, Moment},
    planted::PlantedBug,
    run::HistoryFailure,
    services::TestReplicas,
};

/// How often a history is made shorter.
const MOST_PASSES: usize = 20;

/// A history that fails, and how.
#[derive(Clone, Debug)]
pub struct FailingHistory {
    /// What all histories of its database have in common.
    pub plan: BatchPlan,
    /// The history.
    pub history: History,
    /// Why it fails.
    pub failure: HistoryFailure,
}

impl FailingHistory {
    /// Returns what happens, with the time at which it does.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("{:?}\n", self.history.rules);
        let mut seconds = 0;
        for (plan, moment) in self.plan.rounds.iter().zip(&self.history.moments) {
            seconds += plan.pause;
            let swept = if plan.is_swept { ", swept" } else { "" };
            let crash = plan.crashing.map_or_else(String::new, |replica| {
                format!(", replica {replica} crashes")
            });
            if let Some(moment) = moment {
                text += &format!("after {seconds} s{swept}{crash}: {moment:?}\n");
            }
        }
        text + &format!("round {}: {}", self.failure.round, self.failure.text)
    }

    /// Returns how many calls it has at least.
    #[must_use]
    pub fn count_moments(&self) -> usize {
        self.history.moments.iter().flatten().count()
    }

    /// Leaves out what comes after the failure.
    fn cut(&mut self) {
        let rounds = self.failure.round + 1;
        self.history.moments.truncate(rounds);
        self.plan.rounds.truncate(rounds);
    }
}

/// Makes a failing history as short as it gets, on services of its own. All that are a bit shorter are tried at once.
pub async fn shrink(
    services: &TestReplicas,
    found: FailingHistory,
    bug: Option<PlantedBug>,
) -> FailingHistory {
    let mut best = found;
    for pass in 0..MOST_PASSES {
        best.cut();
        let candidates = simplify(&best.history);
        let name = format!("shrink-{pass}");
        let outcome = run_batch(services, &best.plan, &name, candidates.clone(), bug).await;
        let failing = candidates.into_iter().zip(outcome.failures);
        let failing = failing.filter_map(|(history, failure)| Some((history, failure?)));
        // The first of the shortest, for the ways are ordered by what they leave out.
        let Some((history, failure)) = failing.min_by_key(|(history, _)| weight(history)) else {
            break;
        };
        (best.history, best.failure) = (history, failure);
    }
    best.cut();
    best
}

/// Returns how much a history has: moments first, then what is beside and goes wrong.
fn weight(history: &History) -> (usize, usize) {
    let moments = || history.moments.iter().flatten();
    let more = |moment: &Moment| {
        usize::from(moment.beside.is_some()) + usize::from(moment.fault != Fault::None)
    };
    let rules = usize::from(history.rules.machine_approval)
        + usize::from(history.rules.locked)
        + usize::from(history.rules.key_lifetime.is_some());
    (
        moments().count(),
        moments().map(more).sum::<usize>() + rules,
    )
}

/// Returns histories that have a bit less.
fn simplify(history: &History) -> Vec<History> {
    let active: Vec<_> = (0..history.moments.len())
        .filter(|round| history.moments[*round].is_some())
        .collect();
    let mut simpler = Vec::new();
    let mut size = active.len().div_ceil(2);
    while size > 0 {
        for left_out in active.chunks(size) {
            let mut shorter = history.clone();
            for round in left_out {
                shorter.moments[*round] = None;
            }
            simpler.push(shorter);
        }
        size /= 2;
    }
    for round in active {
        let Some(moment) = &history.moments[round] else {
            continue;
        };
        for moment in simpler_moments(moment) {
            let mut plainer = history.clone();
            plainer.moments[round] = Some(moment);
            simpler.push(plainer);
        }
    }
    let mut plainer = history.clone();
    plainer.rules.machine_approval = false;
    simpler.push(plainer);
    let mut plainer = history.clone();
    plainer.rules.locked = false;
    simpler.push(plainer);
    let mut plainer = history.clone();
    plainer.rules.key_lifetime = None;
    simpler.push(plainer);
    simpler.retain(|simpler| simpler != history);
    simpler
}

fn simpler_moments(moment: &Moment) -> Vec<Moment> {
    let mut simpler = Vec::new();
    if let Some(beside) = &moment.beside {
        let without = Moment {
            beside: None,
            ..moment.clone()
        };
        let alone = Moment {
            step: beside.clone(),
            ..without.clone()
        };
        simpler.extend([without, alone]);
    }
    if moment.fault != Fault::None {
        simpler.push(Moment {
            fault: Fault::None,
            ..moment.clone()
        });
    }
    simpler
}
