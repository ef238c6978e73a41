//! What single things cost, from runs that differ in them.

use std::path::Path;

use anyhow::Result;

use crate::run::LoadRun;

/// The gateways' program.
const GATEWAY: &str = "bowline-netmap-gateway";
/// How many gateways the measured deployments had.
pub const MEASURED_GATEWAYS: f64 = 2.0;
/// How many nodes a tailnet beside the one under load had.
pub const QUIET_NODES: f64 = 2.0;
const KIB_PER_MIB: f64 = 1024.0;

/// What one thing costs each program: CPU seconds, or cores for what goes on all the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramCosts {
    /// Of identity.
    pub identity: f64,
    /// Of the key registry.
    pub registry: f64,
    /// Of the policy compiler.
    pub compiler: f64,
    /// Of PostgreSQL.
    pub postgres: f64,
    /// Of Redis.
    pub redis: f64,
}

impl ProgramCosts {
    /// Asks for what each program costs, by its name.
    fn of_each(cost: impl Fn(&str) -> Result<f64>) -> Result<Self> {
        Ok(Self {
            identity: cost("bowline-identity")?,
            registry: cost("bowline-key-registry")?,
            compiler: cost("bowline-policy-compiler")?,
            postgres: cost("postgres")?,
            redis: cost("redis-server")?,
        })
    }
}

/// CPU seconds at gateways for a thing that is told to others.
#[derive(Clone, Copy, Debug)]
pub struct ChangeCost {
    /// At each gateway that follows the tailnet, whoever is told.
    pub per_gateway: f64,
    /// For each node that is told.
    pub per_recipient: f64,
}

/// All costs.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredCosts {
    /// A gateway that has nothing, in MiB.
    pub gateway_mebibytes: f64,
    /// A stream at a gateway, with TLS and its node, in KiB.
    pub stream_kibibytes: f64,
    /// A tailnet that a gateway follows, in KiB, with what it knows of two nodes.
    pub followed_tailnet_kibibytes: f64,
    /// Cores of a gateway for a stream on which nothing happens.
    pub idle_stream_cores: f64,
    /// Cores of a gateway for a tailnet that it follows and in which nothing happens.
    pub idle_tailnet_cores: f64,
    /// Cores of the others for such a tailnet, with one replica of each.
    pub idle_tailnet_elsewhere: ProgramCosts,
    /// An endpoint that changes, at the gateways.
    pub change: ChangeCost,
    /// An endpoint that changes, elsewhere.
    pub change_elsewhere: ProgramCosts,
    /// CPU seconds of the gateway for a connection up to its first netmap, without its peers.
    pub connection: f64,
    /// For each peer in the first netmap.
    pub connection_per_peer: f64,
    /// A connection, elsewhere.
    pub connection_elsewhere: ProgramCosts,
    /// CPU seconds of the gateway for a registration.
    pub registration: f64,
    /// A registration, elsewhere.
    pub registration_elsewhere: ProgramCosts,
    /// A registered node in the database, in KiB.
    pub node_database_kibibytes: f64,
    /// A tailnet with a user, a key, a policy and two nodes in the database, in KiB.
    pub tailnet_database_kibibytes: f64,
    /// A tailnet with two nodes in the memory of each owner, in KiB: of the one that needs most.
    pub tailnet_owner_kibibytes: f64,
    /// Bytes of a change for each node that is told.
    pub change_bytes: f64,
    /// Bytes of a first netmap for each peer.
    pub first_bytes_per_peer: f64,
}

impl MeasuredCosts {
    /// Works them out from a directory of runs: `small` and `large` tailnets, `few` and `many` of them, and one process in
    /// `plain` and with `tls`.
    ///
    /// # Errors
    ///
    /// When a run is not there, or was wrong.
    pub fn read(directory: &Path) -> Result<Self> {
        let read = |name: &str| LoadRun::read(&directory.join(name).with_extension("json"));
        let (small, large) = (read("small")?, read("large")?);
        let (few, many) = (read("few")?, read("many")?);
        let (plain, tls) = (read("plain")?, read("tls")?);
        let nodes = f64::from(large.nodes) - f64::from(small.nodes);
        let slope = |of: &dyn Fn(&LoadRun) -> Result<f64>| -> Result<f64> {
            Ok((of(&large)? - of(&small)?) / nodes)
        };
        let gateway =
            |phase: &'static str| move |run: &LoadRun| run.cpu_per_operation(phase, GATEWAY);
        let others = |run: &LoadRun| run.phase("other tailnets").cloned();
        let tailnets = others(&many)?.operations - others(&few)?.operations;
        let per_tailnet = |of: &dyn Fn(&LoadRun) -> Result<f64>| -> Result<f64> {
            Ok((of(&many)? - of(&few)?) / tailnets)
        };
        let memory = |program: &'static str| {
            move |run: &LoadRun| Ok(others(run)?.mebibytes(program) * KIB_PER_MIB)
        };
        let database = |run: &LoadRun, phase: &str| -> Result<f64> {
            let size = run.phase(phase)?.figures.get("MiB of the database");
            Ok(size.copied().unwrap_or(0.0) * KIB_PER_MIB)
        };
        let stream = |run: &LoadRun| -> Result<f64> {
            let size = run.phase("idle")?.figures.get("KiB for each stream");
            Ok(size.copied().unwrap_or(0.0))
        };
        let for_tls = stream(&tls)? - stream(&plain)?;
        let plain_stream = stream(&large)?;
        let handshake = tls.cpu_per_operation("reconnect", "bowline")?
            - plain.cpu_per_operation("reconnect", "bowline")?;
        let told = slope(&gateway("changes"))?;
        let per_peer = slope(&gateway("reconnect"))?;
        let small_nodes = f64::from(small.nodes);
        let owners = [
            "bowline-identity",
            "bowline-key-registry",
            "bowline-policy-compiler",
        ];
        let mut of_owner = 0.0_f64;
        for owner in owners {
            of_owner = of_owner.max(per_tailnet(&memory(owner))?);
        }
        let idle_cores = |program: &str| -> Result<f64> {
            let cores = per_tailnet(&|run| Ok(run.phase("other tailnets, idle")?.cores(program)));
            Ok(cores?.max(0.0))
        };
        let gateway_tailnet = per_tailnet(&memory(GATEWAY))?;
        let followed = (gateway_tailnet - QUIET_NODES * plain_stream).max(0.0) / MEASURED_GATEWAYS;
        let registered = large.phase("register")?;
        let reconnected = large.phase("reconnect")?;
        let (changed, large_nodes) = (large.phase("changes")?, f64::from(large.nodes));
        Ok(Self {
            gateway_mebibytes: small.phase("register")?.mebibytes(GATEWAY) / MEASURED_GATEWAYS,
            stream_kibibytes: plain_stream + for_tls,
            followed_tailnet_kibibytes: followed,
            idle_stream_cores: slope(&|run| Ok(run.phase("idle")?.cores(GATEWAY)))?.max(0.0),
            idle_tailnet_cores: idle_cores(GATEWAY)? / MEASURED_GATEWAYS,
            idle_tailnet_elsewhere: ProgramCosts::of_each(idle_cores)?,
            change: ChangeCost {
                per_gateway: (gateway("changes")(&small)? - told * (small_nodes - 1.0)).max(0.0)
                    / MEASURED_GATEWAYS,
                per_recipient: told,
            },
            // At the higher rate: owners take what comes together at once.
            change_elsewhere: elsewhere(&small, "changes")?,
            connection: (gateway("reconnect")(&small)? - per_peer * (small_nodes - 1.0)).max(0.0)
                + handshake.max(0.0),
            connection_per_peer: per_peer,
            connection_elsewhere: elsewhere(&large, "reconnect")?,
            registration: registered.cores(GATEWAY) * registered.seconds / registered.operations,
            registration_elsewhere: elsewhere(&large, "register")?,
            node_database_kibibytes: slope(&|run| database(run, "register"))?,
            tailnet_database_kibibytes: per_tailnet(&|run| database(run, "other tailnets"))?,
            tailnet_owner_kibibytes: of_owner,
            change_bytes: changed.bytes / changed.messages,
            first_bytes_per_peer: reconnected.bytes / reconnected.operations / (large_nodes - 1.0),
        })
    }
}

/// Returns what a phase costs beside the gateways.
fn elsewhere(run: &LoadRun, phase: &str) -> Result<ProgramCosts> {
    ProgramCosts::of_each(|program| run.cpu_per_operation(phase, program))
}
