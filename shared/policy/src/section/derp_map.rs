//! `derpMap`: relays beside or in place of the server's own (policy section 2.1), in the spelling that clients read.

use std::collections::BTreeSet;

use jsonc_parser::ast::{Object, ObjectProp, Value};

use super::DocumentReader;
use crate::document;

/// The regions of a document, as far as they decide whether clients have a home.
#[derive(Debug, Default)]
struct DerpRegions {
    /// Regions with a relay that can be a home.
    usable: BTreeSet<u32>,
    /// Regions of the server that the document leaves out.
    left_out: BTreeSet<u32>,
}

/// The members of one object: the name in the clients' spelling, and the value.
type DerpMembers<'v> = Vec<(&'static str, &'v Value<'v>)>;

impl DocumentReader<'_> {
    pub(super) fn read_derp_map(&mut self, value: &Value<'_>) {
        let Value::Object(object) = value else {
            self.refuse(value, "derpMap is an object");
            return;
        };
        let members = self.read_derp_members(object, &DERP_MAP);
        let mut regions = DerpRegions::default();
        let mut texts = Vec::new();
        if let Some(value) = find_value(&members, "HomeParams") {
            texts.push(format!("\"HomeParams\":{}", self.read_home_params(value)));
        }
        let listed = find_value(&members, "Regions")
            .map(|value| self.read_derp_regions(value, &mut regions));
        texts.push(format!("\"Regions\":{{{}}}", listed.unwrap_or_default()));
        let omits = find_value(&members, "omitDefaultRegions");
        if let Some(value) = omits {
            texts.push(format!(
                "\"omitDefaultRegions\":{}",
                document::to_json(value)
            ));
        }
        let omits_all = matches!(omits, Some(Value::BooleanLit(literal)) if literal.value);
        if !regions.usable.is_empty() {
            // Clients have a home here, whatever the server offers.
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

    /// Returns the weights for the choice of a home, in the clients' spelling.
    fn read_home_params(&mut self, value: &Value<'_>) -> String {
        let Value::Object(object) = value else {
            self.refuse(value, "HomeParams is an object");
            return "{}".to_owned();
        };
        let members = self.read_derp_members(object, &[("RegionScore", DerpFieldKind::Table)]);
        let Some(value) = find_value(&members, "RegionScore") else {
            return "{}".to_owned();
        };
        let mut scores = Vec::new();
        for (id, value, place) in self.reader.read_entries(value, &mut self.problems) {
            self.read_region_number("derpMap.HomeParams.RegionScore", id, place);
            if DerpFieldKind::Decimal.accepts(value) {
                scores.push(format!("\"{id}\":{}", document::to_json(value)));
            } else {
                self.refuse(
                    value,
                    format!("{id} is not {}", DerpFieldKind::Decimal.describe()),
                );
            }
        }
        format!("{{\"RegionScore\":{{{}}}}}", scores.join(","))
    }

    fn read_derp_regions(&mut self, value: &Value<'_>, regions: &mut DerpRegions) -> String {
        let mut texts = Vec::new();
        for (id, value, place) in self.reader.read_entries(value, &mut self.problems) {
            let number = self.read_region_number("derpMap.regions", id, place);
            let region = match value {
                // Null leaves out a region of the server.
                Value::NullKeyword(_) => {
                    regions.left_out.extend(number);
                    "null".to_owned()
                }
                Value::Object(object) => self.read_derp_region(object, value, number, regions),
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
    fn read_region_number(&mut self, table: &str, id: &str, place: usize) -> Option<u32> {
        let number = id.parse::<u32>().ok();
        let number = number.filter(|number| *number > 0 && number.to_string() == id);
        if number.is_none() {
            let message = format!("{table}: \"{id}\" is not the number of a region");
            self.problems.push(self.reader.problem_at(place, message));
        }
        number
    }

    /// Returns a region in the clients' spelling.
    fn read_derp_region(
        &mut self,
        object: &Object<'_>,
        value: &Value<'_>,
        number: Option<u32>,
        regions: &mut DerpRegions,
    ) -> String {
        let members = self.read_derp_members(object, &DERP_REGION);
        self.check_region_id(&members, value, number, "a region");
        let mut is_usable = false;
        let mut relays = Vec::new();
        let listed = find_value(&members, "Nodes")
            .map_or_else(Vec::new, |value| self.read_objects(value, "a relay"));
        for (relay, place) in listed {
            let relay = self.read_derp_members(relay, &DERP_NODE);
            self.check_region_id(&relay, place, number, "a relay");
            if find_value(&relay, "HostName").is_none_or(is_empty) {
                self.warn(
                    place,
                    "the relay has no HostName",
                    "clients can not connect to it",
                );
            } else {
                is_usable |= !is_true(find_value(&relay, "STUNOnly"));
            }
            relays.push(format!("{{{}}}", write_members(&relay).join(",")));
        }
        if is_usable && !is_true(find_value(&members, "NoMeasureNoHome")) {
            regions.usable.extend(number);
        }
        let mut region = write_members(&members);
        region.push(format!("\"Nodes\":[{}]", relays.join(",")));
        format!("{{{}}}", region.join(","))
    }

    /// Warns when a region or relay does not repeat the number of its region: clients then look for the relay in another
    /// region, or nowhere.
    fn check_region_id(
        &mut self,
        members: &DerpMembers<'_>,
        place: &Value<'_>,
        number: Option<u32>,
        what: &str,
    ) {
        let said = match find_value(members, "RegionID") {
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

    /// Returns the members of an object in the clients' spelling; null is the same as absent.
    fn read_derp_members<'v>(
        &mut self,
        object: &'v Object<'v>,
        known: &[(&'static str, DerpFieldKind)],
    ) -> DerpMembers<'v> {
        let mut spelled: DerpMembers<'v> = Vec::new();
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
                value if kind.accepts(value) => spelled.push((known, value)),
                value => self.refuse(value, format!("{name} is not {}", kind.describe())),
            }
        }
        spelled
    }
}

fn find_value<'v>(members: &DerpMembers<'v>, name: &str) -> Option<&'v Value<'v>> {
    let found = members.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

fn is_true(value: Option<&Value<'_>>) -> bool {
    matches!(value, Some(Value::BooleanLit(literal)) if literal.value)
}

fn is_empty(value: &Value<'_>) -> bool {
    matches!(value, Value::StringLit(text) if text.value.trim().is_empty())
}

/// Writes members as JSON, without the list of relays, which is written apart.
fn write_members(members: &DerpMembers<'_>) -> Vec<String> {
    let plain = members.iter().filter(|(name, _)| *name != "Nodes");
    plain
        .map(|(name, value)| format!("\"{name}\":{}", document::to_json(value)))
        .collect()
}

/// The type of a member of the relay map.
#[derive(Clone, Copy)]
enum DerpFieldKind {
    Switch,
    Text,
    Number {
        least: i64,
        most: i64,
    },
    Decimal,
    /// An object that another function reads.
    Table,
    /// An array that another function reads.
    List,
}

/// A region's number.
const REGION: DerpFieldKind = DerpFieldKind::Number {
    least: 1,
    most: 0xffff_ffff,
};
/// A port; zero stands for the usual one.
const PORT: DerpFieldKind = DerpFieldKind::Number {
    least: 0,
    most: 65_535,
};
/// A port, or none at all.
const PORT_OR_NONE: DerpFieldKind = DerpFieldKind::Number {
    least: -1,
    most: 65_535,
};

impl DerpFieldKind {
    fn accepts(self, value: &Value<'_>) -> bool {
        match (value, self) {
            (Value::BooleanLit(_), Self::Switch) | (Value::StringLit(_), Self::Text) => true,
            (Value::NumberLit(number), Self::Number { least, most }) => number
                .value
                .parse::<i64>()
                .is_ok_and(|number| (least..=most).contains(&number)),
            (Value::NumberLit(number), Self::Decimal) => {
                number.value.parse::<f64>().is_ok_and(f64::is_finite)
            }
            // The function that reads them says what is wrong.
            (_, Self::Table | Self::List) => true,
            _ => false,
        }
    }

    fn describe(self) -> String {
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

/// The members of the map, of a region and of a relay, in the clients' spelling (protocol section 8.9).
const DERP_MAP: [(&str, DerpFieldKind); 3] = [
    ("HomeParams", DerpFieldKind::Table),
    ("Regions", DerpFieldKind::Table),
    ("omitDefaultRegions", DerpFieldKind::Switch),
];
const DERP_REGION: [(&str, DerpFieldKind); 8] = [
    ("RegionID", REGION),
    ("RegionCode", DerpFieldKind::Text),
    ("RegionName", DerpFieldKind::Text),
    ("Latitude", DerpFieldKind::Decimal),
    ("Longitude", DerpFieldKind::Decimal),
    ("Avoid", DerpFieldKind::Switch),
    ("NoMeasureNoHome", DerpFieldKind::Switch),
    ("Nodes", DerpFieldKind::List),
];
const DERP_NODE: [(&str, DerpFieldKind); 12] = [
    ("Name", DerpFieldKind::Text),
    ("RegionID", REGION),
    ("HostName", DerpFieldKind::Text),
    ("CertName", DerpFieldKind::Text),
    ("IPv4", DerpFieldKind::Text),
    ("IPv6", DerpFieldKind::Text),
    ("STUNPort", PORT_OR_NONE),
    ("STUNOnly", DerpFieldKind::Switch),
    ("DERPPort", PORT),
    ("InsecureForTests", DerpFieldKind::Switch),
    ("STUNTestIP", DerpFieldKind::Text),
    ("CanPort80", DerpFieldKind::Switch),
];
