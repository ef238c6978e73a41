//! `bowline policy edit`: the document in an editor, until it is valid or given up.

use std::{
    env, fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::Command,
};

use bowline_proto::policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient};
use bowline_service_kit::GrpcChannel;

use super::{get, set};
use crate::{
    failure::{Failure, FailureKind},
    output::Printer,
};

/// What is edited while no document is in force: what is in force then, written out.
const FIRST: &str = r#"// Who may reach what. Everything that no rule accepts is denied.
{
	"acls": [
		{"action": "accept", "src": ["*"], "dst": ["*:*"]},
	],
}
"#;

/// Edits the document in force; a version stored by somebody else meanwhile is not overwritten.
pub async fn edit_policy(
    client: &mut PolicyServiceClient<GrpcChannel>,
    printer: &Printer,
    tailnet_id: u64,
) -> Result<(), Failure> {
    let in_force = get(client, tailnet_id, 0).await?;
    let before = if in_force.version == 0 {
        FIRST.to_owned()
    } else {
        in_force.text
    };
    let file = tempfile::Builder::new()
        .prefix("policy-")
        .suffix(".hujson")
        .tempfile();
    let file = file.map_err(edit_failure)?.into_temp_path();
    fs::write(&file, &before).map_err(edit_failure)?;
    loop {
        open_editor(&file)?;
        let text = fs::read_to_string(&file).map_err(edit_failure)?;
        if text == before {
            printer.print_sentence("nothing was changed");
            return Ok(());
        }
        let request = SetPolicyRequest {
            tailnet_id,
            text,
            expected_version: Some(in_force.version),
            strict: false,
        };
        let name = file.display().to_string();
        match set(client, printer, &name, request).await {
            Ok(stored) => {
                printer.print_row(&stored);
                return Ok(());
            }
            Err(refused) if !ask_to_edit_again()? => {
                // The work is not lost with the refusal.
                drop(file.keep());
                printer.print_sentence(&format!("what you wrote is in {name}"));
                return Err(refused);
            }
            Err(_) => {}
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "as every program that opens an editor"
)]
fn open_editor(file: &Path) -> Result<(), Failure> {
    let editor = env::var("VISUAL").or_else(|_| env::var("EDITOR"));
    let editor = editor.unwrap_or_else(|_| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let status = Command::new(words.next().unwrap_or("vi"))
        .args(words)
        .arg(file)
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::new(
            FailureKind::Failed,
            format!("{editor} failed: nothing was changed"),
        )),
        Err(error) => {
            let text = format!("{editor}: {error}: name an editor in VISUAL or EDITOR");
            Err(Failure::new(FailureKind::Failed, text))
        }
    }
}

/// Asks whether to edit again; a program that can not be asked gives up.
fn ask_to_edit_again() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut error = io::stderr();
    write!(error, "Edit again? [Y/n] ")
        .and_then(|()| error.flush())
        .map_err(edit_failure)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(edit_failure)?;
    Ok(!answer.trim().to_lowercase().starts_with('n') && !answer.is_empty())
}

fn edit_failure(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Failed, error.to_string())
}
