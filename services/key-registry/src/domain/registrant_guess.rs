//! What a new node is likely to be given: asked about in advance, so that the transaction need not look twice.

use super::{
    address_pool::{AddressPair, AddressPool},
    hostname,
};

/// What a new node is likely to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrantGuess {
    /// The place in the tailnet's address pool from which on none was given.
    pub next_place: u32,
    /// The addresses at the first place from there on that may be given.
    pub pair: Option<AddressPair>,
    /// The label of its hostname.
    pub label: String,
    /// The number that makes the label unique, should the label itself be another node's.
    pub number: u64,
}

impl RegistrantGuess {
    /// Returns a guess for a node of a hostname.
    pub fn new(pool: Option<AddressPool>, next_place: u32, hostname: &str) -> Self {
        let place = |pool: AddressPool| pool.pair_at(pool.next_place(next_place)?);
        Self {
            next_place,
            pair: pool.and_then(place),
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
