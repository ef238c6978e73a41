//! Arrows go down: who reads a crate needs to know only what lies below it.

use std::collections::BTreeSet;

use bowline_guards::{Crate, assert_only_listed, crates, production_sources};

/// The layers, lowest first. A crate imports from lower layers, and from its own where [`imports_own_layer`] allows it.
const LAYERS: [&[&str]; 5] = [
    // Words, and nothing else.
    &["clock", "ids", "ip-set", "keys", "tokens"],
    // Formats and decisions: bytes and facts in, bytes and facts out.
    &[
        "control-nacl",
        "control-noise",
        "control-wire",
        "netmap",
        "policy",
        "proto",
        "saml",
        "scim",
        "tailnet-lock",
    ],
    // Adapters: here IO begins.
    &[
        "acme",
        "audit-heads",
        "bus",
        "change-feed",
        "control-keys",
        "db",
        "headscale",
        "http-client",
        "oidc",
        "sealing",
        "service-kit",
    ],
    // Services.
    &[
        "identity",
        "key-registry",
        "netmap-gateway",
        "policy-compiler",
        "portal",
        "relay",
    ],
    // What puts services together.
    &["cli", "doctor", "standalone"],
];
/// The layer of services.
const SERVICES: usize = 3;
/// The client protocol, which only the gateway, its pure half and what meets them as a client does know.
const CLIENT_PROTOCOL: [&str; 3] = ["control-nacl", "control-noise", "control-wire"];
/// Libraries that do IO: below the adapters nobody imports them.
const IO: [&str; 9] = [
    "axum",
    "hyper",
    "hyper-util",
    "redis",
    "rustls",
    "sqlx",
    "tokio",
    "tokio-util",
    "tonic",
];

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// Tells whether crates of a layer may import each other: services meet in the contracts alone, and of what puts them
/// together only the command line may start the other.
fn imports_own_layer(importer: &str, layer: usize) -> bool {
    layer < SERVICES || importer == "cli"
}

fn check(every_import: impl Fn(&Crate, &str) -> bool, name: &str, advice: &str) {
    let mut found = BTreeSet::new();
    for one in crates().iter().filter(|one| !one.is_of_tests()) {
        let wrong = one
            .own_imports()
            .filter(|imported| !every_import(one, imported));
        found.extend(wrong.map(|imported| format!("{} imports {imported}", one.name)));
    }
    assert_only_listed(name, &found, advice);
}

#[test]
fn every_crate_has_a_layer_and_is_named_after_its_folder() {
    for one in crates().iter().filter(|one| !one.is_of_tests()) {
        let (name, folder) = (&one.name, one.folder.display());
        assert!(
            layer_of(name).is_some(),
            "{name}: give it a layer in {}",
            file!()
        );
        let last = one.folder.file_name().and_then(|last| last.to_str());
        assert_eq!(
            last,
            Some(name.as_str()),
            "the crate in {folder} is called bowline- and its folder"
        );
        let says_nothing = ["common", "core", "types", "util", "utils", "helpers"];
        assert!(
            !says_nothing.contains(&name.as_str()),
            "{name}: a crate is called after what it has"
        );
    }
}

#[test]
fn arrows_go_down() {
    let goes_down = |one: &Crate, imported: &str| {
        let (from, to) = (layer_of(&one.name), layer_of(imported));
        let is_own = to == from && from.is_some_and(|layer| imports_own_layer(&one.name, layer));
        to < from || is_own || (one.name == "netmap-gateway" && imported == "portal")
    };
    let advice = "a crate imports only what lies below it, and services never each other: let them meet in `proto`, or move \
                  what both need down";
    check(goes_down, "arrows", advice);
}

#[test]
fn portal_is_named_by_what_puts_a_process_together() {
    let sources = production_sources();
    let of_gateway = sources
        .iter()
        .filter(|source| source.path.starts_with("services/netmap-gateway/"));
    let name_it = of_gateway.filter(|source| source.text.contains("bowline_portal"));
    let named: Vec<_> = name_it.map(|source| source.path.as_str()).collect();
    assert!(
        named.iter().all(|path| path.ends_with("src/main.rs")),
        "the gateway's library mounts what it is given (`Dependencies::more_routes`), whatever it is: {named:?}"
    );
    assert!(!named.is_empty(), "the search finds main.rs");
}

#[test]
fn client_protocol_is_known_to_the_gateway_alone() {
    let may_know = |one: &Crate, imported: &str| {
        let knows = ["doctor", "netmap", "netmap-gateway"].contains(&one.name.as_str());
        knows || !CLIENT_PROTOCOL.contains(&imported)
    };
    let advice = "only the gateway, `shared/netmap` and `services/doctor` know the client protocol: what others need of it belongs into the \
                  gateway's own interface";
    check(may_know, "client_protocol", advice);
}

#[test]
fn command_line_knows_the_services_by_their_contracts() {
    let may_know = |one: &Crate, imported: &str| {
        let is_beside = ["doctor", "standalone"].contains(&imported);
        one.name != "cli" || is_beside || layer_of(imported) < Some(SERVICES)
    };
    let advice =
        "the command line speaks gRPC to services and starts `standalone`; it imports no service";
    check(may_know, "command_line", advice);
}

#[test]
fn formats_and_decisions_import_no_library_that_does_io() {
    let mut found = BTreeSet::new();
    for one in crates()
        .iter()
        .filter(|one| layer_of(&one.name).is_some_and(|layer| layer < 2))
    {
        // The contracts are messages and the traits that tonic serves; how they travel is not theirs.
        let wrong = one
            .imports()
            .filter(|name| IO.contains(name) && (one.name != "proto" || *name != "tonic"));
        let wrong = wrong.map(|name| format!("{} imports {name}", one.name));
        found.extend(wrong);
    }
    let advice = "crates of the lowest two layers do no IO: take what they need as parameters";
    assert_only_listed("io", &found, advice);
}
