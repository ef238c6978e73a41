//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// How many people the nodes belong to at least, and how many nodes one has at most: the registry makes a hundred of a person at once.
const PEOPLE: u32 = 20;
const MOST_NODES: u32 = 90;
/// How many nodes register, and how many connect, while nothing else happens, at most.
const LONE_NODES: u32 = 25;

/// Puts a load on Bowline over the client protocol, and checks what every node is told.
///
/// Starts `bowline serve` or the separate services itself, from the programs that were built beside this one, or uses gateways
/// that run (`--gateway`). Sends to the loopback interface alone. Ends with a failure when a view was wrong.
#[derive(Clone, Debug, Parser)]
#[command(name = "bowline-load")]
pub struct Options {
    /// How many nodes.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(20..=19_000))]
    pub nodes: u32,
    /// Who may reach whom.
    #[arg(long, value_enum, default_value_t = PlanKind::Allow)]
    pub policy: PlanKind,
    /// How many people the nodes belong to; without it twenty, or more where one would have more nodes than the registry lets in
    /// at once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=1000))]
    pub people: Option<u32>,
    /// What is started.
    #[arg(long, value_enum, default_value_t = DeploymentKind::Serve)]
    pub deployment: DeploymentKind,
    /// A program of headscale 0.29, which is started instead: SQLite, plain HTTP, a policy in the database.
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["deployment", "tls", "boxes", "other_tailnets", "gateway"])]
    pub headscale: Option<PathBuf>,
    /// Whether the server that is started speaks TLS; separate gateways speak plain HTTP.
    #[arg(long)]
    pub tls: bool,
    /// What is done after all nodes are registered and connected.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = PhaseName::usual())]
    pub phases: Vec<PhaseName>,
    /// How long nothing happens, and how long changes are made, each.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Changes a second, each at its intended moment; nodes join at this rate, too.
    #[arg(long, default_value_t = 1.0)]
    pub rate: f64,
    /// Percent of the nodes that read slowly, stop reading, or are cut off without a word, each, while changes are made. As
    /// many strangers lie.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub faulty: u32,
    /// Percent of the nodes that speak boxes instead of Noise.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub boxes: u32,
    /// How many tailnets there are beside the one under load, each with two nodes that hold their streams and stay quiet.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=8_000))]
    pub other_tailnets: u32,
    /// URL of a gateway that runs, on the loopback interface; several share the nodes. A tailnet of their own is made for them.
    #[arg(long, conflicts_with_all = ["deployment", "tls"])]
    pub gateway: Vec<String>,
    /// The authority of certificates of gateways that run.
    #[arg(long, requires = "gateway")]
    pub gateway_ca: Option<PathBuf>,
    /// The state directory of the `bowline serve` that runs, where it is administered.
    #[arg(long, requires = "gateway", conflicts_with = "owners")]
    pub state_dir: Option<PathBuf>,
    /// Addresses of identity, key registry and policy compiler that run, where they are administered.
    #[arg(long, value_delimiter = ',', requires_all = ["gateway", "certificates"])]
    pub owners: Vec<String>,
    /// The directory with an administrator's certificate for them: ca.pem, admin.pem and admin.key.
    #[arg(long, requires = "owners")]
    pub certificates: Option<PathBuf>,
    /// Process ids of a server that runs, for its CPU time and memory, descendants included.
    #[arg(long, requires = "gateway")]
    pub pid: Vec<u32>,
    /// How the outcome is printed.
    #[arg(long, value_enum, default_value_t = OutputForm::Table)]
    pub output: OutputForm,
}

/// Who may reach whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanKind {
    /// Everybody everybody.
    Allow,
    /// People, twenty or more, their own devices, administrators everybody at 22, and fifty rules with ports.
    Scoped,
}

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeploymentKind {
    /// One process.
    Serve,
    /// The services with two gateways, PostgreSQL and Redis.
    Separate,
}

/// How the outcome is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What is done after all nodes are registered and connected, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PhaseName {
    /// Some nodes register one after the other, before all connect; later some connect one after the other.
    Alone,
    /// Every node reports an endpoint, all at once.
    Reports,
    /// Nothing.
    Idle,
    /// Ten nodes join, one after the other, at the rate.
    Joins,
    /// One endpoint changes after the other, at a rate.
    Changes,
    /// A rule for two people, a rule from one to all, and both taken back.
    Policy,
    /// Keys of nodes are ended, one after the other.
    Expire,
    /// Nodes are disabled, one after the other.
    Disable,
    /// Nodes are deleted, one after the other.
    Delete,
    /// A person is suspended, with all nodes.
    Suspend,
    /// Everything at once, for a long time: changes, joins, nodes that leave and come back, policies, nodes that go wrong.
    Soak,
    /// All connections are cut, and come back.
    Reconnect,
    /// The gateways are killed and started again.
    Crash,
}

impl PhaseName {
    /// Returns all of them, in the order in which they are done.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// Returns those that are done when none are named.
    fn usual() -> impl Iterator<Item = Self> {
        Self::all().filter(|phase| *phase != Self::Soak)
    }
}

impl Options {
    /// Returns how many people the nodes belong to.
    pub(crate) fn people(&self) -> u32 {
        let enough = PEOPLE.max(self.nodes.div_ceil(MOST_NODES));
        self.people.unwrap_or(enough)
    }

    /// Returns how many nodes register alone after the others, and connect alone.
    pub(crate) fn lone_nodes(&self) -> usize {
        match self.phases.contains(&PhaseName::Alone) {
            true => (self.nodes / 10).clamp(1, LONE_NODES) as usize,
            false => 0,
        }
    }
}
