//! Relays that the policy adds to the server's own or puts in their place.

use std::collections::BTreeMap;

use bowline_control_wire::{DerpHomeParams, DerpMap, DerpRegion};
use serde::Deserialize;

/// Relays besides or instead of the server's own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PolicyRelays {
    /// What weighs in the choice of a home, in place of what the server says.
    #[serde(rename = "HomeParams")]
    home_params: Option<DerpHomeParams>,
    /// Whether the server's own are left out.
    #[serde(rename = "omitDefaultRegions")]
    omit_default_regions: bool,
    /// Regions by number; `None` leaves one of the server's out.
    #[serde(rename = "Regions")]
    regions: BTreeMap<u32, Option<DerpRegion>>,
}

impl PolicyRelays {
    /// Reads what the compiler sends; an empty text is none.
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text)
    }

    /// Returns the relays as clients have to be told them that know others: weights that are not said stay.
    pub(super) fn keep_scores_of(mut self, before: &Self) -> Self {
        if before.home_params.is_some() {
            self.home_params.get_or_insert_default();
        }
        self
    }

    /// Returns the map clients are told, given the server's own.
    #[must_use]
    pub fn merge_into(&self, own: &DerpMap) -> DerpMap {
        let mut map = own.clone();
        if self.omit_default_regions {
            map.regions.clear();
        }
        match &self.home_params {
            Some(params) if params.region_score.is_empty() => {
                map.home_params.get_or_insert_default();
            }
            Some(params) => map.home_params = Some(params.clone()),
            None => {}
        }
        for (id, region) in &self.regions {
            match region {
                Some(region) => map.regions.insert(*id, region.clone()),
                None => map.regions.remove(id),
            };
        }
        map
    }
}

#[cfg(test)]
mod tests;
