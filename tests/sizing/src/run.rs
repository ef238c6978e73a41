//! What `bowline-load --output json` wrote.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// A run of the load.
#[derive(Clone, Debug, Deserialize)]
pub struct LoadRun {
    /// How many nodes there were.
    pub nodes: u32,
    phases: Vec<LoadPhase>,
}

/// A phase of it.
#[derive(Clone, Debug, Deserialize)]
pub struct LoadPhase {
    phase: String,
    /// How often something was done.
    pub operations: f64,
    /// How long it took.
    pub seconds: f64,
    /// CPU seconds by program.
    pub server_cpu: BTreeMap<String, f64>,
    /// Memory at the end in MiB, by program.
    pub memory: BTreeMap<String, f64>,
    /// Messages to nodes.
    pub messages: f64,
    /// Their bytes.
    pub bytes: f64,
    fault_count: usize,
    /// Further figures.
    pub figures: BTreeMap<String, f64>,
}

impl LoadRun {
    /// Reads a run in which every view was right.
    ///
    /// # Errors
    ///
    /// When the file is none, or something was wrong in it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        let run: Self =
            serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        let wrong = run.phases.iter().find(|phase| phase.fault_count > 0);
        let name = wrong.map_or("", |phase| &phase.phase);
        ensure!(wrong.is_none(), "{}: {name} has faults", path.display());
        Ok(run)
    }

    /// Returns a phase.
    ///
    /// # Errors
    ///
    /// When it was left out.
    pub fn phase(&self, name: &str) -> Result<&LoadPhase> {
        let mut phases = self.phases.iter();
        let found = phases.find(|phase| phase.phase == name);
        found.with_context(|| format!("a run has no phase {name:?}"))
    }

    /// Returns the CPU seconds that a program used for each operation of a phase, without what it uses when nothing happens.
    ///
    /// # Errors
    ///
    /// When the phase, or the quiet one, was left out.
    pub fn cpu_per_operation(&self, phase: &str, program: &str) -> Result<f64> {
        let phase = self.phase(phase)?;
        let quiet = self.phase("idle")?.cores(program) * phase.seconds;
        Ok(((phase.cpu(program) - quiet) / phase.operations).max(0.0))
    }
}

impl LoadPhase {
    fn cpu(&self, program: &str) -> f64 {
        self.server_cpu.get(program).copied().unwrap_or(0.0)
    }

    /// Returns how many cores a program kept busy.
    pub fn cores(&self, program: &str) -> f64 {
        self.cpu(program) / self.seconds
    }

    /// Returns the memory of a program in MiB.
    pub fn mebibytes(&self, program: &str) -> f64 {
        self.memory.get(program).copied().unwrap_or(0.0)
    }
}
