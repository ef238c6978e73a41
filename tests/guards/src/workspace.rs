//! The crates of the workspace, and what they import.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// A crate of the workspace.
#[derive(Clone, Debug)]
pub struct Crate {
    /// Its name without `bowline-`.
    pub name: String,
    /// Its folder, from the root of the repository.
    pub folder: PathBuf,
    /// What it imports, for its tests as well.
    pub dependencies: Vec<Dependency>,
}

/// What a crate imports.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The name of the package.
    pub name: String,
    /// Whether only tests and benchmarks see it.
    pub is_for_tests: bool,
}

impl Crate {
    /// Returns the packages that its production code imports.
    pub fn imports(&self) -> impl Iterator<Item = &str> {
        let kept = self.dependencies.iter().filter(|one| !one.is_for_tests);
        kept.map(|one| one.name.as_str())
    }

    /// Returns the crates of the workspace that its production code imports, without `bowline-`.
    pub fn own_imports(&self) -> impl Iterator<Item = &str> {
        self.imports()
            .filter_map(|name| name.strip_prefix("bowline-"))
    }

    /// Tells whether it is there for tests alone.
    #[must_use]
    pub fn is_of_tests(&self) -> bool {
        self.folder.starts_with("tests")
    }
}

/// Returns the root of the repository.
///
/// # Panics
///
/// When this crate lies somewhere else.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
}

/// Returns all crates of the workspace, as cargo sees them.
///
/// # Panics
///
/// When cargo does not answer.
#[must_use]
pub fn crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {said}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("cargo answers with JSON");
    list(&answer["packages"]).map(read_crate).collect()
}

fn read_crate(package: &Value) -> Crate {
    let manifest = Path::new(text(&package["manifest_path"]));
    let folder = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(root()).ok());
    let name = text(&package["name"]);
    Crate {
        name: name.strip_prefix("bowline-").unwrap_or(name).to_owned(),
        folder: folder.expect("a crate lies below the root").to_owned(),
        dependencies: list(&package["dependencies"])
            .map(|dependency| Dependency {
                name: text(&dependency["name"]).to_owned(),
                is_for_tests: dependency["kind"] == "dev",
            })
            .collect(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
