//! `bowline policy preview` and `bowline policy explain`.

use std::{collections::BTreeMap, path::Path};

use bowline_proto::{
    key_registry::v1::NodeWithState,
    policy::v1::{
        ExplainAccessRequest, ExplainAccessResponse, PreviewPolicyRequest, RuleUse,
        policy_service_client::PolicyServiceClient,
    },
};
use bowline_service_kit::GrpcChannel;
use serde::Serialize;
use serde_json::json;

use super::{problems::DocumentFindings, read_document};
use crate::{
    administer::{find_node, list_nodes},
    connection::ConnectionArgs,
    failure::{Failure, require_field},
    output::{Printer, Row},
};

/// A pair of nodes whose access would differ.
#[derive(Debug, Serialize)]
struct AccessPair {
    source: String,
    destination: String,
    gained: Vec<String>,
    lost: Vec<String>,
}

impl Row for AccessPair {
    const HEADS: &'static [&'static str] = &["source", "destination", "gains", "loses"];

    fn table_cells(&self) -> Vec<String> {
        let (gained, lost) = (self.gained.join(", "), self.lost.join(", "));
        vec![self.source.clone(), self.destination.clone(), gained, lost]
    }
}

/// Prints whose access a document would change.
pub async fn preview_access(
    client: &mut PolicyServiceClient<GrpcChannel>,
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet_id: u64,
    file: &Path,
) -> Result<(), Failure> {
    let text = read_document(file)?;
    let answer = client
        .preview_policy(PreviewPolicyRequest { tailnet_id, text })
        .await?
        .into_inner();
    let findings = DocumentFindings {
        problems: answer.problems,
        warnings: answer.warnings,
    };
    findings.report_problems(printer, &file.display().to_string())?;
    let names = node_names(connection, tailnet_id).await?;
    let name = |id: u64| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
    let pairs = answer.pairs.into_iter().map(|pair| AccessPair {
        source: name(pair.source_node_id),
        destination: name(pair.destination_node_id),
        gained: pair.gained,
        lost: pair.lost,
    });
    let pairs: Vec<_> = pairs.collect();
    if pairs.is_empty() {
        printer.print_result(&json!([]), "no node gains or loses access to another");
        return Ok(());
    }
    printer.print_rows(&pairs);
    let shown = u64::try_from(pairs.len()).unwrap_or(u64::MAX);
    if shown < answer.total_pairs {
        printer.print_sentence(&format!(
            "and {} more pairs of nodes",
            answer.total_pairs - shown
        ));
    }
    Ok(())
}

/// Two nodes, as an administrator names them.
#[derive(Clone, Copy)]
pub struct NamedNodes<'n> {
    /// The one that would reach the other.
    pub source: &'n str,
    /// The other.
    pub destination: &'n str,
}

/// Prints why a node may or may not reach another.
pub async fn explain_access(
    client: &mut PolicyServiceClient<GrpcChannel>,
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet_id: u64,
    nodes: NamedNodes<'_>,
) -> Result<(), Failure> {
    let NamedNodes {
        source,
        destination,
    } = nodes;
    let id = |listed: NodeWithState| Ok::<_, Failure>(require_field(listed.node, "node")?.id);
    let request = ExplainAccessRequest {
        tailnet_id,
        source_node_id: id(find_node(connection, tailnet_id, source).await?)?,
        destination_node_id: id(find_node(connection, tailnet_id, destination).await?)?,
    };
    let found = client.explain_access(request).await?.into_inner();
    let uses = |uses: &[RuleUse]| {
        let one = |used: &RuleUse| json!({"line": used.line, "rule": used.rule, "allows": used.allows, "through_routes": used.through_routes});
        uses.iter().map(one).collect::<Vec<_>>()
    };
    let value = json!({
        "policy_version": found.policy_version,
        "allowed": !found.allowed_by.is_empty(),
        "allowed_by": uses(&found.allowed_by),
        "only_source": uses(&found.only_source),
        "only_destination": uses(&found.only_destination),
        "posture_missing": uses(&found.posture_missing),
    });
    printer.print_result(
        &value,
        &explanation_sentences(source, destination, &found).join("\n"),
    );
    Ok(())
}

fn explanation_sentences(
    source: &str,
    destination: &str,
    found: &ExplainAccessResponse,
) -> Vec<String> {
    let verdict = if found.allowed_by.is_empty() {
        "may not"
    } else {
        "may"
    };
    let policy = match found.policy_version {
        0 => "the default policy (everything is allowed)".to_owned(),
        version => format!("policy version {version}"),
    };
    let mut sentences = vec![format!(
        "{source} {verdict} reach {destination}, by {policy}."
    )];
    let mut part = |head: &str, uses: &[RuleUse]| {
        if !uses.is_empty() {
            sentences.push(head.to_owned());
            sentences.extend(uses.iter().map(rule_line));
        }
    };
    part("Allowed by:", &found.allowed_by);
    if found.allowed_by.is_empty() {
        part(
            &format!("{source} does not meet the posture of:"),
            &found.posture_missing,
        );
        part(
            &format!("Rules for {source}, to other destinations:"),
            &found.only_source,
        );
        part(
            &format!("Rules to {destination}, for other sources:"),
            &found.only_destination,
        );
        if sentences.len() == 1 {
            sentences.push("No rule names either of them.".to_owned());
        }
    }
    sentences
}

fn rule_line(used: &RuleUse) -> String {
    let place = if used.line == 0 {
        String::new()
    } else {
        format!("line {}: ", used.line)
    };
    let behind = match &*used.through_routes {
        [] => String::new(),
        routes => format!(" at {}", routes.join(", ")),
    };
    format!("  {place}{}, {}{behind}", used.rule, used.allows.join(" "))
}

async fn node_names(
    connection: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<BTreeMap<u64, String>, Failure> {
    let listed = list_nodes(connection, tailnet_id)
        .await?
        .into_iter()
        .filter_map(|listed| listed.node);
    Ok(listed.map(|node| (node.id, node.name)).collect())
}
