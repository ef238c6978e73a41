//! A run: a server, a fleet, phase after phase, each measured and checked.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bowline_service_kit::descriptors;
use clap::ValueEnum as _;
use tokio::time::Instant;

use crate::{
    access_plan::{AccessPlan, AccessTable},
    administration::Administration,
    fleet::{Fleet, FleetContext, QUIET, Told},
    link::NodeMode,
    node::SimulatedNode,
    options::{DeploymentKind, Options, PhaseName, PlanKind},
    quiet_tailnet::QuietTailnet,
    report::{PhaseReport, RunReport, UsageSample},
    roster::Roster,
    session::Transport,
    target::Target,
    usage::{ServerProcesses, UsageSnapshot},
    view::Heard,
};

/// How long a phase may take until everything in it has happened.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long that is with headscale, which is slower; and how long nothing comes before it has come to rest, because it holds
/// changes back for 0.8 s.
const HEADSCALE_PATIENCE: Duration = Duration::from_secs(600);
const HEADSCALE_QUIET: Duration = Duration::from_secs(2);
/// Fewer nodes are at rest sooner.
const FEW: u32 = 100;
const QUIET_OF_FEW: Duration = Duration::from_millis(150);
/// How long views may be wrong after the last message.
const LATE: Duration = Duration::from_secs(20);
/// The most faults of a phase that are told.
const TOLD: usize = 20;

/// What the phases work on.
pub struct Run {
    /// What is wanted.
    pub options: Options,
    /// The server.
    pub target: Target,
    /// The nodes.
    pub fleet: Fleet,
    /// Their administrator.
    pub administration: Administration,
    /// How the nodes have to be.
    pub roster: Roster,
    /// The rules in force.
    pub plan: AccessPlan,
    /// Their meaning.
    pub table: AccessTable,
    /// Endpoints that were given out.
    pub endpoints: u32,
    /// Tailnets beside the one under load.
    pub others: Vec<QuietTailnet>,
    /// How long a phase may take until everything in it has happened.
    pub patience: Duration,
    servers: ServerProcesses,
    reports: Vec<PhaseReport>,
}

/// A phase that is being measured.
pub struct PhaseMeter {
    /// When it began.
    pub began: Instant,
    usage: UsageSnapshot,
    messages: u64,
    bytes: u64,
    first_bytes: u64,
}

/// Puts the load on, and returns what was measured; `None` where what the server runs on is not installed. Each phase that
/// begins is told.
///
/// # Errors
///
/// What hinders it. Wrong views are no error, but stand in the report.
pub async fn run_load(options: Options, tell: fn(&str)) -> Result<Option<RunReport>> {
    descriptors::raise_limit();
    // Starting a server waits for programs.
    let Some(target) = tokio::task::block_in_place(|| Target::begin(&options))? else {
        return Ok(None);
    };
    let mut run = Run::begin(options, target).await?;
    if run.options.other_tailnets > 0 {
        tell("other tailnets");
        run.start_other_tailnets().await?;
    }
    let lone = run.options.lone_nodes();
    run.add_nodes(usize::try_from(run.options.nodes)? - lone);
    tell("register");
    run.register().await?;
    if lone > 0 {
        run.add_nodes(lone);
        tell("register alone");
        run.register_alone().await?;
    }
    tell("connect");
    run.connect().await?;
    for phase in PhaseName::all() {
        if !run.options.phases.contains(&phase) {
            continue;
        }
        let name = phase
            .to_possible_value()
            .context("a phase without a name")?;
        if run.target.access.may_do(phase) {
            tell(name.get_name());
            Box::pin(run.do_phase(phase)).await?;
        } else {
            tell(&format!(
                "{}: left out, headscale has no such thing",
                name.get_name()
            ));
        }
    }
    run.finish_other_tailnets().await;
    Ok(Some(run.into_report()))
}

impl Run {
    /// Makes a tailnet at a server, and puts its policy in force.
    async fn begin(options: Options, target: Target) -> Result<Self> {
        let first = target.gateways.first().context("no gateway")?;
        let context = FleetContext::new(target.gateways.clone(), first.control_keys().await?);
        let people = usize::try_from(options.people())?;
        let plan = match options.policy {
            PlanKind::Allow => AccessPlan::allow_all(people),
            PlanKind::Scoped => AccessPlan::scoped(people),
        };
        let administration = Administration::begin(target.access.clone(), people).await?;
        administration.set_policy(&plan).await?;
        let (patience, quiet) = match (&options.headscale, options.nodes) {
            (Some(_), _) => (HEADSCALE_PATIENCE, HEADSCALE_QUIET),
            (None, ..FEW) => (PATIENCE, QUIET_OF_FEW),
            (None, _) => (PATIENCE, QUIET),
        };
        Ok(Self {
            servers: ServerProcesses::new(&options.pid),
            table: plan.table(),
            fleet: Fleet::new(Arc::new(context), quiet),
            roster: Roster::default(),
            endpoints: 0,
            others: Vec::new(),
            patience,
            reports: Vec::new(),
            options,
            target,
            administration,
            plan,
        })
    }

    /// Adds nodes to the fleet: each is of the next person, and of a mode and a transport by its place.
    pub fn add_nodes(&mut self, count: usize) {
        let (faulty, boxes) = (self.options.faulty as usize, self.options.boxes as usize);
        let (begin, people) = (self.fleet.nodes.len(), self.plan.people());
        let node = |place: usize| {
            let modes = [NodeMode::Slow, NodeMode::Stalled, NodeMode::HalfOpen];
            let percent = (place * 37 + 11) % 100;
            let mode = percent.checked_div(faulty).and_then(|part| modes.get(part));
            let transport = match (place * 53 + 7) % 100 < boxes {
                true => Transport::Boxes,
                false => Transport::Noise,
            };
            SimulatedNode::new(
                place,
                place % people,
                *mode.unwrap_or(&NodeMode::Healthy),
                transport,
            )
        };
        self.fleet.extend((begin..begin + count).map(node));
    }

    /// Begins to measure.
    pub fn begin_phase(&self) -> PhaseMeter {
        let traffic = &self.fleet.context.traffic;
        PhaseMeter {
            began: Instant::now(),
            usage: UsageSnapshot::take(),
            messages: traffic.frames.load(Ordering::Relaxed),
            bytes: traffic.bytes.load(Ordering::Relaxed),
            first_bytes: traffic.first_bytes.load(Ordering::Relaxed),
        }
    }

    /// Waits until a phase has come to rest, measures it, and checks all views; returns what nodes were told of single peers
    /// that `is_wanted`.
    pub async fn settle_phase(
        &mut self,
        phase: &str,
        meter: &PhaseMeter,
        is_wanted: impl Fn(&Heard) -> bool + Sync,
    ) -> (PhaseReport, Vec<Told>) {
        let deadline = Instant::now() + self.patience;
        let last = self.fleet.wait_for_quiet(deadline).await;
        let usage = UsageSnapshot::take();
        let measured = meter.began.elapsed().as_secs_f64();
        let traffic = &self.fleet.context.traffic;
        let mut report = PhaseReport {
            phase: phase.to_owned(),
            operations: 1,
            seconds: last.saturating_duration_since(meter.began).as_secs_f64(),
            measured_seconds: measured,
            is_cut_off: Instant::now() >= deadline,
            server_cpu: self.servers.cpu_between(&meter.usage, &usage),
            generator_cpu: usage.own_cpu_since(&meter.usage),
            memory: self.servers.memory(),
            messages: traffic.frames.load(Ordering::Relaxed) - meter.messages,
            bytes: traffic.bytes.load(Ordering::Relaxed) - meter.bytes,
            first_bytes: traffic.first_bytes.load(Ordering::Relaxed) - meter.first_bytes,
            errors: self.fleet.context.take_errors(),
            ..PhaseReport::default()
        };
        let busy = usage.busy_since(&meter.usage) - report.generator_cpu;
        report.other_cores = ((busy - report.server_cpu_seconds()) / measured).max(0.0);
        let (mut told, nodes_told) = self.fleet.open_frames(&is_wanted);
        report.nodes_told = nodes_told;
        let late = last.max(Instant::now()) + LATE;
        loop {
            let (views, faults) = self.fleet.check(&self.roster, &self.table);
            (report.views, report.fault_count) = (views, faults.len());
            report.faults = faults.into_iter().take(TOLD).collect();
            if report.fault_count == 0 || Instant::now() > late {
                break;
            }
            let newest = self.fleet.wait_for_quiet(late).await;
            report.late_seconds = newest.saturating_duration_since(last).as_secs_f64();
            told.extend(self.fleet.open_frames(&is_wanted).0);
        }
        (report, told)
    }

    /// Returns the memory of the server in MiB, and its open descriptors, now.
    pub fn server_sample(&self, seconds: f64) -> UsageSample {
        UsageSample {
            seconds,
            mebibytes: self.servers.memory().values().sum(),
            descriptors: self.servers.descriptors(),
        }
    }

    /// Returns the memory of the server now, in MiB by the name of the program.
    pub fn server_memory(&self) -> BTreeMap<String, f64> {
        self.servers.memory()
    }

    /// Keeps what was measured.
    pub fn keep(&mut self, report: PhaseReport) {
        self.reports.push(report);
    }

    /// Returns what was measured in an earlier phase.
    pub fn earlier(&self, phase: &str) -> Option<&PhaseReport> {
        self.reports.iter().find(|report| report.phase == phase)
    }

    fn into_report(self) -> RunReport {
        let headscale = self.options.headscale.is_some();
        let target = match (&*self.options.gateway, self.options.deployment) {
            _ if headscale => "headscale".to_owned(),
            ([], DeploymentKind::Serve) => "one process".to_owned(),
            ([], DeploymentKind::Separate) => "separate services, two gateways".to_owned(),
            (gateways, _) => gateways.join(", "),
        };
        RunReport {
            nodes: self.options.nodes,
            policy: format!("{:?}", self.options.policy).to_lowercase(),
            target: if self.options.tls {
                target + ", TLS"
            } else {
                target
            },
            phases: self.reports,
        }
    }
}
