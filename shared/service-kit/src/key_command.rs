//! Keys that a command prints, in place of a file: such as one that asks a key management service.
//!
//! The command is run by `sh -c`. What it prints is kept in one place in memory, which is wiped, and is said nowhere. What it says
//! on standard error is for the operator.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt as _, copy, sink},
    process::{Child, Command},
};
use zeroize::Zeroizing;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much it may print, in bytes.
const LONGEST: u64 = 64 << 10;
/// How much of what it says of its failure is passed on, in characters.
const LONGEST_WORDS: usize = 500;
/// What private keys begin with.
const KEY_PREFIXES: [&str; 3] = ["privkey:", "bowline-sealing-key-", "bowline-audit-key-"];

/// Why a command gives no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyCommandError {
    /// It can not be run.
    #[error("{0}")]
    Run(#[from] io::Error),
    /// It takes too long.
    #[error("it has not ended after {} seconds", PATIENCE.as_secs())]
    Late,
    /// It fails.
    #[error("it failed ({status}): {said}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error.
        said: String,
    },
    /// It prints more than keys.
    #[error("it prints more than the text of keys")]
    Long,
    /// It prints something else.
    #[error("what it prints is no text")]
    NoText,
}

/// Runs a command and returns what it prints.
///
/// # Errors
///
/// [`KeyCommandError`], which never has what the command printed.
pub async fn run_key_command(command: &str) -> Result<Zeroizing<String>, KeyCommandError> {
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let mut running = RunningCommand {
        child,
        is_over: false,
    };
    let ended = tokio::time::timeout(PATIENCE, running.read_output()).await;
    ended.unwrap_or(Err(KeyCommandError::Late))
}

/// A command, which ends with all that it has started when nobody waits for it any more.
struct RunningCommand {
    child: Child,
    is_over: bool,
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        // Until it was waited for, no other process group has its number.
        let id = self.child.id().filter(|_| !self.is_over);
        let group = id.and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "the command has ended by itself");
        }
    }
}

impl RunningCommand {
    async fn read_output(&mut self) -> Result<Zeroizing<String>, KeyCommandError> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        // Room for all of it at once: a text that grows leaves copies behind.
        let room = usize::try_from(LONGEST).unwrap_or_default() + 64;
        let mut printed = Zeroizing::new(Vec::with_capacity(room));
        let mut said = Vec::new();
        let read_printed = async {
            if let Some(stdout) = stdout {
                stdout.take(LONGEST + 1).read_to_end(&mut printed).await?;
            }
            match printed.len() as u64 > LONGEST {
                true => Err(KeyCommandError::Long),
                false => Ok(()),
            }
        };
        let read_said = async {
            if let Some(mut stderr) = stderr {
                let most = 4 * LONGEST_WORDS as u64;
                (&mut stderr).take(most).read_to_end(&mut said).await?;
                copy(&mut stderr, &mut sink()).await?;
            }
            Ok(())
        };
        tokio::try_join!(read_printed, read_said)?;
        let status = self.child.wait().await?;
        self.is_over = true;
        if !status.success() {
            let said = without_keys(&String::from_utf8_lossy(&said));
            return Err(KeyCommandError::Failed { status, said });
        }
        let text = std::str::from_utf8(&printed).map_err(|_| KeyCommandError::NoText)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Returns the beginning of what was said, in one line and without keys: a shell that shows what it runs shows them.
fn without_keys(said: &str) -> String {
    let is_key = |word: &str| KEY_PREFIXES.iter().any(|prefix| word.contains(prefix));
    let words = said.split_whitespace();
    let words: Vec<_> = words
        .map(|word| if is_key(word) { "[redacted]" } else { word })
        .collect();
    words.join(" ").chars().take(LONGEST_WORDS).collect()
}

#[cfg(test)]
mod tests;
