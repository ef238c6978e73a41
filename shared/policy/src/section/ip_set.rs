//! `ipsets`: named sets of addresses (policy section 19).

use std::collections::{BTreeMap, BTreeSet};

use bowline_ip_set::{IpRange, IpSet};
use jsonc_parser::ast::Value;

use super::DocumentReader;
use crate::internet;

/// The operations of a set, in order: whether it adds, what, and where it is written.
type Operations<'v> = Vec<(bool, &'v str, &'v Value<'v>)>;

impl DocumentReader<'_> {
    pub(super) fn read_ip_sets(&mut self, value: &Value<'_>) {
        let mut written: BTreeMap<&str, Operations<'_>> = BTreeMap::new();
        for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
            if !name.starts_with("ipset:") || name.len() == "ipset:".len() {
                let message = format!("IP set name \"{name}\" does not begin with \"ipset:\"");
                self.problems.push(self.reader.problem_at(place, message));
                continue;
            }
            let operations = self.read_operations(name, value);
            written.insert(name, operations);
        }
        let names: Vec<_> = written.keys().copied().collect();
        for name in names {
            self.resolve_ip_set(name, &written, &mut BTreeSet::new());
        }
    }

    fn read_operations<'v>(&mut self, name: &str, value: &'v Value<'v>) -> Operations<'v> {
        let mut operations = Vec::new();
        let mut bare = false;
        for (text, value) in self.read_strings(value) {
            let text = text.trim();
            let (adds, target) = match text.split_once(char::is_whitespace) {
                Some(("add", target)) => (true, target),
                Some(("remove", target)) => (false, target),
                _ => {
                    bare = true;
                    (true, text)
                }
            };
            operations.push((adds, target.trim(), value));
        }
        if bare && operations.iter().any(|(adds, ..)| !adds) {
            let message = format!(
                "\"{name}\": a set with \"remove\" needs \"add\" before its other elements"
            );
            self.refuse(value, message);
        }
        operations
    }

    /// Computes a set, after the sets that it names. `open` are the sets that wait for this one.
    fn resolve_ip_set<'v>(
        &mut self,
        name: &'v str,
        written: &BTreeMap<&'v str, Operations<'v>>,
        open: &mut BTreeSet<&'v str>,
    ) {
        if self.ip_sets.contains_key(name) {
            return;
        }
        open.insert(name);
        let mut set = IpSet::default();
        let mut added = Vec::new();
        for (adds, target, value) in written.get(name).into_iter().flatten() {
            if let Some((inner, _)) = written.get_key_value(target) {
                // A document can name thousands of sets: without a bound the recursion would be as deep.
                if open.contains(inner) || open.len() > 64 {
                    self.refuse(
                        value,
                        format!("\"{name}\": \"{target}\" leads back to itself"),
                    );
                    continue;
                }
                self.resolve_ip_set(inner, written, open);
            }
            match self.resolve_target(target) {
                Ok(ranges) if *adds => added.extend(ranges),
                Ok(ranges) => {
                    if !added.is_empty() {
                        set = set.ranges().copied().chain(added.drain(..)).collect();
                    }
                    // Each removal goes through the whole set, so it counts as much.
                    if let Err(message) = self.count_expanded(set.ranges().count() * ranges.len()) {
                        self.refuse(value, message);
                        break;
                    }
                    ranges.iter().for_each(|range| set.remove(range));
                }
                Err(message) => self.refuse(value, format!("\"{name}\": {message}")),
            }
        }
        set = set.ranges().copied().chain(added).collect();
        open.remove(name);
        self.ip_sets
            .insert(name.to_owned(), set.ranges().copied().collect());
    }

    fn resolve_target(&mut self, target: &str) -> Result<Vec<IpRange>, String> {
        if let Some(host) = target.strip_prefix("host:") {
            let found = self.policy.hosts.get(host);
            return found
                .map(|range| vec![*range])
                .ok_or_else(|| format!("host not found: \"{host}\""));
        }
        if target == "autogroup:internet" {
            return Ok(internet::RANGES.to_vec());
        }
        if target.starts_with("ipset:") {
            let found = self.ip_sets.get(target).map(Vec::len);
            self.count_expanded(found.ok_or_else(|| format!("ipset not found: \"{target}\""))?)?;
            return Ok(self.ip_sets[target].clone());
        }
        let range = target.parse().map_err(|_| {
            format!("\"{target}\" is no address, prefix, range a-b, host:NAME, ipset:NAME or autogroup:internet")
        })?;
        Ok(vec![range])
    }
}
