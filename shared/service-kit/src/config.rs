//! One TOML file with a table for each part, overridden by the environment.
//!
//! * `BOWLINE_<KEY>` overrides a key at the top, `BOWLINE_<TABLE>__<KEY>` one in a table, deeper tables with more `__`:
//!   `BOWLINE_IDENTITY__DATABASE`. A value that reads as a TOML number, boolean, array or inline table is that; everything
//!   else is text, and an empty one takes the key away. Not settings are the variables of the command line itself, such as `BOWLINE_STATE_DIR` and
//!   `BOWLINE_IDENTITY`, those of the tests, and what Kubernetes sets for services called `bowline…`.
//! * Any text key `x` may be given as `x_file`: the name of a file with the value, for secrets.
//! * Unknown keys and variables are refused, with their place and the nearest known name. That needs
//!   `#[serde(deny_unknown_fields)]` on every struct, and no `#[serde(flatten)]`.
//! * A table that another program reads is declared `Option<serde::de::IgnoredAny>`.

mod document;
mod environment;
mod error;
mod secret;

use std::path::Path;

use serde::de::DeserializeOwned;

use document::Document;
pub use error::ConfigError;
pub use secret::Secret;

/// Reads a configuration: the file, if there is one, and over it what `environment` has.
///
/// `environment` is `std::env::vars()` in a program.
///
/// # Errors
///
/// Names the place and what is wrong there.
pub fn load<T: DeserializeOwned>(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let (name, text) = read_file(path)?;
    let variables = sorted_variables(environment);
    Document::parse(name, &text)?
        .with_variables(&variables)?
        .read_config()
}

/// What a look at a configuration has found.
#[derive(Debug)]
pub struct Findings<T> {
    /// Everything that is wrong.
    pub problems: Vec<ConfigError>,
    /// The configuration without what is wrong; `None` when nothing can be made of it.
    pub config: Option<T>,
}

/// Reads a configuration as [`load`] does, and goes on after what is wrong, so that all of it is named at once.
pub fn check<T: DeserializeOwned>(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Findings<T> {
    let only = |problem| Findings {
        problems: vec![problem],
        config: None,
    };
    let (name, text) = match read_file(path) {
        Ok(found) => found,
        Err(problem) => return only(problem),
    };
    let variables = sorted_variables(environment);
    let document = Document::parse(name, &text).and_then(|it| it.with_variables(&variables));
    match document {
        Ok(document) => document.read_with_problems(),
        Err(problem) => only(problem),
    }
}

/// Returns what the file is called in problems, and its text.
fn read_file(path: Option<&Path>) -> Result<(String, String), ConfigError> {
    let Some(path) = path else {
        return Ok(("the defaults".to_owned(), String::new()));
    };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(source) => Err(ConfigError::File { path: name, source }),
    }
}

fn sorted_variables(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let mut variables: Vec<_> = environment.into_iter().collect();
    variables.sort_unstable();
    variables
}

#[cfg(test)]
mod tests;
