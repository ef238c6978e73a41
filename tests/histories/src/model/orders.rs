//! Calls under way at the same time: which orders of them explain the answers.

use super::KeyModel;
use crate::call::{KeyAnswer, KeyCall};

/// Returns all models that are possible after calls that were under way at the same time. Each was done before or after
/// each other; one without answer was done, or not at all.
#[must_use]
pub fn explain_answers(models: &[KeyModel], made: &[(&KeyCall, &KeyAnswer)]) -> Vec<KeyModel> {
    let mut possible = Vec::new();
    if made.is_empty() {
        for model in models {
            add_new(&mut possible, model.clone());
        }
        return possible;
    }
    for first in 0..made.len() {
        let mut others = made.to_vec();
        let (call, answer) = others.remove(first);
        let after = explain_answer(models, call, answer);
        for model in explain_answers(&after, &others) {
            add_new(&mut possible, model);
        }
    }
    possible
}

fn explain_answer(models: &[KeyModel], call: &KeyCall, answer: &KeyAnswer) -> Vec<KeyModel> {
    let mut possible = Vec::new();
    for model in models {
        let mut after = model.clone();
        let verdict = after.answer(call);
        if *answer == KeyAnswer::Lost {
            add_new(&mut possible, model.clone());
            add_new(&mut possible, after);
        } else if after.accept_answer(&verdict, answer) {
            add_new(&mut possible, after);
        }
    }
    possible
}

fn add_new(models: &mut Vec<KeyModel>, model: KeyModel) {
    if !models.contains(&model) {
        models.push(model);
    }
}
