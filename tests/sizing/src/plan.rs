//! How many of what a workload needs.

use clap::Args;

use crate::{
    costs::{MEASURED_GATEWAYS, MeasuredCosts, ProgramCosts, QUIET_NODES},
    workload::Workload,
};

const KIB_PER_MIB: f64 = 1024.0;
const MIB_PER_GIB: f64 = 1024.0;
/// No deployment is planned with more gateways.
const MOST_GATEWAYS: u32 = 10_000;
/// A release or a fault takes one replica away; another has to be there.
const REPLICAS: f64 = 2.0;

/// The machines that are had, and what they cost.
#[derive(Args, Clone, Debug)]
pub struct Machine {
    /// Cores of the machine of a gateway or a replica.
    #[arg(long, default_value_t = 4.0)]
    pub cpus: f64,
    /// Its memory in GiB.
    #[arg(long, default_value_t = 16.0)]
    pub memory: f64,
    /// The part of cores and memory that may be used at the busiest time, after one gateway was lost.
    #[arg(long, default_value_t = 0.5)]
    pub utilisation: f64,
    /// Streams that a gateway takes: its setting `max_connections`.
    #[arg(long, default_value_t = 16_384.0)]
    pub streams: f64,
    /// Cores of the largest database server that is had.
    #[arg(long, default_value_t = 64.0)]
    pub database_cpus: f64,
    /// Price of a core in a month, in dollars.
    #[arg(long, default_value_t = 25.0)]
    pub cpu_price: f64,
    /// Price of a GiB of memory in a month, in dollars.
    #[arg(long, default_value_t = 3.5)]
    pub memory_price: f64,
}

/// What a workload needs.
#[derive(Clone, Copy, Debug)]
pub struct DeploymentPlan {
    /// How many gateways.
    pub gateways: f64,
    /// Cores that all of them keep busy.
    pub gateway_cores: f64,
    /// The part of it for following tailnets, whoever is told.
    pub following_cores: f64,
    /// Memory of each in MiB.
    pub gateway_mebibytes: f64,
    /// How many gateways follow a tailnet.
    pub followers: f64,
    /// Cores of identity, and so on.
    pub cores: ProgramCosts,
    /// Memory of the largest replica of an owner in MiB.
    pub owner_mebibytes: f64,
    /// Size of the database in GiB.
    pub database_gibibytes: f64,
    /// Mbit/s to clients.
    pub megabits: f64,
    /// Dollars in a month, without the database's disks and traffic.
    pub dollars: f64,
    /// Seconds of the gateways' cores until all are back, when all were cut at once.
    pub all_back_seconds: f64,
    /// Nodes at which the largest database server is as busy as it may be.
    pub most_nodes: f64,
}

impl DeploymentPlan {
    /// Finds the smallest number of gateways that is enough, and what else is needed; `None` where no number is.
    #[must_use]
    pub fn find(costs: &MeasuredCosts, workload: &Workload, machine: &Machine) -> Option<Self> {
        (2..=MOST_GATEWAYS)
            .map(|gateways| Self::with_gateways(f64::from(gateways), costs, workload, machine))
            .find(|plan| plan.fits(workload, machine))
    }

    fn fits(&self, workload: &Workload, machine: &Machine) -> bool {
        let left = self.gateways - 1.0;
        let may_use = machine.utilisation;
        workload.streams() / left <= machine.streams
            && self.gateway_cores / left <= machine.cpus * may_use
            && self.gateway_mebibytes <= machine.memory * MIB_PER_GIB * may_use
    }

    fn with_gateways(
        gateways: f64,
        costs: &MeasuredCosts,
        workload: &Workload,
        machine: &Machine,
    ) -> Self {
        let streams = workload.streams();
        let in_tailnet = workload.streams_per_tailnet();
        // Nodes are at gateways by chance: how many have one of the tailnet's.
        let followers = gateways * (1.0 - (1.0 - 1.0 / gateways).powf(in_tailnet));
        let (changes, connections) = (workload.changes(), workload.connections());
        let following_cores = changes * followers * costs.change.per_gateway;
        let connection = costs.connection + costs.connection_per_peer * in_tailnet;
        let gateway_cores = following_cores
            + changes * in_tailnet * costs.change.per_recipient
            + connections * connection
            + workload.registrations() * costs.registration
            + streams * costs.idle_stream_cores
            + workload.tailnets * followers * costs.idle_tailnet_cores;
        let followed = workload.tailnets * followers / gateways;
        let per_gateway = streams / (gateways - 1.0);
        let gateway_mebibytes = costs.gateway_mebibytes
            + (per_gateway * costs.stream_kibibytes + followed * costs.followed_tailnet_kibibytes)
                / KIB_PER_MIB;
        let of = |part: fn(&ProgramCosts) -> f64| {
            changes * part(&costs.change_elsewhere)
                + connections * part(&costs.connection_elsewhere)
                + workload.registrations() * part(&costs.registration_elsewhere)
                + workload.tailnets * part(&costs.idle_tailnet_elsewhere)
        };
        let cores = ProgramCosts {
            identity: of(|costs| costs.identity),
            registry: of(|costs| costs.registry),
            compiler: of(|costs| costs.compiler),
            postgres: of(|costs| costs.postgres),
            // Each gateway hears of each change.
            redis: of(|costs| costs.redis) * gateways / MEASURED_GATEWAYS,
        };
        let more_nodes = workload.nodes / workload.tailnets - QUIET_NODES;
        let database = workload.tailnets
            * (costs.tailnet_database_kibibytes + more_nodes * costs.node_database_kibibytes);
        let mut plan = Self {
            gateways,
            gateway_cores,
            following_cores,
            gateway_mebibytes,
            followers,
            cores,
            owner_mebibytes: workload.tailnets * costs.tailnet_owner_kibibytes / KIB_PER_MIB,
            database_gibibytes: database / KIB_PER_MIB / MIB_PER_GIB,
            megabits: 8e-6
                * (changes * in_tailnet * costs.change_bytes
                    + connections * in_tailnet * costs.first_bytes_per_peer),
            dollars: 0.0,
            all_back_seconds: streams * connection / (gateways * machine.cpus),
            most_nodes: workload.nodes * machine.database_cpus * machine.utilisation
                / cores.postgres.max(f64::MIN_POSITIVE),
        };
        plan.dollars = plan.price(machine);
        plan
    }

    /// Returns how many replicas of an owner are needed for so many cores.
    #[must_use]
    pub fn replicas(cores: f64, machine: &Machine) -> f64 {
        (cores / (machine.cpus * machine.utilisation))
            .ceil()
            .max(REPLICAS)
    }

    /// Returns how many cores a single server has to have.
    #[must_use]
    pub fn server_cpus(cores: f64, machine: &Machine) -> f64 {
        (cores / machine.utilisation).ceil().max(REPLICAS)
    }

    fn price(&self, machine: &Machine) -> f64 {
        let of_machine = machine.cpus * machine.cpu_price + machine.memory * machine.memory_price;
        let owners = [
            self.cores.identity,
            self.cores.registry,
            self.cores.compiler,
        ];
        let replicas: f64 = owners
            .map(|cores| Self::replicas(cores, machine))
            .iter()
            .sum();
        // The database has a standby, Redis a replica; four GiB for each core.
        let servers = [self.cores.postgres, self.cores.redis].map(|cores| {
            let cpus = Self::server_cpus(cores, machine);
            REPLICAS * cpus * (machine.cpu_price + 4.0 * machine.memory_price)
        });
        (self.gateways + replicas) * of_machine + servers.iter().sum::<f64>()
    }
}
