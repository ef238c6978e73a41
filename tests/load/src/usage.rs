//! What processes use: CPU time and memory, as the system counts them.

use std::{collections::BTreeMap, fs, process};

/// A tick of the clock that the kernel counts CPU time by.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process at a moment.
#[derive(Clone, Debug)]
struct ProcessUse {
    name: String,
    parent: u32,
    cpu_seconds: f64,
}

/// All processes at a moment.
#[derive(Clone, Debug)]
pub struct UsageSnapshot {
    processes: BTreeMap<u32, ProcessUse>,
    /// CPU seconds of the whole machine, whoever used them.
    busy_seconds: f64,
}

/// Which processes are servers: what this one has started, or those that were named, each with its descendants.
#[derive(Clone, Debug)]
pub struct ServerProcesses(Vec<u32>);

impl ServerProcesses {
    /// Returns the processes that this one has started, or those that are named.
    pub fn new(named: &[u32]) -> Self {
        match named {
            [] => Self(vec![process::id()]),
            named => Self(named.to_vec()),
        }
    }

    fn contains(&self, snapshot: &UsageSnapshot, id: u32) -> bool {
        let mut ancestor = Some(id);
        while let Some(id) = ancestor {
            if self.0.contains(&id) {
                return true;
            }
            ancestor = snapshot.processes.get(&id).map(|process| process.parent);
        }
        false
    }

    fn of(&self, snapshot: &UsageSnapshot) -> Vec<(u32, String)> {
        let own = process::id();
        let processes = snapshot.processes.iter();
        let servers = processes.filter(|(id, _)| **id != own && self.contains(snapshot, **id));
        servers.map(|(id, one)| (*id, one.name.clone())).collect()
    }

    /// Returns the CPU seconds that servers used between two moments, by the name of the program.
    pub fn cpu_between(
        &self,
        before: &UsageSnapshot,
        after: &UsageSnapshot,
    ) -> BTreeMap<String, f64> {
        let mut used = BTreeMap::new();
        for (id, name) in self.of(after) {
            *used.entry(name).or_default() += after.cpu(id) - before.cpu(id);
        }
        used
    }

    /// Returns the memory of servers now, in MiB by the name of the program. What several of them share is counted once.
    pub fn memory(&self) -> BTreeMap<String, f64> {
        let mut held = BTreeMap::new();
        for (id, name) in self.of(&UsageSnapshot::take()) {
            *held.entry(name).or_default() += memory(id);
        }
        held
    }

    /// Returns how many descriptors servers have open now.
    pub fn descriptors(&self) -> u32 {
        let servers = self.of(&UsageSnapshot::take()).into_iter();
        let open = servers
            .filter_map(|(id, _)| Some(fs::read_dir(format!("/proc/{id}/fd")).ok()?.count()));
        u32::try_from(open.sum::<usize>()).unwrap_or(u32::MAX)
    }
}

impl UsageSnapshot {
    /// Looks at all processes.
    pub fn take() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self {
            processes: ids.filter_map(|id| Some((id, read_process(id)?))).collect(),
            busy_seconds: read_busy_seconds(),
        }
    }

    /// Returns the CPU seconds that all programs used since an earlier moment.
    pub fn busy_since(&self, before: &Self) -> f64 {
        self.busy_seconds - before.busy_seconds
    }

    /// Returns the CPU seconds that this process used since an earlier moment.
    pub fn own_cpu_since(&self, before: &Self) -> f64 {
        let own = process::id();
        self.cpu(own) - before.cpu(own)
    }

    fn cpu(&self, id: u32) -> f64 {
        self.processes
            .get(&id)
            .map_or(0.0, |process| process.cpu_seconds)
    }
}

fn read_process(id: u32) -> Option<ProcessUse> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may have spaces, and is cut short.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = [11, 12].map(|field| fields.get(field).and_then(|text| text.parse::<f64>().ok()));
    let command = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
    let program = command.split(['\0', ' ', ':']).next().unwrap_or_default();
    Some(ProcessUse {
        name: program.rsplit('/').next().unwrap_or_default().to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        cpu_seconds: ticks.into_iter().flatten().sum::<f64>() / TICKS_PER_SECOND,
    })
}

/// Returns the CPU seconds of the machine since it started, but for those when it had nothing to do.
fn read_busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks = first.split_whitespace().skip(1);
    let ticks = ticks.filter_map(|text| text.parse::<f64>().ok());
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are among the users.
    let busy = ticks
        .enumerate()
        .filter(|(place, _)| [0, 1, 2, 5, 6].contains(place));
    busy.map(|(_, ticks)| ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// Returns the memory of a process, its share of what it shares, in MiB.
fn memory(id: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
