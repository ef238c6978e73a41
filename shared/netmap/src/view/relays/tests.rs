use bowline_proto::policy::v1::CompiledUpdate;

use super::*;
use crate::{change_set::ChangeSet, view::CompiledPolicy};

#[test]
fn weights_of_homes_are_those_of_the_policy_and_taken_back_with_it() {
    let mut compiled = CompiledPolicy::default();
    let own = DerpMap {
        home_params: Some(DerpHomeParams {
            region_score: BTreeMap::from([(1, 0.5)]),
        }),
        ..DerpMap::default()
    };
    let mut scores = |text: &str, own: &DerpMap| {
        let update = CompiledUpdate {
            derp_map: Some(text.to_owned()),
            ..CompiledUpdate::default()
        };
        compiled.apply_update(update, &mut ChangeSet::default());
        let told = compiled.relays.merge_into(own).home_params;
        told.map(|params| params.region_score.into_iter().collect::<Vec<_>>())
    };
    let none = DerpMap::default();
    assert_eq!(scores(r#"{"Regions":{}}"#, &none), None);
    let weighed = r#"{"HomeParams":{"RegionScore":{"901":2.5}},"Regions":{}}"#;
    assert_eq!(scores(weighed, &own), Some(vec![(901, 2.5)]));
    assert_eq!(scores("", &none), Some(Vec::new()));
    assert_eq!(scores("", &own), Some(vec![(1, 0.5)]));
}

#[test]
fn relays_that_can_not_be_read_leave_those_clients_have() {
    let mut compiled = CompiledPolicy::default();
    let mut relays = |text: &str| {
        let update = CompiledUpdate {
            derp_map: Some(text.to_owned()),
            ..CompiledUpdate::default()
        };
        let mut changes = ChangeSet::default();
        compiled.apply_update(update, &mut changes);
        (compiled.relays.regions.len(), changes.everything)
    };
    let one = r#"{"Regions":{"900":{"RegionID":900}}}"#;
    assert_eq!(relays(one), (1, true));
    assert_eq!(relays(r#"{"Regions":{"900":{"RegionID":-1}}}"#), (1, false));
    assert_eq!(relays(one), (1, false));
    assert_eq!(relays(""), (0, true));
}
