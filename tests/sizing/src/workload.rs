//! How many nodes there are, and what they do.

use clap::Args;

const SECONDS_PER_HOUR: f64 = 3600.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// Nodes in tailnets of one size, and how often each does what clients do. All but the numbers of nodes and tailnets is assumed.
#[derive(Args, Clone, Debug)]
pub struct Workload {
    /// How many nodes are registered.
    #[arg(long, default_value_t = 1_000_000.0)]
    pub nodes: f64,
    /// In how many tailnets.
    #[arg(long, default_value_t = 20_000.0)]
    pub tailnets: f64,
    /// The part of the nodes that is connected at the busiest time.
    #[arg(long, default_value_t = 0.6)]
    pub online: f64,
    /// Endpoints that a connected node reports in an hour.
    #[arg(long, default_value_t = 4.0)]
    pub reports_per_hour: f64,
    /// Connections that a connected node begins in an hour: it wakes up, or changes its network.
    #[arg(long, default_value_t = 0.5)]
    pub connections_per_hour: f64,
    /// Registrations for each node in a day: new ones, ephemeral ones, logins.
    #[arg(long, default_value_t = 0.05)]
    pub registrations_per_day: f64,
}

impl Workload {
    /// Returns the same with fewer nodes in as many fewer tailnets.
    #[must_use]
    pub fn divide(&self, by: f64) -> Self {
        Self {
            nodes: self.nodes / by,
            tailnets: self.tailnets / by,
            ..self.clone()
        }
    }

    /// Returns the nodes that are connected.
    #[must_use]
    pub fn streams(&self) -> f64 {
        self.nodes * self.online
    }

    /// Returns the nodes of a tailnet that are connected.
    #[must_use]
    pub fn streams_per_tailnet(&self) -> f64 {
        self.streams() / self.tailnets
    }

    /// Returns the connections in a second.
    #[must_use]
    pub fn connections(&self) -> f64 {
        self.streams() * self.connections_per_hour / SECONDS_PER_HOUR
    }

    /// Returns the changes in a second that connected nodes of the tailnet are told: endpoints, and that a node comes or goes.
    #[must_use]
    pub fn changes(&self) -> f64 {
        self.streams() * self.reports_per_hour / SECONDS_PER_HOUR + 2.0 * self.connections()
    }

    /// Returns the registrations in a second.
    #[must_use]
    pub fn registrations(&self) -> f64 {
        self.nodes * self.registrations_per_day / SECONDS_PER_DAY
    }
}
