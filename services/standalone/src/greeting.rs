//! What a person at the terminal is told: how to join a machine.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::Started;

/// Where the first key of a start without a terminal is kept: what is printed there is kept by others, in logs.
const FILE: &str = "first-key";

/// Where the first key is.
#[derive(Debug)]
enum FirstKey {
    /// This was not the first start.
    None,
    /// A person sees it.
    Shown(String),
    /// A file has it.
    InFile(PathBuf),
    /// The file could not be written.
    Lost(String),
}

/// Tells how to join a machine.
#[expect(clippy::print_stdout, reason = "this is the answer to the command")]
pub(crate) fn greet(state_dir: &Path, started: &Started) {
    let first_key = match started.first_key.clone() {
        None => FirstKey::None,
        Some(key) if std::io::stdout().is_terminal() => FirstKey::Shown(key),
        Some(key) => keep(state_dir, &key),
    };
    print!("{}", text(state_dir, started, &first_key));
}

/// Puts the key where only the owner of the state directory can read it.
fn keep(state_dir: &Path, key: &str) -> FirstKey {
    let path = state_dir.join(FILE);
    // One of an earlier start may have another mode.
    drop(fs::remove_file(&path));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{key}"));
    match written {
        Ok(()) => FirstKey::InFile(path),
        Err(error) => FirstKey::Lost(format!("{} can not be written: {error}", path.display())),
    }
}

fn text(state_dir: &Path, started: &Started, first_key: &FirstKey) -> String {
    let Started {
        public_url,
        authority,
        warnings,
        ports,
        ..
    } = started;
    let mut lines = vec![
        format!("Bowline serves {public_url}"),
        format!("State: {}", state_dir.display()),
        format!("Clients reach it at {ports}"),
    ];
    lines.extend(warnings.iter().map(|warning| format!("Warning: {warning}")));
    lines.push("\nJoin a machine:\n".to_owned());
    if let Some(authority) = authority {
        let authority = authority.display();
        lines.push(format!(
            "  copy {authority} to it, and let tailscaled start with"
        ));
        lines.push("  SSL_CERT_FILE=PATH/ca.pem\n".to_owned());
    }
    let key = match first_key {
        FirstKey::Shown(key) => key,
        _ => "KEY",
    };
    lines.push(format!(
        "  tailscale up --login-server={public_url} --auth-key={key}\n"
    ));
    let works = "The key works for 24 hours, for any number of machines";
    lines.push(match first_key {
        FirstKey::None => "Make a key: bowline keys create --user owner@home".to_owned(),
        FirstKey::Shown(_) => format!("{works}. More: bowline keys create --help"),
        FirstKey::InFile(path) => {
            let path = path.display();
            format!(
                "{works}. It is in a file for your eyes only: read it with `cat {path}`,\n\
                 or join this machine with --auth-key=file:{path}. More: bowline keys create --help"
            )
        }
        FirstKey::Lost(problem) => format!(
            "The first key is lost, as {problem}. Make another: bowline keys create --user owner@home"
        ),
    });
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}
