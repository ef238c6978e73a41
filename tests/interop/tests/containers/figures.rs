//! What each container of the full stack takes, without clients and with a thousand simulated nodes.

#![expect(
    clippy::disallowed_methods,
    reason = "what is used over a time is measured, and nothing else happens meanwhile"
)]

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use bowline_interop::{ComposeStack, ContainerUsage, DockerEngine, Process, TestNetwork, wait_for};

use super::SERVICES;

/// How long a phase of the load may take to begin.
const PATIENCE: Duration = Duration::from_secs(300);
/// The phases that are measured, and the one after them.
const PHASES: [&str; 3] = ["idle", "changes", "expire"];

/// What containers have used at a moment, in the order of `SERVICES`.
struct StackUsage {
    at: Instant,
    used: [ContainerUsage; SERVICES.len()],
}

impl StackUsage {
    fn take(stack: &ComposeStack) -> Self {
        Self {
            at: Instant::now(),
            used: SERVICES.map(|service| stack.usage(service).unwrap()),
        }
    }

    /// Returns for each container its memory at the end, and what it used of one core since an earlier moment, in percent.
    fn since(&self, before: &Self) -> [String; SERVICES.len()] {
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        std::array::from_fn(|number| {
            let (now, before) = (self.used[number], before.used[number]);
            let share = (now.cpu_seconds - before.cpu_seconds) / seconds * 100.0;
            format!("{:.0} MiB, {share:.1} %", now.mebibytes)
        })
    }
}

/// Waits until the load begins a phase.
fn wait_for_phase(load: &mut Process, phase: &str) {
    wait_for(&format!("the load begins {phase}"), PATIENCE, || {
        let log = load.log();
        if log.lines().any(|line| line == phase) {
            return Ok(());
        }
        assert!(load.has_ended().is_none(), "{log}");
        Err(log)
    });
}

#[test]
#[ignore = "wants a quiet machine and optimised programs: tests/load/README.md"]
fn containers_idle_and_with_a_thousand_nodes() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let host = network.host().unwrap();
    let Some(engine) = DockerEngine::start(&host).unwrap() else {
        return;
    };
    let stack = ComposeStack::start(engine, "docker-compose.yml", "127.0.0.1").unwrap();
    let window = Duration::from_secs(60);
    sleep(window / 3);
    let begin = StackUsage::take(&stack);
    sleep(window);
    let mut columns = vec![StackUsage::take(&stack).since(&begin)];

    let seconds = format!("--seconds={}", window.as_secs());
    let phases = format!("--phases={}", PHASES.join(","));
    let mut load = stack
        .start_load(&["--nodes=1000", &seconds, &phases, "--rate=1"])
        .unwrap();
    let moments = PHASES.map(|phase| {
        wait_for_phase(&mut load, phase);
        StackUsage::take(&stack)
    });
    columns.extend(moments.windows(2).map(|pair| pair[1].since(&pair[0])));
    println!("| | no clients | 1,000 nodes | one change a second |\n|---|---|---|---|");
    for (number, service) in SERVICES.iter().enumerate() {
        let cells: Vec<_> = columns.iter().map(|column| &*column[number]).collect();
        println!("| {service} | {} |", cells.join(" | "));
    }
    wait_for("the load ends", PATIENCE, || {
        let has_succeeded = load.has_ended().ok_or("it runs")?;
        assert!(has_succeeded, "{}", load.log());
        Ok::<_, String>(())
    });
    println!("{}", load.log());
}
