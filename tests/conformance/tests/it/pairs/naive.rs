//! The rules of access for one pair of nodes at a time, written down from the description of the language (policy
//! sections 7 to 10 and 13).

use std::{collections::BTreeSet, fmt, net::IpAddr};

/// A node: its number is its place in the tailnet, from one.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Short name and login name, without tags.
    pub user: Option<(&'static str, &'static str)>,
    pub tags: Vec<&'static str>,
    /// Advertised and approved.
    pub routes: Vec<&'static str>,
}

/// A grant of a port, of a capability, or of both.
#[derive(Clone, Debug)]
pub struct Grant {
    pub sources: Vec<&'static str>,
    pub destinations: Vec<&'static str>,
    pub ports: bool,
    pub capability: bool,
    pub via: Vec<&'static str>,
}

const CAPABILITY: &str = r#"{"example.com/cap/a": [1]}"#;
const INTERNET: [&str; 7] = crate::worked::tailnet::INTERNET;
const WILD: [&str; 3] = [
    "100.64.0.0-100.115.91.255",
    "100.115.94.0-100.127.255.255",
    "fd7a:115c:a1e0::/48",
];

impl Grant {
    /// Says whether the language has it.
    pub fn is_valid(&self) -> bool {
        let is_user = |source: &&str| {
            source.contains('@') || ["group:all", "autogroup:member"].contains(source)
        };
        let to_self = self.destinations.contains(&"autogroup:self");
        let to_internet = self.destinations.contains(&"autogroup:internet");
        (!to_self || self.sources.iter().all(is_user)) && !(to_internet && self.capability)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sources,
            destinations,
            via,
            ..
        } = self;
        write!(
            formatter,
            r#"{{"src": {sources:?}, "dst": {destinations:?}, "via": {via:?}"#
        )?;
        if self.ports {
            write!(formatter, r#", "ip": ["22"]"#)?;
        }
        if self.capability {
            write!(formatter, r#", "app": {CAPABILITY}"#)?;
        }
        write!(formatter, "}}")
    }
}

/// Addresses from one to another, as numbers, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    is_ipv6: bool,
    low: u128,
    high: u128,
}

impl Range {
    /// Reads an address, a prefix, or `low-high`.
    fn new(text: &str) -> Self {
        let number = |text: &str| match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let is_ipv6 = text.contains(':');
        if let Some((low, high)) = text.split_once('-') {
            let (low, high) = (number(low), number(high));
            return Self { is_ipv6, low, high };
        }
        let all = if is_ipv6 { 128 } else { 32 };
        let (base, length) = text.split_once('/').map_or((text, all), |(base, length)| {
            (base, length.parse().unwrap())
        });
        let host = u128::MAX.checked_shr(128 - (all - length)).unwrap_or(0);
        let low = number(base) & !host;
        Self {
            is_ipv6,
            low,
            high: low | host,
        }
    }

    fn overlaps(self, other: Self) -> bool {
        self.is_ipv6 == other.is_ipv6 && self.low <= other.high && other.low <= self.high
    }

    fn covers(self, other: Self) -> bool {
        self.is_ipv6 == other.is_ipv6 && self.low <= other.low && other.high <= self.high
    }
}

/// A rule as it is for one node: who, where, and whether everything public is there.
struct Seen {
    sources: Vec<Range>,
    destinations: Vec<Range>,
    covers_internet: bool,
    is_ordinary: bool,
}

/// Both addresses of a node.
pub fn addresses(node: usize) -> [String; 2] {
    [
        format!("100.64.0.{node}"),
        format!("fd7a:115c:a1e0::{node}"),
    ]
}

fn own(node: usize) -> [Range; 2] {
    addresses(node).map(|address| Range::new(&address))
}

/// A tailnet and its grants.
pub struct Naive<'n> {
    nodes: &'n [Listed],
    grants: &'n [Grant],
}

impl<'n> Naive<'n> {
    pub fn new(nodes: &'n [Listed], grants: &'n [Grant]) -> Self {
        Self { nodes, grants }
    }

    fn node(&self, node: usize) -> &Listed {
        &self.nodes[node - 1]
    }

    fn all(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.nodes.len()
    }

    fn subnets(&self, node: usize) -> Vec<&'static str> {
        let routes = self.node(node).routes.iter().copied();
        routes.filter(|route| !route.ends_with("/0")).collect()
    }

    fn exits(&self, node: usize) -> Vec<&'static str> {
        let routes = self.node(node).routes.iter().copied();
        routes.filter(|route| route.ends_with("/0")).collect()
    }

    /// Says whether an identity selector selects a node; `None` when the selector is none (policy section 4.2).
    fn selects(&self, selector: &str, node: usize) -> Option<bool> {
        let node = self.node(node);
        Some(match selector {
            "group:all" | "autogroup:member" => node.user.is_some(),
            "autogroup:tagged" => !node.tags.is_empty(),
            user if user.contains('@') => node.user.is_some_and(|(_, login)| login == user),
            tag if tag.starts_with("tag:") => node.tags.contains(&tag),
            _ => return None,
        })
    }

    /// Returns the texts of a selector as a source (policy sections 4.3 and 7.3).
    fn source_texts(&self, selector: &str) -> BTreeSet<String> {
        match selector {
            "autogroup:danger-all" => BTreeSet::from(["*".to_owned()]),
            "*" => {
                let routes = self.all().flat_map(|node| self.subnets(node));
                WILD.into_iter().chain(routes).map(str::to_owned).collect()
            }
            selector if self.selects(selector, 1).is_some() => {
                let nodes = self
                    .all()
                    .filter(|node| self.selects(selector, *node) == Some(true));
                nodes.flat_map(addresses).collect()
            }
            literal => BTreeSet::from([literal.to_owned()]),
        }
    }

    /// Returns the source list of some selectors.
    fn list(&self, selectors: &[&str]) -> BTreeSet<String> {
        if selectors.contains(&"autogroup:danger-all") {
            return BTreeSet::from(["*".to_owned()]);
        }
        selectors
            .iter()
            .flat_map(|selector| self.source_texts(selector))
            .collect()
    }

    /// Returns the devices of a node's user that a grant has as sources (policy section 9).
    fn own_sources(&self, grant: &Grant, node: usize) -> Vec<usize> {
        let is_source = |device: &usize| {
            grant
                .sources
                .iter()
                .any(|selector| self.selects(selector, *device) == Some(true))
        };
        self.devices(node).into_iter().filter(is_source).collect()
    }

    fn devices(&self, node: usize) -> Vec<usize> {
        let user = self.node(node).user;
        self.all()
            .filter(|device| user.is_some() && self.node(*device).user == user)
            .collect()
    }

    fn holds_via(&self, grant: &Grant, node: usize) -> bool {
        grant
            .via
            .iter()
            .any(|tag| self.node(node).tags.contains(tag))
    }

    /// Returns what of the destinations of a grant with `via` a router keeps (policy section 10.1).
    fn kept(&self, grant: &Grant, node: usize) -> Vec<&'static str> {
        let routes = self.subnets(node);
        let is_routed = |text: &str| {
            routes
                .iter()
                .any(|route| Range::new(route).overlaps(Range::new(text)))
        };
        let keeps = |selector: &&'static str| match *selector {
            "autogroup:internet" => !self.exits(node).is_empty(),
            literal if is_literal(literal) => is_routed(literal),
            _ => false,
        };
        let holds = self.holds_via(grant, node);
        grant
            .destinations
            .iter()
            .copied()
            .filter(|_| holds)
            .filter(keeps)
            .collect()
    }

    /// Returns the rules as they are for a node (policy section 13.1).
    fn rules(&self, node: usize) -> Vec<Seen> {
        let everything = || [Range::new("0.0.0.0/0"), Range::new("::/0")];
        let ranges = |texts: BTreeSet<String>| -> Vec<Range> {
            let each = |text: &String| {
                if text == "*" {
                    everything().to_vec()
                } else {
                    vec![Range::new(text)]
                }
            };
            texts.iter().flat_map(each).collect()
        };
        let mut rules = Vec::new();
        for grant in self.grants {
            let named: Vec<&str> = if grant.via.is_empty() {
                let named = grant.destinations.iter().copied();
                named
                    .filter(|selector| *selector != "autogroup:self")
                    .collect()
            } else {
                self.kept(grant, node)
            };
            let destination = |selector: &&str| match *selector {
                "*" => everything().to_vec(),
                "autogroup:internet" => INTERNET.map(Range::new).to_vec(),
                selector => ranges(self.source_texts(selector)),
            };
            rules.push(Seen {
                sources: ranges(self.list(&grant.sources)),
                destinations: named.iter().flat_map(destination).collect(),
                covers_internet: named.contains(&"*") || named.contains(&"autogroup:internet"),
                is_ordinary: grant.via.is_empty(),
            });
            if grant.via.is_empty() && grant.destinations.contains(&"autogroup:self") {
                rules.push(Seen {
                    sources: self
                        .own_sources(grant, node)
                        .into_iter()
                        .flat_map(own)
                        .collect(),
                    destinations: self.devices(node).into_iter().flat_map(own).collect(),
                    covers_internet: false,
                    is_ordinary: true,
                });
            }
        }
        rules
    }

    /// Says whether ranges contain an address of a node, or overlap a subnet that it routes.
    fn has(&self, ranges: &[Range], node: usize) -> bool {
        let subnets = self.subnets(node);
        ranges.iter().any(|range| {
            own(node).iter().any(|address| range.covers(*address))
                || subnets
                    .iter()
                    .any(|subnet| range.overlaps(Range::new(subnet)))
        })
    }

    fn is_reached(&self, rule: &Seen, node: usize) -> bool {
        self.has(&rule.destinations, node) || (rule.covers_internet && !self.exits(node).is_empty())
    }

    /// Says whether two nodes are peers (policy section 13.1).
    pub fn are_peers(&self, left: usize, right: usize) -> bool {
        let can = |from: usize, to: usize| {
            let mut rules = self.rules(left).into_iter().chain(self.rules(right));
            rules.any(|rule| self.has(&rule.sources, from) && self.is_reached(&rule, to))
        };
        left != right && (can(left, right) || can(right, left))
    }

    /// Returns the routes a node has through a peer (policy section 13.2).
    pub fn routes(&self, viewer: usize, peer: usize) -> BTreeSet<String> {
        let rules: Vec<_> = self
            .rules(viewer)
            .into_iter()
            .chain(self.rules(peer))
            .collect();
        let overlaps = |ranges: &[Range], route: &str| {
            ranges.iter().any(|range| range.overlaps(Range::new(route)))
        };
        let concerns = |route: &&'static str| {
            self.subnets(viewer).contains(route)
                || rules.iter().any(|rule| {
                    (self.has(&rule.sources, viewer) && overlaps(&rule.destinations, route))
                        || (overlaps(&rule.sources, route) && self.is_reached(rule, viewer))
                })
        };
        let subnets = self.subnets(peer).into_iter();
        let subnets = subnets
            .filter(|route| self.router(viewer, route) == peer)
            .filter(concerns);
        let leaves = rules
            .iter()
            .any(|rule| self.has(&rule.sources, viewer) && rule.covers_internet);
        let exits = self.exits(peer).into_iter().filter(|_| leaves);
        subnets.chain(exits).map(str::to_owned).collect()
    }

    /// Returns the router of a subnet for a viewer (policy sections 13.3 and 13.4).
    fn router(&self, viewer: usize, route: &str) -> usize {
        let routers: Vec<_> = self
            .all()
            .filter(|node| self.subnets(*node).contains(&route))
            .collect();
        let wanted = Range::new(route);
        let rules = self.rules(viewer);
        let ordinary = rules.iter().filter(|rule| rule.is_ordinary).any(|rule| {
            self.has(&rule.sources, viewer)
                && rule.destinations.iter().any(|range| range.overlaps(wanted))
        });
        if ordinary || routers.contains(&viewer) {
            return routers[0];
        }
        let leads = |grant: &&Grant| {
            let sources: Vec<_> = self.list(&grant.sources).into_iter().collect();
            let sources = sources.iter().flat_map(|text| match text.as_str() {
                "*" => vec![Range::new("0.0.0.0/0"), Range::new("::/0")],
                text => vec![Range::new(text)],
            });
            let mut literals = grant
                .destinations
                .iter()
                .filter(|selector| is_literal(selector));
            self.has(&sources.collect::<Vec<_>>(), viewer)
                && literals.any(|literal| Range::new(literal).overlaps(wanted))
        };
        let mut chosen = routers.iter().filter(|router| {
            let mut grants = self.grants.iter().filter(leads);
            grants.any(|grant| self.holds_via(grant, **router))
        });
        chosen.next().copied().unwrap_or(routers[0])
    }

    /// Returns the filter of a node, a rule for each destination (policy sections 8 to 10).
    pub fn filter(&self, node: usize) -> BTreeSet<String> {
        let joined = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>().join(" ");
        let mut rules = BTreeSet::new();
        for grant in self.grants {
            let sources = joined(self.list(&grant.sources));
            let mut port = |sources: &str, to: &str, ports: bool| {
                if ports && !sources.is_empty() {
                    rules.insert(format!("{sources} -> {to} (22, 22) []"));
                }
            };
            if !grant.via.is_empty() {
                for kept in self.kept(grant, node) {
                    let texts = if kept == "autogroup:internet" {
                        INTERNET.to_vec()
                    } else {
                        vec![kept]
                    };
                    texts
                        .into_iter()
                        .for_each(|text| port(&sources, text, grant.ports));
                }
                continue;
            }
            let mut granted = Vec::new();
            for selector in &grant.destinations {
                if *selector == "autogroup:self" {
                    let own = self
                        .own_sources(grant, node)
                        .into_iter()
                        .flat_map(addresses);
                    let own = joined(own.collect());
                    addresses(node)
                        .iter()
                        .for_each(|address| port(&own, address, grant.ports));
                    if self.node(node).user.is_some() {
                        granted.push((own, prefixes(node)));
                    }
                    continue;
                }
                let (texts, dsts) = self.reduced(selector, node);
                texts
                    .iter()
                    .for_each(|text| port(&sources, text, grant.ports));
                granted.push((sources.clone(), dsts));
            }
            let granted = granted
                .into_iter()
                .filter(|(_, dsts)| grant.capability && !dsts.is_empty());
            rules.extend(granted.map(|(sources, dsts)| {
                let map = CAPABILITY.replace(' ', "");
                format!("{sources} => {} {map}", dsts.join(" "))
            }));
        }
        rules
    }

    /// Returns what of a destination concerns a node: elements of a filter, and what a capability is granted on
    /// (policy section 8).
    fn reduced(&self, selector: &str, node: usize) -> (Vec<String>, Vec<String>) {
        match selector {
            "*" => (vec!["*".to_owned()], prefixes(node)),
            "autogroup:internet" if self.exits(node).is_empty() => (Vec::new(), Vec::new()),
            "autogroup:internet" => (INTERNET.map(str::to_owned).to_vec(), Vec::new()),
            selector if !is_literal(selector) => match self.selects(selector, node) {
                Some(true) => (addresses(node).to_vec(), prefixes(node)),
                _ => (Vec::new(), Vec::new()),
            },
            literal => {
                let range = Range::new(literal);
                let is_own =
                    |address: &String| range.covers(Range::new(address.split('/').next().unwrap()));
                let routed = self
                    .subnets(node)
                    .iter()
                    .any(|route| range.overlaps(Range::new(route)));
                let leaves = INTERNET
                    .iter()
                    .any(|public| Range::new(public).covers(range));
                let mut dsts: Vec<_> = prefixes(node).into_iter().filter(is_own).collect();
                let is_kept =
                    !dsts.is_empty() || routed || (leaves && !self.exits(node).is_empty());
                if routed {
                    let length = if literal.contains('/') { "" } else { "/32" };
                    dsts.push(format!("{literal}{length}"));
                }
                let texts = is_kept.then(|| literal.to_owned());
                (texts.into_iter().collect(), dsts)
            }
        }
    }
}

fn prefixes(node: usize) -> Vec<String> {
    let [ipv4, ipv6] = addresses(node);
    vec![format!("{ipv4}/32"), format!("{ipv6}/128")]
}

fn is_literal(selector: &str) -> bool {
    selector.starts_with(|c: char| c.is_ascii_digit())
}
