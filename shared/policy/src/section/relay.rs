//! `derpMap`: relays besides or instead of the server's own (policy section 2.1), written as clients read
//! them.

use std::collections::BTreeSet;

use jsonc_parser::ast::{Object, ObjectProp, Value};

use super::Reading;
use crate::document;

/// What the regions of a document are worth to clients.
#[derive(Debug, Default)]
struct Regions {
    /// Regions with a relay that can be a home.
    usable: BTreeSet<u32>,
    /// Regions of the server that are left out.
    left_out: BTreeSet<u32>,
}

/// The members of one object, the names clients know with their values.
type Members<'v> = Vec<(&'static str, &'v Value<'v>)>;

impl Reading<'_> {
    pub(super) fn derp_map(&mut self, value: &Value<'_>) {
        let Value::Object(object) = value else {
            self.refuse(value, "derpMap is an object");
            return;
        };
        let members = self.spelled(object, &DERP_MAP);
        let mut regions = Regions::default();
        let mut texts = Vec::new();
        if let Some(value) = found(&members, "HomeParams") {
            texts.push(format!("\"HomeParams\":{}", self.home_params(value)));
        }
        let listed = found(&members, "Regions").map(|value| self.derp_regions(value, &mut regions));
        texts.push(format!("\"Regions\":{{{}}}", listed.unwrap_or_default()));
        let omits = found(&members, "omitDefaultRegions");
        if let Some(value) = omits {
            texts.push(format!("\"omitDefaultRegions\":{}", document::json(value)));
        }
        let omits_all = matches!(omits, Some(Value::BooleanLit(literal)) if literal.value);
        if !regions.usable.is_empty() {
            // Clients have a home, whatever the server has.
        } else if omits_all {
            let message = "derpMap leaves clients without any relay: the regions of the server are omitted, and none here has a relay that can be a home";
            let hint = "name a region with a relay that is neither STUNOnly nor of a NoMeasureNoHome region, or take omitDefaultRegions away";
            self.refuse_from_now_on(value, message, hint);
        } else if !regions.left_out.is_empty() {
            let listed: Vec<_> = regions.left_out.iter().map(u32::to_string).collect();
            let message = format!(
                "derpMap takes regions away ({}) and adds none that can be a home",
                listed.join(", ")
            );
            let hint = "clients that are left without any relay can not reach each other where no direct path is found";
            self.warn(value, message, hint);
        }
        self.policy.derp_map = Some(format!("{{{}}}", texts.join(",")));
    }

    /// Returns what weighs in the choice of a home, as clients spell it.
    fn home_params(&mut self, value: &Value<'_>) -> String {
        let Value::Object(object) = value else {
            self.refuse(value, "HomeParams is an object");
            return "{}".to_owned();
        };
        let members = self.spelled(object, &[("RegionScore", Kind::Table)]);
        let Some(value) = found(&members, "RegionScore") else {
            return "{}".to_owned();
        };
        let mut scores = Vec::new();
        for (id, value, place) in self.reader.entries(value, &mut self.problems) {
            self.region_number("derpMap.HomeParams.RegionScore", id, place);
            if Kind::Decimal.fits(value) {
                scores.push(format!("\"{id}\":{}", document::json(value)));
            } else {
                self.refuse(value, format!("{id} is not {}", Kind::Decimal.words()));
            }
        }
        format!("{{\"RegionScore\":{{{}}}}}", scores.join(","))
    }

    fn derp_regions(&mut self, value: &Value<'_>, regions: &mut Regions) -> String {
        let mut texts = Vec::new();
        for (id, value, place) in self.reader.entries(value, &mut self.problems) {
            let number = self.region_number("derpMap.regions", id, place);
            let region = match value {
                // Null takes one of the server's away.
                Value::NullKeyword(_) => {
                    regions.left_out.extend(number);
                    "null".to_owned()
                }
                Value::Object(object) => self.derp_region(object, value, number, regions),
                other => {
                    self.refuse(other, "a region is an object, or null to leave it out");
                    continue;
                }
            };
            texts.push(format!("\"{id}\":{region}"));
        }
        texts.join(",")
    }

    /// Reads the number of a region.
    fn region_number(&mut self, table: &str, id: &str, place: usize) -> Option<u32> {
        let number = id.parse::<u32>().ok();
        let number = number.filter(|number| *number > 0 && number.to_string() == id);
        if number.is_none() {
            let message = format!("{table}: \"{id}\" is not the number of a region");
            self.problems.push(self.reader.problem_at(place, message));
        }
        number
    }

    /// Returns a region as clients spell it.
    fn derp_region(
        &mut self,
        object: &Object<'_>,
        value: &Value<'_>,
        number: Option<u32>,
        regions: &mut Regions,
    ) -> String {
        let members = self.spelled(object, &DERP_REGION);
        self.check_region_id(&members, value, number, "a region");
        let mut is_usable = false;
        let mut relays = Vec::new();
        let listed =
            found(&members, "Nodes").map_or_else(Vec::new, |value| self.objects(value, "a relay"));
        for (relay, place) in listed {
            let relay = self.spelled(relay, &DERP_NODE);
            self.check_region_id(&relay, place, number, "a relay");
            if found(&relay, "HostName").is_none_or(is_empty) {
                self.warn(
                    place,
                    "the relay has no HostName",
                    "clients can not connect to it",
                );
            } else {
                is_usable |= !is_true(found(&relay, "STUNOnly"));
            }
            relays.push(format!("{{{}}}", texts(&relay).join(",")));
        }
        if is_usable && !is_true(found(&members, "NoMeasureNoHome")) {
            regions.usable.extend(number);
        }
        let mut region = texts(&members);
        region.push(format!("\"Nodes\":[{}]", relays.join(",")));
        format!("{{{}}}", region.join(","))
    }

    /// Warns of a number that is not that of the region: clients look for the relay elsewhere, or nowhere.
    fn check_region_id(
        &mut self,
        members: &Members<'_>,
        place: &Value<'_>,
        number: Option<u32>,
        what: &str,
    ) {
        let said = match found(members, "RegionID") {
            Some(Value::NumberLit(number)) => number.value.parse().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| said != Some(*number)) {
            let message = format!("{what} of region {number} does not say \"RegionID\": {number}");
            let hint = "clients may not use it: write the number of the region";
            self.warn(place, message, hint);
        }
    }

    fn refuse_repeated(&mut self, property: &ObjectProp<'_>) {
        let message = format!("duplicate field: \"{}\"", property.name.as_str());
        let place = property.range.start;
        self.problems.push(self.reader.problem_at(place, message));
    }

    /// Returns the members of an object by the names clients know; null is the same as absent.
    fn spelled<'v>(
        &mut self,
        object: &'v Object<'v>,
        known: &[(&'static str, Kind)],
    ) -> Members<'v> {
        let mut spelled: Members<'v> = Vec::new();
        let mut seen = Vec::new();
        for property in &object.properties {
            let name = property.name.as_str();
            let named = known
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            let Some((known, kind)) = named else {
                let message = format!("unknown field: \"{name}\"");
                let place = property.range.start;
                self.problems.push(self.reader.problem_at(place, message));
                continue;
            };
            if seen.contains(known) {
                self.refuse_repeated(property);
                continue;
            }
            seen.push(*known);
            match &property.value {
                Value::NullKeyword(_) => {}
                value if kind.fits(value) => spelled.push((known, value)),
                value => self.refuse(value, format!("{name} is not {}", kind.words())),
            }
        }
        spelled
    }
}

fn found<'v>(members: &Members<'v>, name: &str) -> Option<&'v Value<'v>> {
    let found = members.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

fn is_true(value: Option<&Value<'_>>) -> bool {
    matches!(value, Some(Value::BooleanLit(literal)) if literal.value)
}

fn is_empty(value: &Value<'_>) -> bool {
    matches!(value, Value::StringLit(text) if text.value.trim().is_empty())
}

/// Returns members as clients spell them, without those that hold others.
fn texts(members: &Members<'_>) -> Vec<String> {
    let plain = members.iter().filter(|(name, _)| *name != "Nodes");
    plain
        .map(|(name, value)| format!("\"{name}\":{}", document::json(value)))
        .collect()
}

/// What a member of the relay map is.
#[derive(Clone, Copy)]
enum Kind {
    Switch,
    Text,
    Number {
        least: i64,
        most: i64,
    },
    Decimal,
    /// An object that is read apart.
    Table,
    /// An array that is read apart.
    List,
}

/// A region's number.
const REGION: Kind = Kind::Number {
    least: 1,
    most: 0xffff_ffff,
};
/// A port; zero stands for the usual one.
const PORT: Kind = Kind::Number {
    least: 0,
    most: 65_535,
};
/// A port, or none at all.
const PORT_OR_NONE: Kind = Kind::Number {
    least: -1,
    most: 65_535,
};

impl Kind {
    fn fits(self, value: &Value<'_>) -> bool {
        match (value, self) {
            (Value::BooleanLit(_), Self::Switch) | (Value::StringLit(_), Self::Text) => true,
            (Value::NumberLit(number), Self::Number { least, most }) => number
                .value
                .parse::<i64>()
                .is_ok_and(|number| (least..=most).contains(&number)),
            (Value::NumberLit(number), Self::Decimal) => {
                number.value.parse::<f64>().is_ok_and(f64::is_finite)
            }
            // Whoever reads them says what is wrong.
            (_, Self::Table | Self::List) => true,
            _ => false,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Number { least, most } => format!("a number from {least} to {most}"),
            Self::Decimal => "a number".to_owned(),
            Self::Table => "an object".to_owned(),
            Self::List => "an array".to_owned(),
        }
    }
}

/// Members of the map, of a region and of a relay, as clients spell them (protocol section 8.9).
const DERP_MAP: [(&str, Kind); 3] = [
    ("HomeParams", Kind::Table),
    ("Regions", Kind::Table),
    ("omitDefaultRegions", Kind::Switch),
];
const DERP_REGION: [(&str, Kind); 8] = [
    ("RegionID", REGION),
    ("RegionCode", Kind::Text),
    ("RegionName", Kind::Text),
    ("Latitude", Kind::Decimal),
    ("Longitude", Kind::Decimal),
    ("Avoid", Kind::Switch),
    ("NoMeasureNoHome", Kind::Switch),
    ("Nodes", Kind::List),
];
const DERP_NODE: [(&str, Kind); 12] = [
    ("Name", Kind::Text),
    ("RegionID", REGION),
    ("HostName", Kind::Text),
    ("CertName", Kind::Text),
    ("IPv4", Kind::Text),
    ("IPv6", Kind::Text),
    ("STUNPort", PORT_OR_NONE),
    ("STUNOnly", Kind::Switch),
    ("DERPPort", PORT),
    ("InsecureForTests", Kind::Switch),
    ("STUNTestIP", Kind::Text),
    ("CanPort80", Kind::Switch),
];
