//! What a person at the terminal is told: how to join a machine.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::StartedServer;

/// Where the first key, and the first link, of a start without a terminal are kept: what is printed there is kept by others, in
/// logs.
const KEY_FILE: &str = "first-key";
const LINK_FILE: &str = "first-link";

/// Where a secret of the first start is.
#[derive(Debug)]
enum FirstSecret {
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
    let place = |secret: Option<&String>, file| match secret {
        None => FirstSecret::None,
        Some(secret) if std::io::stdout().is_terminal() => FirstSecret::Shown(secret.clone()),
        Some(secret) => save_secret(state_dir, file, secret),
    };
    let first = started.first.as_ref();
    let key = place(first.map(|first| &first.key), KEY_FILE);
    let link = place(first.map(|first| &first.link), LINK_FILE);
    print!("{}", greeting_text(state_dir, started, &key, &link));
}

/// Puts a secret where only the owner of the state directory can read it.
fn save_secret(state_dir: &Path, file: &str, secret: &str) -> FirstSecret {
    let path = state_dir.join(file);
    // One of an earlier start may have another mode.
    drop(fs::remove_file(&path));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{secret}"));
    match written {
        Ok(()) => FirstSecret::InFile(path),
        Err(error) => FirstSecret::Lost(format!("{} can not be written: {error}", path.display())),
    }
}

fn greeting_text(
    state_dir: &Path,
    started: &StartedServer,
    first_key: &FirstSecret,
    first_link: &FirstSecret,
) -> String {
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
        FirstSecret::Shown(key) => key,
        _ => "KEY",
    };
    lines.push(format!(
        "  tailscale up --login-server={public_url} --auth-key={key}\n"
    ));
    let works = "The key works for 24 hours, for any number of machines";
    lines.push(match first_key {
        FirstSecret::None => "Make a key: bowline keys create --user owner@home".to_owned(),
        FirstSecret::Shown(_) => format!("{works}. More: bowline keys create --help"),
        FirstSecret::InFile(path) => {
            let path = path.display();
            format!(
                "{works}. It is in a file for your eyes only: read it with `cat {path}`,\n\
                 or join this machine with --auth-key=file:{path}. More: bowline keys create --help"
            )
        }
        FirstSecret::Lost(problem) => format!(
            "The first key is lost, as {problem}. Make another: bowline keys create --user owner@home"
        ),
    });
    let link = match first_link {
        FirstSecret::None => None,
        FirstSecret::Shown(link) => Some(format!(
            "\nSee your devices in a browser, once by this link: {link}"
        )),
        FirstSecret::InFile(path) => Some(format!(
            "\nSee your devices in a browser: a link that works once is in a file for your eyes only, {}",
            path.display()
        )),
        FirstSecret::Lost(_) => Some(
            "\nSee your devices in a browser: bowline invitations create owner@home".to_owned(),
        ),
    };
    lines.extend(link);
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}
