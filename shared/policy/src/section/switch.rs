//! Switches of the whole tailnet (policy reference sections 2.1 and 17.5).

use jsonc_parser::ast::{Object, ObjectProp, Value};

use super::{Reading, member};
use crate::document;

impl Reading<'_> {
    pub(super) fn randomize_client_port(&mut self, value: &Value<'_>) {
        self.policy.switches.randomize_client_port = self.reader.boolean(value, &mut self.problems);
    }

    pub(super) fn one_cgnat_route(&mut self, value: &Value<'_>) {
        match self.reader.string(value, &mut self.problems) {
            Some("mac-always") => self.policy.switches.one_cgnat_route = Some(true),
            Some("mac-never") => self.policy.switches.one_cgnat_route = Some(false),
            Some("") | None => {}
            Some(other) => {
                let message = format!("OneCGNATRoute=\"{other}\" is not supported");
                self.refuse_with_hint(value, message, "\"mac-always\", \"mac-never\" or \"\"");
            }
        }
    }

    pub(super) fn derp_map(&mut self, value: &Value<'_>) {
        let Value::Object(object) = value else {
            self.refuse(value, "derpMap is an object");
            return;
        };
        let members = self.spelled(object, &DERP_MAP, &["regions"]);
        let mut map: Vec<_> = members.into_iter().collect();
        let known = self.reader.members(
            object,
            &["omitDefaultRegions", "regions"],
            &mut self.problems,
        );
        let mut regions = Vec::new();
        if let Some(value) = member(&known, &["regions"]) {
            for (id, value, place) in self.reader.entries(value, &mut self.problems) {
                let number = id.parse::<u32>().ok().filter(|number| *number > 0);
                if number.is_none_or(|number| number.to_string() != id) {
                    let message =
                        format!("derpMap.regions: \"{id}\" is not the number of a region");
                    self.problems.push(self.reader.problem_at(place, message));
                }
                regions.push(format!("\"{id}\":{}", self.derp_region(value)));
            }
        }
        map.push(format!("\"Regions\":{{{}}}", regions.join(",")));
        self.policy.derp_map = Some(format!("{{{}}}", map.join(",")));
    }

    /// Returns a region as clients spell it; null takes one of the server's away.
    fn derp_region(&mut self, value: &Value<'_>) -> String {
        let object = match value {
            Value::NullKeyword(_) => return "null".to_owned(),
            Value::Object(object) => object,
            other => {
                self.refuse(other, "a region is an object, or null to leave it out");
                return "null".to_owned();
            }
        };
        let mut region = self.spelled(object, &DERP_REGION, &["nodes"]);
        let nodes = object.properties.iter();
        let mut nodes = nodes.filter(|member| member.name.as_str().eq_ignore_ascii_case("nodes"));
        let relays = nodes
            .next()
            .map_or_else(Vec::new, |member| self.objects(&member.value, "a relay"));
        for again in nodes {
            self.refuse_repeated(again);
        }
        let nodes: Vec<_> = relays
            .into_iter()
            .map(|(object, _)| format!("{{{}}}", self.spelled(object, &DERP_NODE, &[]).join(",")))
            .collect();
        region.push(format!("\"Nodes\":[{}]", nodes.join(",")));
        format!("{{{}}}", region.join(","))
    }

    fn refuse_repeated(&mut self, property: &ObjectProp<'_>) {
        let message = format!("duplicate field: \"{}\"", property.name.as_str());
        let place = property.range.start;
        self.problems.push(self.reader.problem_at(place, message));
    }

    /// Returns the members of an object as clients spell them; `apart` are read elsewhere.
    fn spelled(
        &mut self,
        object: &Object<'_>,
        known: &[(&'static str, Kind)],
        apart: &[&str],
    ) -> Vec<String> {
        let mut spelled = Vec::new();
        let mut seen = Vec::new();
        for property in &object.properties {
            let name = property.name.as_str();
            if apart.iter().any(|apart| apart.eq_ignore_ascii_case(name)) {
                continue;
            }
            let found = known
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            let Some((known, kind)) = found else {
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
            let fits = match (&property.value, kind) {
                (Value::BooleanLit(_), Kind::Switch) | (Value::StringLit(_), Kind::Text) => true,
                (Value::NumberLit(number), Kind::Number { least, most }) => number
                    .value
                    .parse::<i64>()
                    .is_ok_and(|number| (*least..=*most).contains(&number)),
                _ => false,
            };
            if fits {
                spelled.push(format!("\"{known}\":{}", document::json(&property.value)));
            } else {
                self.refuse(&property.value, format!("{name} is not {}", kind.words()));
            }
        }
        spelled
    }
}

/// What a member of the relay map is.
#[derive(Clone, Copy)]
enum Kind {
    Switch,
    Text,
    Number { least: i64, most: i64 },
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
    fn words(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Number { least, most } => format!("a number from {least} to {most}"),
        }
    }
}

/// Members of the map, of a region and of a relay, as clients spell them (protocol section 8.9).
const DERP_MAP: [(&str, Kind); 1] = [("omitDefaultRegions", Kind::Switch)];
const DERP_REGION: [(&str, Kind); 4] = [
    ("RegionID", REGION),
    ("RegionCode", Kind::Text),
    ("RegionName", Kind::Text),
    ("Avoid", Kind::Switch),
];
const DERP_NODE: [(&str, Kind); 9] = [
    ("Name", Kind::Text),
    ("RegionID", REGION),
    ("HostName", Kind::Text),
    ("CertName", Kind::Text),
    ("IPv4", Kind::Text),
    ("IPv6", Kind::Text),
    ("STUNPort", PORT_OR_NONE),
    ("STUNOnly", Kind::Switch),
    ("DERPPort", PORT),
];
