//! Everything at once, for a long time: what the server holds must not grow, and all views must be right at the end.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::changes::with_lies;
use crate::{
    access_plan::{AccessPlan, AccessRule, Party},
    administration::NodeChange,
    link::NodeMode,
    pace::run_at_rate,
    report::{LatencyRecorder, PhaseReport, UsageSample},
    roster::{Presence, Standing},
    run::Run,
    trend::{median, slope},
};

/// How often the server is looked at.
const SAMPLES: Duration = Duration::from_secs(10);
/// How often a node leaves and comes back.
const RECONNECTION: Duration = Duration::from_secs(1);
/// After how many of these a rule comes or goes, and after how many a node joins and the one before it is deleted.
const POLICY_CHANGE: usize = 5;
const NEWCOMER: usize = 8;
/// How often a report is tried.
const ATTEMPTS: usize = 3;
/// What is told of growth: that in so many seconds.
const TEN_MINUTES: f64 = 600.0;

/// When each endpoint was to be reported.
type IntendedReports = Arc<Mutex<BTreeMap<SocketAddr, Instant>>>;

/// What a soak has seen so far.
struct SoakProgress {
    began: Instant,
    length: Duration,
    intended: IntendedReports,
    samples: Vec<UsageSample>,
    /// Times to each peer: all, those of the first third, and those of the last.
    took: [LatencyRecorder; 3],
}

impl Run {
    /// Changes endpoints at the rate; meanwhile nodes leave and come back, join and are deleted, and a rule comes and goes.
    pub(super) async fn soak(&mut self) -> Result<()> {
        let liars = self.let_go_wrong();
        let meter = self.begin_phase();
        let length = Duration::from_secs(self.options.seconds.into());
        let mut progress = SoakProgress {
            began: meter.began,
            length,
            intended: IntendedReports::default(),
            samples: Vec::new(),
            took: Default::default(),
        };
        let reports = self.start_reports(length, &progress.intended);
        let plans = [self.plan.clone(), self.plan.with(RULE)];
        let (mut due, mut sample_due, mut newcomers) = (meter.began, meter.began, 0);
        for number in 1.. {
            due += RECONNECTION;
            if due > meter.began + length {
                break;
            }
            sleep_until(due).await;
            self.let_one_come_back(number);
            if number % POLICY_CHANGE == 0 {
                let plan = &plans[number / POLICY_CHANGE % 2];
                self.replace_plan(plan).await?;
            }
            if number % NEWCOMER == 0 {
                self.replace_newcomer(newcomers > 0).await?;
                newcomers += 1;
            }
            if due >= sample_due {
                self.look_at(&mut progress);
                sample_due += SAMPLES.min(length / 8);
            }
        }
        for (endpoint, place) in reports.join_all().await.concat() {
            let disco = self.fleet.nodes[place].disco;
            let entry = self.roster.node_mut(place);
            (entry.endpoint, entry.disco) = (Some(endpoint), Some(disco));
        }
        self.fleet
            .wait_for_quiet(Instant::now() + self.patience)
            .await;
        self.look_at(&mut progress);
        let (report, _) = self.settle_phase("soak", &meter, |_| false).await;
        self.keep(with_lies(progress.into_report(report), liars));
        Ok(())
    }

    /// Starts to report endpoints at the rate; in the end there is each with the place of its node, in order.
    fn start_reports(
        &mut self,
        length: Duration,
        intended: &IntendedReports,
    ) -> JoinSet<Vec<(SocketAddr, usize)>> {
        let rate = self.options.rate;
        let mut endpoints = Vec::new();
        while Duration::from_secs(1).div_f64(rate) * u32::try_from(endpoints.len()).unwrap_or(0)
            < length
        {
            endpoints.push(self.next_endpoint());
        }
        let (reporters, context) = (self.reporters(), Arc::clone(&self.fleet.context));
        let noted = Arc::clone(intended);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let reports = run_at_rate(endpoints.len(), rate, |number, intended| {
                let node = Arc::clone(&reporters[number * 7919 % reporters.len()]);
                let (context, endpoint) = (Arc::clone(&context), endpoints[number]);
                noted.lock().insert(endpoint, intended);
                async move {
                    // One that is just coming back has lost what was under way.
                    for _ in 0..ATTEMPTS {
                        match node.report(&context, endpoint).await {
                            Ok(()) => break,
                            Err(error) => context.count_error(&error),
                        }
                    }
                    (number, endpoint, node.place)
                }
            });
            let mut reports = reports.await;
            reports.sort_unstable();
            let reports = reports.into_iter();
            reports
                .map(|(_, endpoint, place)| (endpoint, place))
                .collect()
        });
        running
    }

    /// Cuts the connections of a node without fault, which comes back at once.
    fn let_one_come_back(&self, number: usize) {
        let nodes = self.reporters();
        let node = &nodes[(number * 104_729 + 1) % nodes.len()];
        node.disconnect();
        node.connect(&self.fleet.context, Instant::now());
    }

    async fn replace_plan(&mut self, plan: &AccessPlan) -> Result<()> {
        self.administration.set_policy(plan).await?;
        (self.table, self.plan) = (plan.table(), plan.clone());
        Ok(())
    }

    /// Lets a node join, and deletes the one that joined before.
    async fn replace_newcomer(&mut self, has_one_joined: bool) -> Result<()> {
        let place = self.fleet.nodes.len();
        if has_one_joined {
            let id = self.roster.nodes()[place - 1].id;
            let change = NodeChange::Delete;
            self.administration.change_node(id, change).await?;
            self.roster.node_mut(place - 1).standing = Standing::Revoked;
            self.fleet.nodes[place - 1].disconnect();
        }
        self.add_nodes(1);
        let node = Arc::clone(&self.fleet.nodes[place]);
        let key = &self.administration.auth_keys[node.person];
        node.register(&self.fleet.context, key).await?;
        self.enroll_nodes().await?;
        node.connect(&self.fleet.context, Instant::now());
        self.roster.node_mut(place).presence = Presence::Online;
        Ok(())
    }

    /// Looks at what the server holds, and opens what nodes were told since.
    fn look_at(&mut self, progress: &mut SoakProgress) {
        let seconds = progress.began.elapsed().as_secs_f64();
        progress.samples.push(self.server_sample(seconds));
        let intended = Arc::clone(&progress.intended);
        let is_report = |heard: &crate::view::Heard| heard.endpoint.is_some();
        let (told, _) = self.fleet.open_frames(is_report);
        let intended = intended.lock();
        for one in told {
            let is_healthy = self.fleet.nodes[one.place].mode == NodeMode::Healthy;
            let endpoint = one.heard.endpoint.filter(|_| is_healthy);
            if let Some(due) = endpoint.and_then(|endpoint| intended.get(&endpoint)) {
                progress.note(*due, one.at);
            }
        }
    }
}

/// The rule that comes and goes.
const RULE: AccessRule = AccessRule {
    from: Party::Person(1),
    to: Party::Person(2),
    ports: (9000, 9000),
};

impl SoakProgress {
    fn note(&mut self, due: Instant, at: Instant) {
        let took = at.saturating_duration_since(due);
        let [all, first, last] = &mut self.took;
        all.add(took);
        let passed = due.saturating_duration_since(self.began);
        if passed * 3 < self.length {
            first.add(took);
        }
        if passed * 3 >= self.length * 2 {
            last.add(took);
        }
    }

    fn into_report(self, report: PhaseReport) -> PhaseReport {
        let mut report = PhaseReport {
            operations: self.intended.lock().len(),
            latency_ms: self.took[0].summary(),
            ..report
        };
        let memory = self.growth(|sample| sample.mebibytes);
        let descriptors = self.growth(|sample| f64::from(sample.descriptors));
        for (name, growth) in [
            ("percent that memory grows in ten minutes", memory),
            ("percent that descriptors grow in ten minutes", descriptors),
        ] {
            if let Some(growth) = growth {
                report.figures.insert(name, growth);
            }
        }
        for (name, recorder) in [
            "ms to each peer, first third",
            "ms to each peer, last third",
        ]
        .into_iter()
        .zip(&self.took[1..])
        {
            if let Some(summary) = recorder.summary() {
                report.summaries.insert(name, summary);
            }
        }
        report.samples = self.samples;
        report
    }

    /// Returns by how many percent something grows in ten minutes. What is kept for later is there after a third of the time.
    fn growth(&self, of: fn(&UsageSample) -> f64) -> Option<f64> {
        let warm = self.length.as_secs_f64() / 3.0;
        let samples = self.samples.iter().filter(|one| one.seconds >= warm);
        let points: Vec<_> = samples.map(|one| (one.seconds, of(one))).collect();
        let middle = median(points.iter().map(|(_, value)| *value).collect())?;
        Some(slope(&points)? * TEN_MINUTES / middle * 100.0)
    }
}
