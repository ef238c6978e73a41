//! `bowline doctor`.

use std::time::Instant;

use bowline_doctor::{Finding, FindingLevel, examine};
use bowline_proto::key_registry::v1::{ListNodesRequest, node_service_client::NodeServiceClient};
use bowline_service_kit::{install_crypto_provider, trusted_authorities};
use clap::Args;
use tonic::{Code, Status};

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::{Printer, Row},
};

/// What is checked.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The URL that clients are given, such as <https://vpn.example.com>.
    url: String,
}

impl Row for Finding {
    const HEADS: &'static [&'static str] = &["check", "where", "result", "ms", "what"];

    fn table_cells(&self) -> Vec<String> {
        let took = self.milliseconds.map(|took| took.to_string());
        vec![
            self.check.to_owned(),
            self.place.clone(),
            self.level.as_str().to_owned(),
            took.unwrap_or_default(),
            self.text.clone(),
        ]
    }
}

/// Checks a deployment from here, as clients see it, and the administration address that is named.
pub async fn run(
    args: &DoctorArgs,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    install_crypto_provider();
    let failed = |text: String| Failure::new(FailureKind::Failed, text);
    let trusted = trusted_authorities(connection.authority());
    let trusted = trusted.map_err(|error| failed(error.to_string()))?;
    let found = examine(&args.url, trusted).await;
    let mut findings = found.map_err(|error| failed(error.to_string()))?;
    if let Some(address) = connection.administration_address() {
        findings.push(check_administration(connection, address).await);
    }
    printer.print_rows(&findings);
    let bad = findings
        .iter()
        .filter(|finding| finding.level == FindingLevel::Failed);
    match bad.count() {
        0 => Ok(()),
        bad => Err(failed(format!("{bad} of {} checks failed", findings.len()))),
    }
}

/// Asks the administration address for something, with the token.
async fn check_administration(connection: &ConnectionArgs, address: &str) -> Finding {
    let begin = tokio::time::Instant::now().into_std();
    let asked = async {
        let mut client = NodeServiceClient::new(connection.connect_to_registry()?);
        Ok::<_, Failure>(client.list_nodes(ListNodesRequest::default()).await.err())
    };
    let (level, text) = match asked.await {
        Ok(refusal) => judge_refusal(refusal.as_ref()),
        Err(failure) => (FindingLevel::Failed, failure.to_string()),
    };
    let took = now_since(begin);
    Finding {
        check: "administration",
        place: address.to_owned(),
        level,
        milliseconds: (level == FindingLevel::Ok).then_some(took),
        text,
    }
}

fn now_since(begin: Instant) -> u64 {
    let took = tokio::time::Instant::now().into_std() - begin;
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Says what an answer means: whoever is known, and may not do this, is known.
fn judge_refusal(refusal: Option<&Status>) -> (FindingLevel, String) {
    let Some(status) = refusal else {
        return (FindingLevel::Ok, "it takes the token".to_owned());
    };
    match status.code() {
        Code::Unauthenticated => {
            let text = "it does not take the token: that has ended or was revoked; make another, or sign in again";
            (FindingLevel::Failed, text.to_owned())
        }
        Code::Unavailable | Code::DeadlineExceeded => {
            let text = format!(
                "it can not be reached ({}): is [admin] listen set, is the port open, and is its authority named with --ca?",
                status.message()
            );
            (FindingLevel::Failed, text)
        }
        Code::Internal | Code::Unknown | Code::Unimplemented => {
            let text = format!("it answers with an error: {}", status.message());
            (FindingLevel::Failed, text)
        }
        _ => (FindingLevel::Ok, "it takes the token".to_owned()),
    }
}
