//! The tables of `deploy/sizing.md`.

use crate::{
    costs::{MeasuredCosts, ProgramCosts},
    plan::{DeploymentPlan, Machine},
    workload::Workload,
};

/// Returns the table of what single things cost.
#[must_use]
pub fn render_costs(costs: &MeasuredCosts) -> String {
    let change = format!(
        "{} at each gateway that follows the tailnet, and {} for each node that is told",
        milliseconds(costs.change.per_gateway),
        milliseconds(costs.change.per_recipient)
    );
    let connection = format!(
        "{}, and {} for each peer",
        milliseconds(costs.connection),
        milliseconds(costs.connection_per_peer)
    );
    let rows = [
        (
            "a gateway",
            format!("{} MiB", short(costs.gateway_mebibytes)),
        ),
        (
            "a stream, with TLS",
            format!(
                "{} KiB at its gateway; {} cores for a thousand while nothing happens",
                short(costs.stream_kibibytes),
                short(1000.0 * costs.idle_stream_cores)
            ),
        ),
        (
            "a tailnet",
            format!(
                "{} KiB at each gateway that follows it, {} KiB at each replica of an owner, {} KiB in the database",
                short(costs.followed_tailnet_kibibytes),
                short(costs.tailnet_owner_kibibytes),
                short(costs.tailnet_database_kibibytes)
            ),
        ),
        (
            "a thousand tailnets while nothing happens",
            format!(
                "{} at each gateway that follows them, {}",
                cores_of_thousand(costs.idle_tailnet_cores),
                write_each(&costs.idle_tailnet_elsewhere, cores_of_thousand)
            ),
        ),
        (
            "a node that is registered",
            format!(
                "{} KiB in the database",
                short(costs.node_database_kibibytes)
            ),
        ),
        ("a change of an endpoint, at gateways", change),
        (
            "the same, elsewhere",
            write_each(&costs.change_elsewhere, milliseconds),
        ),
        (
            "the same, to each node that is told",
            format!("{} bytes", short(costs.change_bytes)),
        ),
        (
            "a connection up to its first netmap, at its gateway",
            connection,
        ),
        (
            "the same, elsewhere",
            write_each(&costs.connection_elsewhere, milliseconds),
        ),
        (
            "the same, to the node",
            format!("{} bytes for each peer", short(costs.first_bytes_per_peer)),
        ),
        (
            "a registration, at its gateway",
            milliseconds(costs.registration),
        ),
        (
            "the same, elsewhere",
            write_each(&costs.registration_elsewhere, milliseconds),
        ),
    ];
    let rows = rows.map(|(name, cost)| format!("| {name} | {cost} |\n"));
    format!("| | |\n|---|---|\n{}", rows.concat())
}

fn milliseconds(seconds: f64) -> String {
    format!("{} ms", short(seconds * 1000.0))
}

fn cores_of_thousand(cores: f64) -> String {
    format!("{} cores", short(1000.0 * cores))
}

/// Writes the cost of each program beside the gateways.
fn write_each(costs: &ProgramCosts, write: fn(f64) -> String) -> String {
    let of_each = [
        ("identity", costs.identity),
        ("key registry", costs.registry),
        ("policy compiler", costs.compiler),
        ("PostgreSQL", costs.postgres),
        ("Redis", costs.redis),
    ];
    let of_each = of_each.map(|(name, cost)| format!("{name} {}", write(cost)));
    of_each.join(", ")
}

/// Returns the table of what workloads need, one in each column.
#[must_use]
pub fn render_plans(columns: &[(Workload, DeploymentPlan)], machine: &Machine) -> String {
    type Cell<'a> = &'a dyn Fn(&Workload, &DeploymentPlan) -> String;
    let replicas = |cores: f64| {
        let replicas = DeploymentPlan::replicas(cores, machine);
        format!("{replicas}: {} cores busy", short(cores))
    };
    let server = |cores: f64| {
        let cpus = DeploymentPlan::server_cpus(cores, machine);
        format!("{cpus} cores: {} busy", short(cores))
    };
    let rows: [(&str, Cell<'_>); 19] = [
        ("nodes", &|workload, _| short(workload.nodes)),
        ("tailnets", &|workload, _| short(workload.tailnets)),
        ("streams", &|workload, _| short(workload.streams())),
        ("changes in a second", &|workload, _| {
            short(workload.changes())
        }),
        ("connections in a second", &|workload, _| {
            short(workload.connections())
        }),
        ("**gateways**", &|_, plan| format!("**{}**", plan.gateways)),
        ("their cores busy", &|_, plan| {
            let following = short(plan.following_cores);
            format!(
                "{}, {following} of them to follow tailnets",
                short(plan.gateway_cores)
            )
        }),
        ("memory of each", &|_, plan| {
            format!("{} MiB", short(plan.gateway_mebibytes))
        }),
        ("gateways that follow a tailnet", &|_, plan| {
            short(plan.followers)
        }),
        ("**identity**, replicas", &|_, plan| {
            replicas(plan.cores.identity)
        }),
        ("**key registry**, replicas", &|_, plan| {
            replicas(plan.cores.registry)
        }),
        ("**policy compiler**, replicas", &|_, plan| {
            replicas(plan.cores.compiler)
        }),
        ("memory of each replica", &|_, plan| {
            format!("{} MiB", short(plan.owner_mebibytes))
        }),
        ("**PostgreSQL**, and a standby", &|_, plan| {
            format!(
                "{}; {} GiB",
                server(plan.cores.postgres),
                short(plan.database_gibibytes)
            )
        }),
        ("**Redis**, and a replica", &|_, plan| {
            server(plan.cores.redis)
        }),
        ("to clients", &|_, plan| {
            format!("{} Mbit/s", short(plan.megabits))
        }),
        (
            "all streams cut: CPU time until all are back",
            &|_, plan| format!("{} s", short(plan.all_back_seconds)),
        ),
        (
            "nodes at which the largest database is as busy as it may be",
            &|_, plan| short(plan.most_nodes),
        ),
        ("**dollars in a month**", &|_, plan| {
            format!("**{}**", plan.dollars.round())
        }),
    ];
    let rows = rows.map(|(name, cell)| {
        let cells = columns.iter().map(|(workload, plan)| cell(workload, plan));
        format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "))
    });
    let head = "| ".repeat(columns.len() + 1);
    let line = "|---".repeat(columns.len() + 1);
    format!("{head}|\n{line}|\n{}", rows.concat())
}

/// Writes a figure with the digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        10_000.0.. => {
            let thousands = (value / 1000.0).round();
            match thousands {
                1000.0.. => format!("{} million", short(value / 1e6)),
                thousands => format!("{thousands},000"),
            }
        }
        10.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
