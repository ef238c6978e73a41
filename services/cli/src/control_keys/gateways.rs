//! Asks which control keys the gateways have, and waits for those that lag.

use std::time::Duration;

use bowline_control_keys::ControlKeyInfo;
use bowline_proto::key_registry::v1::{
    DescribedGateway, LeaseState, ListGatewaysRequest, ReportedKeyState,
    node_service_client::NodeServiceClient,
};
use chrono::TimeDelta;
use tokio::time::Instant;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};

/// How often the gateways are asked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What every gateway has to have.
#[derive(Clone, Debug)]
pub enum KeyDemand {
    /// It opens what clients make with the keys.
    Known(Vec<ControlKeyInfo>),
    /// It offers clients the keys.
    Offered(Vec<ControlKeyInfo>),
}

impl KeyDemand {
    /// Says what a gateway lacks; nothing when it has all.
    fn find_lack(&self, gateway: &DescribedGateway) -> Option<&'static str> {
        let Some(reported) = &gateway.control_keys else {
            return Some("does not say which control keys it has: start a newer release of it");
        };
        let (wanted, lack) = match self {
            Self::Known(keys) => (keys, "does not have the prepared control keys yet"),
            Self::Offered(keys) => (keys, "does not offer the active control keys yet"),
        };
        let has = |key: &ControlKeyInfo| {
            reported.keys.iter().any(|one| {
                let is_fit =
                    matches!(self, Self::Known(_)) || one.state() == ReportedKeyState::Active;
                is_fit
                    && one.transport == key.transport.as_str()
                    && one.public_key == key.public.to_string()
            })
        };
        (!wanted.iter().all(has)).then_some(lack)
    }

    /// Returns a line for each gateway with a live lease that lacks something.
    fn describe_lacks(&self, gateways: &[DescribedGateway]) -> Vec<String> {
        let live = gateways
            .iter()
            .filter(|gateway| gateway.lease() == LeaseState::Live);
        let lacks = live.filter_map(|gateway| {
            let lack = self.find_lack(gateway)?;
            Some(format!("{} {lack}", describe(gateway)))
        });
        lacks.collect()
    }
}

fn describe(gateway: &DescribedGateway) -> String {
    format!("gateway {} at {}", gateway.gateway, gateway.address)
}

/// Waits until every gateway that lives has what is asked for.
///
/// # Errors
///
/// A refusal that names each that has not, after the time to wait or, without one, at once; or why the key registry can not be
/// asked.
pub async fn wait_for_gateways(
    demand: &KeyDemand,
    wait: Option<TimeDelta>,
    connection: &ConnectionArgs,
    printer: Printer,
) -> Result<(), Failure> {
    let patience = wait.and_then(|wait| wait.to_std().ok());
    let deadline = Instant::now() + patience.unwrap_or_default();
    let mut told = Vec::new();
    loop {
        let gateways = list_gateways(connection).await?;
        check_any_lives(&gateways)?;
        let lacks = demand.describe_lacks(&gateways);
        if lacks.is_empty() {
            warn_of_stale(demand, &gateways, printer);
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(refuse(&lacks));
        }
        if lacks != told {
            for lack in &lacks {
                printer.print_progress(&format!("waiting: {lack}"));
            }
            told = lacks;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn refuse(lacks: &[String]) -> Failure {
    let text = format!(
        "{}: give it the directory, which it reads again within seconds, or see its log; nothing was changed (--wait 60s waits)",
        lacks.join(", and ")
    );
    Failure::new(FailureKind::Refused, text)
}

fn check_any_lives(gateways: &[DescribedGateway]) -> Result<(), Failure> {
    let mut gateways = gateways.iter();
    if gateways.any(|gateway| gateway.lease() == LeaseState::Live) {
        return Ok(());
    }
    let text = "no gateway is live, so that nothing says which control keys they have: start one, or do it --without-checking";
    Err(Failure::new(FailureKind::Refused, text))
}

/// Those without a lease may serve clients still, and can not say what they have.
fn warn_of_stale(demand: &KeyDemand, gateways: &[DescribedGateway], printer: Printer) {
    let stale = gateways
        .iter()
        .filter(|gateway| gateway.lease() == LeaseState::Stale);
    for gateway in stale {
        let last = match demand.find_lack(gateway) {
            Some(lack) => format!("and when it did, it {}", lack.replace("does", "did")),
            None => "and when it did, it was ready".to_owned(),
        };
        let gateway = describe(gateway);
        printer.print_warning(&format!(
            "{gateway} does not reach the key registry, {last}"
        ));
    }
}

async fn list_gateways(connection: &ConnectionArgs) -> Result<Vec<DescribedGateway>, Failure> {
    let mut client = NodeServiceClient::new(connection.connect_to_registry()?);
    let answer = client.list_gateways(ListGatewaysRequest {}).await;
    let answer = answer.map_err(|status| {
        let failure = Failure::from(status);
        let text = format!("{failure}; --without-checking asks nobody");
        Failure::new(failure.kind(), text)
    })?;
    Ok(answer.into_inner().gateways)
}

#[cfg(test)]
mod tests;
