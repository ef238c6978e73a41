//! What a person at the terminal is told: how to join a machine.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::StartedServer;

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
pub(crate) fn print_greeting(state_dir: &Path, started: &StartedServer) {
    let first_key = match started.first_key.clone() {
        None => FirstKey::None,
        Some(key) if std::io::stdout().is_terminal() => FirstKey::Shown(key),
        Some(key) => save_key(state_dir, &key),
    };
    print!("{}", greeting_text(state_dir, started, &first_key));
}

/// Puts the key where only the owner of the state directory can read it.
fn save_key(state_dir: &Path, key: &str) -> FirstKey {
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

fn greeting_text(state_dir: &Path, started: &StartedServer, first_key: &FirstKey) -> String {
    let StartedServer {
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
