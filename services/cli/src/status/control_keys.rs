//! Which control keys the gateways have.

use std::collections::BTreeMap;

use bowline_proto::key_registry::v1::{ReportedControlKeys, ReportedKeyState};
use serde::Serialize;

use crate::output::Row;

/// A control key that a gateway has.
#[derive(Clone, Debug, Serialize)]
pub struct GatewayKey {
    transport: String,
    state: &'static str,
    public: String,
}

impl GatewayKey {
    /// Returns what a gateway says.
    pub fn list(reported: ReportedControlKeys) -> Vec<Self> {
        let keys = reported.keys.into_iter();
        let key = keys.map(|key| Self {
            state: match key.state() {
                ReportedKeyState::Prepared => "prepared",
                ReportedKeyState::Active => "active",
                ReportedKeyState::Old => "old",
                ReportedKeyState::Unspecified => "unknown",
            },
            transport: key.transport,
            public: key.public_key,
        });
        key.collect()
    }
}

/// At how many gateways a control key is, in each state, and at which it is not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeySpread {
    public: String,
    transport: String,
    prepared: usize,
    active: usize,
    old: usize,
    missing: Vec<String>,
}

impl KeySpread {
    /// Finds where each key is, at gateways named by their addresses. One that does not say has none.
    pub fn list<'g>(
        gateways: impl Iterator<Item = (&'g str, Option<&'g [GatewayKey]>)>,
    ) -> Vec<Self> {
        let gateways: Vec<_> = gateways.collect();
        let mut found = BTreeMap::<(&str, &str), Self>::new();
        for key in gateways.iter().filter_map(|(_, keys)| *keys).flatten() {
            let place = (key.transport.as_str(), key.public.as_str());
            let spread = found.entry(place).or_default();
            match key.state {
                "prepared" => spread.prepared += 1,
                "active" => spread.active += 1,
                _ => spread.old += 1,
            }
        }
        let complete = found.into_iter().map(|((transport, public), spread)| {
            let has = |keys: &&[GatewayKey]| keys.iter().any(|key| key.public == public);
            let missing = gateways
                .iter()
                .filter(|(_, keys)| !keys.as_ref().is_some_and(has));
            Self {
                public: public.to_owned(),
                transport: transport.to_owned(),
                missing: missing.map(|(address, _)| (*address).to_owned()).collect(),
                ..spread
            }
        });
        let mut list: Vec<_> = complete.collect();
        // Noise first, as elsewhere, and what clients are offered before the rest.
        list.sort_by(|one, other| {
            let order = |spread: &Self| (spread.transport != "noise", usize::MAX - spread.active);
            order(one).cmp(&order(other))
        });
        list
    }
}

impl Row for KeySpread {
    const HEADS: &'static [&'static str] = &[
        "control key",
        "transport",
        "prepared at",
        "active at",
        "old at",
        "not at",
    ];
    const RARE: &'static [&'static str] = &["not at"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.public.clone(),
            self.transport.clone(),
            self.prepared.to_string(),
            self.active.to_string(),
            self.old.to_string(),
            self.missing.join(", "),
        ]
    }
}

#[cfg(test)]
mod tests;
