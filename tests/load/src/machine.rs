//! Where and when something was measured.

use std::{fs, process::Command, thread::available_parallelism};

use bowline_clock::{Clock as _, SystemClock};
use serde::{Deserialize, Serialize};

/// A machine at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredMachine {
    /// The day, and the time in UTC.
    pub date: String,
    /// The commit of the working directory, where it is known; `+` where files were changed since.
    pub commit: Option<String>,
    /// How many cores.
    pub cores: usize,
    /// Which.
    pub model: String,
    /// Memory in GiB.
    pub gibibytes: f64,
    /// The kernel's release.
    pub kernel: String,
    /// How many processes were running or waiting to run, over the minute before, five and fifteen.
    pub load_average: String,
}

impl MeasuredMachine {
    /// Looks at this one, now.
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kibibytes: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
        let averages = read("/proc/loadavg");
        let averages: Vec<_> = averages.split(' ').take(3).collect();
        Self {
            date: SystemClock.now().format("%Y-%m-%d %H:%M").to_string(),
            commit: commit(),
            cores: available_parallelism().map_or(1, usize::from),
            model: field(&cpu, "model name"),
            gibibytes: kibibytes / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: averages.join(" "),
        }
    }

    /// Tells it in a line.
    pub fn to_text(&self) -> String {
        let commit = self.commit.as_deref().unwrap_or("unknown");
        format!(
            "{} cores ({}), {:.0} GiB, Linux {}; {} UTC, commit {commit}, load average {} before",
            self.cores, self.model, self.gibibytes, self.kernel, self.date, self.load_average
        )
    }
}

/// Returns what stands behind the first line of a name.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line
        .unwrap_or_default()
        .trim_start_matches([' ', '\t', ':']);
    value.trim().to_owned()
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| said.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=8", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() {
        commit
    } else {
        commit + "+"
    })
}
