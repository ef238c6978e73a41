//! The README's tables of RPCs say what the `.proto` files say.

use std::fmt::Write as _;

use bowline_proto::{
    DESCRIPTOR_SET,
    access::{CallerKind, Role, RpcRule, find_rule},
};
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str =
    "<!-- The tables are written by tests/it/readme.rs: run it with BOWLINE_WRITE_README=1. -->\n";
const END: &str = "<!-- End of the tables. -->\n";

/// The numbers of `service` in a file and of `method` in a service, in paths of source locations.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

#[test]
fn tables_of_rpcs_are_those_of_the_contracts() {
    let text = std::fs::read_to_string(README).expect("the README");
    let (before, rest) = text.split_once(BEGIN).expect("the begin of the tables");
    let (written, after) = rest.split_once(END).expect("the end of the tables");
    let tables = tables();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is how a person asks for it"
    )]
    let is_wanted = std::env::var_os("BOWLINE_WRITE_README").is_some();
    if is_wanted {
        std::fs::write(README, format!("{before}{BEGIN}{tables}{END}{after}"))
            .expect("the README is written");
    } else {
        assert_eq!(written, tables, "run this test with BOWLINE_WRITE_README=1");
    }
}

/// Returns a table for each service, in the order of the files.
fn tables() -> String {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("the contracts");
    let mut tables = String::new();
    for file in &set.file {
        for (at, service) in file.service.iter().enumerate() {
            let name = format!("{}.{}", file.package(), service.name());
            let purpose = comment(file, &[SERVICE, number(at)]);
            writeln!(tables, "\n#### `{name}`\n\n{purpose}\n").expect("a string");
            tables.push_str(
                "| RPC | callers | tokens: scope and roles | what it does |\n|---|---|---|---|\n",
            );
            for (place, method) in service.method.iter().enumerate() {
                let path = format!("/{name}/{}", method.name());
                let rule = find_rule(&path).expect("a rule for each RPC");
                let kinds: Vec<_> = rule.callers.iter().copied().map(kind_name).collect();
                let tokens = token_cell(rule);
                let purpose = comment(file, &[SERVICE, number(at), METHOD, number(place)]);
                let (method, kinds) = (method.name(), kinds.join(", "));
                writeln!(tables, "| `{method}` | {kinds} | {tokens} | {purpose} |")
                    .expect("a string");
            }
        }
    }
    tables.push('\n');
    tables
}

fn number(place: usize) -> i32 {
    i32::try_from(place).expect("a small number")
}

/// Returns the comment above a part of a file, on one line.
fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let found = locations.clone().find(|location| location.path == path);
    let text = found.map_or("", |location| location.leading_comments());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says which tokens an RPC serves.
fn token_cell(rule: &RpcRule) -> String {
    let of_rule = rule.tokens.iter().map(|token| {
        let scope = token
            .scope
            .map_or("any scope".to_owned(), |scope| format!("`{scope}`"));
        let roles: Vec<_> = token.roles.iter().copied().map(role_name).collect();
        let own = if token.own {
            "; others for their own"
        } else {
            ""
        };
        format!("{scope}: {}{own}", roles.join(", "))
    });
    let rules: Vec<_> = of_rule.collect();
    match rules.is_empty() {
        true => "–".to_owned(),
        false => rules.join(" · "),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Unspecified | Role::Member => "member",
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::ItAdmin => "IT",
        Role::NetworkAdmin => "network",
        Role::BillingAdmin => "billing",
        Role::Auditor => "auditor",
    }
}

fn kind_name(kind: CallerKind) -> &'static str {
    match kind {
        CallerKind::Admin => "operators",
        CallerKind::Gateway => "gateway",
        CallerKind::KeyRegistry => "registry",
        CallerKind::Identity => "identity",
        CallerKind::PolicyCompiler => "compiler",
        CallerKind::Relay => "relay",
    }
}
