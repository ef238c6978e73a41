//! Who may reach whom: a few rules, from which both the policy's text and the oracle's truth are made.

use serde_json::{Value, json};

/// Ports from first to last.
pub type Ports = (u16, u16);

/// Every port there is.
const ALL_PORTS: Ports = (0, u16::MAX);

/// Who is meant by one side of a rule; people are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Everybody.
    Everybody,
    /// One person's devices. The first person is the administrators' group.
    Person(usize),
    /// As a destination: the source's own devices.
    Own,
}

/// One rule, which only allows.
#[derive(Clone, Copy, Debug)]
pub struct AccessRule {
    /// Who may begin.
    pub from: Party,
    /// Whom they reach.
    pub to: Party,
    /// At which ports.
    pub ports: Ports,
}

/// All rules of a tailnet.
#[derive(Clone, Debug)]
pub struct AccessPlan {
    people: usize,
    rules: Vec<AccessRule>,
}

/// Returns the login name of a person.
pub fn login_name(person: usize) -> String {
    format!("p{person}@load.test")
}

impl AccessPlan {
    /// Lets everybody reach everybody.
    pub fn allow_all(people: usize) -> Self {
        let rule = AccessRule {
            from: Party::Everybody,
            to: Party::Everybody,
            ports: ALL_PORTS,
        };
        Self {
            people,
            rules: vec![rule],
        }
    }

    /// Returns how many people there are.
    #[must_use]
    pub fn people(&self) -> usize {
        self.people
    }

    /// Lets people reach their own devices, and administrators everybody at port 22 and at fifty others, each of one person.
    pub fn scoped(people: usize) -> Self {
        let own = AccessRule {
            from: Party::Everybody,
            to: Party::Own,
            ports: ALL_PORTS,
        };
        let of_administrators = |to, port| AccessRule {
            from: Party::Person(0),
            to,
            ports: (port, port),
        };
        let fifty = (0..50).map(|number: u16| {
            of_administrators(
                Party::Person(usize::from(number) % people),
                8000 + 2 * number,
            )
        });
        let mut rules = vec![own, of_administrators(Party::Everybody, 22)];
        rules.extend(fifty);
        Self { people, rules }
    }

    /// Returns the plan with one rule more.
    pub fn with(&self, rule: AccessRule) -> Self {
        let mut more = self.clone();
        more.rules.push(rule);
        more
    }

    /// Returns the policy's text.
    pub fn text(&self) -> String {
        let party = |party, own: &str| match party {
            Party::Everybody => "*".to_owned(),
            Party::Person(0) => "group:admins".to_owned(),
            Party::Person(person) => login_name(person),
            Party::Own => own.to_owned(),
        };
        let grant = |rule: &AccessRule| -> Value {
            let source = match (rule.from, rule.to) {
                (Party::Everybody, Party::Own) => "autogroup:member".to_owned(),
                (from, _) => party(from, ""),
            };
            let ports = match rule.ports {
                ALL_PORTS => "*".to_owned(),
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            json!({ "src": [source], "dst": [party(rule.to, "autogroup:self")], "ip": [ports] })
        };
        let grants: Vec<_> = self.rules.iter().map(grant).collect();
        json!({ "groups": { "group:admins": [login_name(0)] }, "grants": grants }).to_string()
    }

    /// Works out what each person may reach of each other.
    pub fn table(&self) -> AccessTable {
        let pairs = (0..self.people).flat_map(|from| (0..self.people).map(move |to| (from, to)));
        let ports = pairs.map(|(from, to)| {
            let names = |party, person| match party {
                Party::Everybody => true,
                Party::Person(named) => named == person,
                Party::Own => from == to,
            };
            let rules = self.rules.iter();
            let those = rules.filter(|rule| names(rule.from, from) && names(rule.to, to));
            merge_ports(those.map(|rule| rule.ports).collect())
        });
        AccessTable {
            people: self.people,
            ports: ports.collect(),
        }
    }
}

/// What each person's devices may reach of each other's.
#[derive(Clone, Debug)]
pub struct AccessTable {
    people: usize,
    ports: Vec<Vec<Ports>>,
}

impl AccessTable {
    /// Returns the ports at which devices of one person reach those of another.
    pub fn ports(&self, from: usize, to: usize) -> &[Ports] {
        &self.ports[from * self.people + to]
    }

    /// Says whether devices of two people are peers: one may reach the other.
    pub fn are_peers(&self, one: usize, other: usize) -> bool {
        !self.ports(one, other).is_empty() || !self.ports(other, one).is_empty()
    }
}

/// Returns ranges sorted, with those that overlap or touch as one.
pub fn merge_ports(mut ranges: Vec<Ports>) -> Vec<Ports> {
    ranges.sort_unstable();
    let mut merged: Vec<Ports> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
