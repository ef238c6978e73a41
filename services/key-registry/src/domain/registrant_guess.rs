//! What a new node is likely to be given: asked about in advance, so that the transaction need not look twice.

use super::{address_pool::AddressPair, hostname};

/// What a new node is likely to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrantGuess {
    /// The addresses where it is looked first for free ones.
    pub pair: Option<AddressPair>,
    /// The label of its hostname.
    pub label: String,
    /// The number that makes the label unique, should the label itself be another node's.
    pub number: u64,
}

impl RegistrantGuess {
    /// Returns a guess for a node of a hostname.
    pub fn new(pair: Option<AddressPair>, hostname: &str) -> Self {
        Self {
            pair,
            label: hostname::derive_label(hostname),
            number: 1,
        }
    }

    /// Returns the label with its number.
    pub fn numbered_label(&self) -> String {
        hostname::number_label(&self.label, self.number)
    }
}

#[cfg(test)]
mod tests;
