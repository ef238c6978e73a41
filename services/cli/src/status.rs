//! `bowline status`.

mod control_keys;
mod deployment;

use bowline_service_kit::ask_health;
use bowline_standalone::RELAY_HEALTH;
use serde::Serialize;

use crate::{
    administer,
    connection::ConnectionArgs,
    failure::Failure,
    output::{Printer, Row, format_table},
};
use deployment::DeploymentStatus;

/// What there is.
#[derive(Debug, Serialize)]
struct ServerStatus {
    tailnets: Vec<Figures>,
    #[serde(flatten)]
    deployment: DeploymentStatus,
}

/// A tailnet's figures.
#[derive(Debug, Serialize)]
struct Figures {
    tailnet: String,
    users: usize,
    nodes: usize,
    online: usize,
}

impl Row for Figures {
    const HEADS: &'static [&'static str] = &["tailnet", "users", "nodes", "online"];

    fn table_cells(&self) -> Vec<String> {
        let numbers = [self.users, self.nodes, self.online].map(|number| number.to_string());
        [self.tailnet.clone()].into_iter().chain(numbers).collect()
    }
}

/// Shows the figures of each tailnet, and the processes, gateways and databases of the deployment.
pub async fn run(connection: &ConnectionArgs, printer: &Printer) -> Result<(), Failure> {
    let status = ServerStatus {
        tailnets: count_everything(connection).await?,
        deployment: DeploymentStatus::ask(connection).await,
    };
    let mut tables = vec![match &*status.tailnets {
        [] => "no tailnets".to_owned(),
        tailnets => format_table(tailnets),
    }];
    tables.extend(status.deployment.tables());
    printer.print_result(&status, &tables.join("\n\n"));
    if ask_health(connection.connect_to_identity()?, RELAY_HEALTH).await == Some(false) {
        let text = "clients have no relay: they reach nobody unless the policy of their tailnet brings relays; see `bowline config check`";
        printer.warn_always(text);
    }
    Ok(())
}

async fn count_everything(connection: &ConnectionArgs) -> Result<Vec<Figures>, Failure> {
    let mut figures = Vec::new();
    for tailnet in administer::list_tailnets(connection).await? {
        let nodes = administer::list_nodes(connection, tailnet.id).await?;
        let online = nodes
            .iter()
            .filter(|node| node.soft.as_ref().is_some_and(|soft| soft.online));
        figures.push(Figures {
            online: online.count(),
            nodes: nodes.len(),
            users: administer::list_users(connection, tailnet.id).await?.len(),
            tailnet: tailnet.name,
        });
    }
    Ok(figures)
}
