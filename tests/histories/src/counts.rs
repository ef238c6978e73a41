//! What was asked and answered, counted: a test of random histories is worth as much as happens in them.

use std::{collections::BTreeMap, fmt};

use crate::call::{KeyAnswer, KeyCall};

/// How often each kind of call was answered in each way.
#[derive(Clone, Debug, Default)]
pub struct AnswerCounts(BTreeMap<String, usize>);

impl AnswerCounts {
    /// Counts an answer.
    pub(crate) fn add(&mut self, call: &KeyCall, answer: &KeyAnswer) {
        *self.0.entry(describe(call, answer)).or_default() += 1;
    }

    /// Adds what others counted.
    pub(crate) fn extend(&mut self, others: &Self) {
        for (kind, count) in &others.0 {
            *self.0.entry(kind.clone()).or_default() += count;
        }
    }

    /// Returns how many calls were made.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Returns how often something happened, given by a part of its name.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        let named = self.0.iter().filter(|(kind, _)| kind.contains(part));
        named.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for AnswerCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.0 {
            writeln!(formatter, "{count:7} {kind}")?;
        }
        Ok(())
    }
}

fn describe(call: &KeyCall, answer: &KeyAnswer) -> String {
    let answer = match answer {
        KeyAnswer::Registered { .. } => "Registered".to_owned(),
        KeyAnswer::KeyExpired { id: Some(_) } => "KeyExpired".to_owned(),
        KeyAnswer::KeyExpired { id: None } => "KeyRetired".to_owned(),
        KeyAnswer::LoginNeeded(_) => "LoginNeeded".to_owned(),
        KeyAnswer::Ended(nodes) => format!("Ended({})", nodes.len().min(2)),
        other => format!("{other:?}"),
    };
    let call = match call {
        KeyCall::Register(call) if call.is_logout => "LogOut".to_owned(),
        KeyCall::OnNode(_, change) => format!("{change:?}"),
        other => format!("{other:?}"),
    };
    let name = call.split(['(', ' ']).next().unwrap_or_default();
    format!("{name}: {answer}")
}
