//! The tailnets of the examples.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use bowline_conformance::{
    Candidate, Case, Node, Recorded, RecordedSelf, TailnetSettings, Topology, User, candidate,
};
use bowline_netmap::FilterSources;
use chrono::{DateTime, TimeDelta};

/// Both addresses of each node.
pub static NODES: LazyLock<BTreeMap<&str, [&str; 2]>> =
    LazyLock::new(|| ALL.iter().map(|node| (node.name, node.addresses)).collect());

/// The internet as filters have it.
pub const INTERNET: [&str; 7] = [
    "0.0.0.0-9.255.255.255",
    "11.0.0.0-100.63.255.255",
    "100.128.0.0-169.253.255.255",
    "169.255.0.0-172.15.255.255",
    "172.32.0.0-192.167.255.255",
    "192.169.0.0-255.255.255.255",
    "2000::-3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// Which of the tailnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tailnet {
    /// Three people's machines, three servers, a router; an exit node that waits for approval.
    Small,
    /// The small one with its exit node approved, a wide router, a pair of routers of one subnet, and a router that is
    /// an exit node too.
    Routed,
    /// The small one with routers and exit nodes that grants choose between.
    Chosen,
    /// Two routers of one subnet and two clients, by chosen routers.
    Rivals,
}

/// A node of the examples.
pub struct Listed {
    name: &'static str,
    /// A person, or tags.
    of: &'static str,
    addresses: [&'static str; 2],
    /// Routes that are advertised and approved.
    routes: &'static [&'static str],
    tailnets: &'static [Tailnet],
}

const EXIT: &[&str] = &["0.0.0.0/0", "::/0"];

macro_rules! nodes {
    ($($name:ident $of:literal $ipv4:literal $ipv6:literal $routes:expr, [$($tailnet:ident)*];)*) => {
        &[$(Listed {
            name: stringify!($name),
            of: $of,
            addresses: [concat!("100.80.0.", $ipv4), concat!("fd7a:115c:a1e0::", $ipv6)],
            routes: $routes,
            tailnets: &[$(Tailnet::$tailnet),*],
        }),*]
    };
}

/// Every node, in the order of registration.
const ALL: &[Listed] = nodes! {
    anas "ana" "1" "1" &[], [Small Routed Chosen];
    bens "ben" "2" "2" &[], [Small Routed Chosen];
    cleos "cleo" "3" "3" &[], [Small Routed Chosen];
    api "tag:api" "10" "a" &[], [Small Routed Chosen];
    probe "tag:probe" "11" "b" &[], [Small Routed Chosen];
    live "tag:live" "12" "c" &[], [Small Routed Chosen];
    gate "tag:gate" "20" "14" &["10.33.0.0/16"], [Small Routed Chosen];
    door "tag:door" "21" "15" &[], [Small Chosen];
    opened "tag:door" "22" "16" EXIT, [Routed];
    wide "tag:gate" "30" "1e" &["10.0.0.0/8"], [Routed];
    twin1 "tag:twin" "31" "1f" &["192.168.1.0/24"], [Routed];
    twin2 "tag:twin" "32" "20" &["192.168.1.0/24"], [Routed];
    both "tag:door tag:gate" "33" "21" &["0.0.0.0/0", "172.16.0.0/24", "::/0"], [Routed];
    four "tag:four" "44" "2c" &["10.44.0.0/16"], [Chosen];
    five "tag:five" "55" "37" &["10.55.0.0/16"], [Chosen];
    one "tag:one" "61" "3d" &[], [Chosen Rivals];
    two "tag:two" "62" "3e" &[], [Chosen Rivals];
    north "tag:north" "71" "47" &["10.44.0.0/16"], [Rivals];
    south "tag:south" "72" "48" &["10.44.0.0/16"], [Rivals];
};

/// What every document of the examples has.
const SHARED: &str = r#"
    "groups": {"group:owners": ["ana@corp.test"], "group:makers": ["ben@partner.test", "ana@corp.test"],
               "group:watch": ["cleo@corp.test"], "group:nobody": []},
    "hosts": {"inside": "10.0.0.0/8", "lan": "192.168.1.0/24", "web": "100.108.7.7"},
    "tagOwners": {"tag:api": [], "tag:probe": [], "tag:live": [], "tag:gate": [], "tag:door": [], "tag:twin": [],
                  "tag:four": [], "tag:five": [], "tag:one": [], "tag:two": [], "tag:north": [], "tag:south": []},
"#;

impl Tailnet {
    /// Returns the nodes.
    pub fn nodes(self) -> impl Iterator<Item = (&'static str, &'static Listed)> {
        let here = ALL.iter().filter(move |node| node.tailnets.contains(&self));
        here.map(|node| (node.name, node))
    }

    /// Returns what `*` is as a source.
    pub fn wild(self) -> Vec<String> {
        let mut wild: BTreeSet<_> = self
            .nodes()
            .flat_map(|(_, node)| node.routes)
            .copied()
            .collect();
        wild.retain(|route| !EXIT.contains(route));
        wild.extend([
            "100.64.0.0-100.115.91.255",
            "100.115.94.0-100.127.255.255",
            "fd7a:115c:a1e0::/48",
        ]);
        wild.into_iter().map(str::to_owned).collect()
    }

    /// Returns what the nodes are told under a policy: the shared sections and some of its own.
    pub fn told(self, sections: &str) -> Candidate {
        candidate(
            &self.case(&format!("{{{SHARED}{sections}}}")),
            FilterSources::Addresses,
        )
    }

    fn case(self, policy: &str) -> Case {
        let user = |(id, name, email): (u64, &str, &str)| User {
            id,
            name: name.to_owned(),
            email: email.to_owned(),
        };
        let users = [
            (1, "ana", "ana@corp.test"),
            (2, "cleo", "cleo@corp.test"),
            (3, "ben", "ben@partner.test"),
        ];
        Case {
            id: String::new(),
            policy: policy.to_owned(),
            topology: Topology {
                users: users.into_iter().map(user).collect(),
                nodes: self
                    .nodes()
                    .map(|(name, node)| (name.to_owned(), node.registered()))
                    .collect(),
            },
            expect: self
                .nodes()
                .enumerate()
                .map(|(at, (name, node))| (name.to_owned(), node.recorded(at)))
                .collect(),
            tailnet_settings: TailnetSettings::default(),
        }
    }
}

impl Listed {
    fn registered(&self) -> Node {
        let tags: Vec<_> = self
            .of
            .split(' ')
            .filter(|of| of.starts_with("tag:"))
            .map(str::to_owned)
            .collect();
        let routes: Vec<_> = self.routes.iter().map(ToString::to_string).collect();
        // The door of the small tailnet is not open: what it advertises is not approved.
        let advertised = if self.name == "door" {
            EXIT.iter().map(ToString::to_string).collect()
        } else {
            routes.clone()
        };
        Node {
            user: tags.is_empty().then(|| self.of.to_owned()),
            tags,
            ipv4: self.addresses[0].to_owned(),
            ipv6: self.addresses[1].to_owned(),
            routable_ips: advertised,
            approved_routes: routes,
        }
    }

    fn recorded(&self, at: usize) -> Recorded {
        let owner = BTreeMap::from([(
            "https://tailscale.com/cap/is-owner".to_owned(),
            serde_json::Value::Null,
        )]);
        Recorded {
            own: RecordedSelf {
                created: DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(at).unwrap()),
                primary_routes: None,
                cap_map: (self.of == "ana").then_some(owner),
            },
        }
    }
}
