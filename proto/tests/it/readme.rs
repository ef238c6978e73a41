//! The README's tables of RPCs say what the `.proto` files say.

use std::{collections::BTreeMap, fmt::Write as _};

use bowline_proto::{
    DESCRIPTOR_SET,
    access::{CallerKind, rules},
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
    let callers: BTreeMap<_, _> = rules().iter().copied().collect();
    let mut tables = String::new();
    for file in &set.file {
        for (at, service) in file.service.iter().enumerate() {
            let name = format!("{}.{}", file.package(), service.name());
            let purpose = comment(file, &[SERVICE, number(at)]);
            writeln!(tables, "\n#### `{name}`\n\n{purpose}\n").expect("a string");
            tables.push_str("| RPC | callers | what it does |\n|---|---|---|\n");
            for (place, method) in service.method.iter().enumerate() {
                let path = format!("/{name}/{}", method.name());
                let kinds: Vec<_> = callers[&*path].iter().copied().map(kind_name).collect();
                let purpose = comment(file, &[SERVICE, number(at), METHOD, number(place)]);
                let (method, roles) = (method.name(), kinds.join(", "));
                writeln!(tables, "| `{method}` | {roles} | {purpose} |").expect("a string");
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

fn kind_name(kind: CallerKind) -> &'static str {
    match kind {
        CallerKind::Admin => "administrators",
        CallerKind::Gateway => "gateway",
        CallerKind::KeyRegistry => "registry",
        CallerKind::Identity => "identity",
        CallerKind::PolicyCompiler => "compiler",
        CallerKind::Relay => "relay",
    }
}
