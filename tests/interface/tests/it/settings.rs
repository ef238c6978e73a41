//! The keys of the settings files and the variables over them, found by asking the readers themselves.
//!
//! A table with a key that nobody knows is offered at each place: where a table belongs, the refusal lists its keys;
//! where it does not, the refusal says what is expected instead.

use std::{collections::BTreeSet, fs};

use bowline_interface::assert_unchanged;
use bowline_key_registry::RegistryConfig;
use bowline_netmap_gateway::GatewayConfig;
use bowline_service_kit::{
    config,
    process::{NoSettings, ProcessConfig},
};
use serde::de::DeserializeOwned;

use crate::{files_below, root};

/// A key that no settings have.
const UNKNOWN: &str = "no_such_key";

#[test]
fn interface_of_settings_is_unchanged() {
    let mut text = String::new();
    write_settings::<bowline_standalone::Config>(&mut text, "bowline serve");
    write_settings::<ProcessConfig<NoSettings>>(&mut text, "identity, policy-compiler");
    write_settings::<ProcessConfig<RegistryConfig>>(&mut text, "key-registry");
    write_settings::<ProcessConfig<GatewayConfig>>(&mut text, "netmap-gateway");
    assert_unchanged("settings", &text);
}

#[test]
fn variables_of_the_command_line_hinder_no_server() {
    let mut variables = BTreeSet::new();
    for path in files_below(&root().join("services/cli/src"), ".rs") {
        let code = fs::read_to_string(path).unwrap();
        let named = code.split("env = \"").skip(1);
        variables.extend(named.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    assert!(variables.len() > 8, "{variables:?}");
    // What is named like a setting is one that the command reads, too.
    variables.retain(|variable| !variable.contains("__"));
    for variable in variables {
        let value = [(variable.clone(), "value".to_owned())];
        let found = config::check::<ProcessConfig<NoSettings>>(None, value);
        let mut problems = found.problems.iter().map(ToString::to_string);
        assert!(
            !problems.any(|problem| problem.contains(&variable)),
            "a server takes {variable} for a setting: add it to OTHERS in config/environment.rs"
        );
    }
}

fn write_settings<T: DeserializeOwned>(text: &mut String, program: &str) {
    text.push_str(&format!("settings of {program}\n"));
    write_table::<T>(text, &mut Vec::new());
    text.push('\n');
}

/// Writes the keys of a table and of the tables in it.
fn write_table<T: DeserializeOwned>(text: &mut String, path: &mut Vec<String>) {
    let mut keys = match place::<T>(path) {
        Place::Table(keys) => keys,
        Place::Value(expected) => panic!("{path:?} is no table but {expected}"),
    };
    keys.sort();
    for key in keys {
        path.push(key);
        let variable = format!("BOWLINE_{}", path.join("__").to_uppercase());
        let name = path.join(".");
        match place::<T>(path) {
            Place::Table(_) => {
                text.push_str(&format!("  [{name}]\n"));
                write_table::<T>(text, path);
            }
            Place::Value(expected) => {
                let variable = Some(variable).filter(|variable| is_read::<T>(variable));
                let variable = variable.as_deref().unwrap_or("no variable");
                text.push_str(&format!("  {name}: {expected} ({variable})\n"));
            }
        }
        path.pop();
    }
}

/// What belongs at a place of a settings file.
enum Place {
    /// A table with these keys.
    Table(Vec<String>),
    /// A value of this kind.
    Value(String),
}

/// Asks what belongs at a place.
fn place<T: DeserializeOwned>(path: &[String]) -> Place {
    let header = if path.is_empty() {
        String::new()
    } else {
        format!("[{}]\n", path.join("."))
    };
    let Err(error) = toml::from_str::<T>(&format!("{header}{UNKNOWN} = 1\n")) else {
        panic!("{path:?} takes any key");
    };
    let message = error.message();
    let unknown = format!("unknown field `{UNKNOWN}`, ");
    if let Some(known) = message.strip_prefix(&unknown) {
        // Between back-quotes: every second piece.
        let keys = known.split('`').skip(1).step_by(2);
        return Place::Table(keys.map(str::to_owned).collect());
    }
    let variants = message.strip_prefix(&format!("unknown variant `{UNKNOWN}`, "));
    let expected = message.strip_prefix("invalid type: map, expected ");
    match variants.or(expected) {
        Some(expected) => Place::Value(expected.trim_start_matches("expected ").to_owned()),
        None => panic!("{path:?}: {message}"),
    }
}

/// Tells whether a variable is read: a value that is refused is refused with its name. The command line has some for itself.
fn is_read<T: DeserializeOwned>(variable: &str) -> bool {
    let value = format!("{{ {UNKNOWN} = 1 }}");
    let found = config::check::<T>(None, [(variable.to_owned(), value)]);
    let place = format!("environment variable {variable}: ");
    let mut problems = found.problems.iter().map(ToString::to_string);
    problems.any(|problem| problem.starts_with(&place))
}
