//! What an import does, line by line.

use bowline_headscale::MovingPlan;
use serde::Serialize;

use super::{MovingKey, target::Target};
use crate::output::{Row, join_texts};

/// One thing that moves, or that a person should know of.
#[derive(Debug, Serialize)]
pub struct ImportRow {
    /// `tailnet`, `user`, `device`, `dns`, `policy`, `control-key`, or `note` for what differs or does not move.
    kind: &'static str,
    /// What it is called there.
    name: String,
    /// What it is here.
    becomes: String,
    /// Whether it is here already.
    is_here: bool,
}

impl Row for ImportRow {
    const HEADS: &'static [&'static str] = &["kind", "name", "here"];

    fn table_cells(&self) -> Vec<String> {
        let mark = if self.is_here {
            " (is here already)"
        } else {
            ""
        };
        vec![
            self.kind.to_owned(),
            self.name.clone(),
            format!("{}{mark}", self.becomes),
        ]
    }
}

/// Says what is done with everything.
pub fn list_rows(plan: &MovingPlan, target: &Target, key: Option<&MovingKey>) -> Vec<ImportRow> {
    let row = |kind, name: &str, becomes: String, is_here| ImportRow {
        kind,
        name: name.to_owned(),
        becomes,
        is_here,
    };
    let is_made = target.tailnet.is_some();
    let mut rows = vec![row("tailnet", "headscale", target.name.clone(), is_made)];
    for user in &plan.users {
        let login_name = user.user.login_name.clone();
        let is_here = target.has_user(&login_name);
        rows.push(row("user", &user.there.name, login_name, is_here));
    }
    for moving in &plan.nodes {
        let node = &moving.node;
        let owner = plan
            .users
            .iter()
            .find(|user| user.there.id == moving.user_id);
        let owner = match (node.tags.is_empty(), owner) {
            (true, Some(user)) => user.user.login_name.clone(),
            _ => join_texts(&node.tags),
        };
        let addresses = [&node.ipv4, &node.ipv6].map(|address| match &**address {
            "" => "a new address".to_owned(),
            address => address.to_owned(),
        });
        let mut becomes = format!("{}, of {owner}", addresses.join(", "));
        if !node.approved_routes.is_empty() {
            becomes.push_str(&format!(", routes {}", node.approved_routes.join(" ")));
        }
        let is_here = target.node_keys.contains(&node.node_key);
        rows.push(row("device", &node.name, becomes, is_here));
    }
    if let Some(suffix) = &plan.magic_dns_suffix {
        rows.push(row(
            "dns",
            suffix,
            "what names of devices end in".to_owned(),
            false,
        ));
    }
    let dns = &plan.dns;
    for (name, values) in [
        ("nameservers", dns.nameservers.clone()),
        ("search domains", dns.search_domains.clone()),
        (
            "split",
            dns.split.iter().map(|split| split.suffix.clone()).collect(),
        ),
        (
            "records",
            dns.records
                .iter()
                .map(|record| record.name.clone())
                .collect(),
        ),
    ] {
        if !values.is_empty() {
            rows.push(row("dns", name, values.join(" "), false));
        }
    }
    let policy = match &plan.policy {
        Some(policy) => format!("{} lines", policy.text.lines().count()),
        None => "there is none: everything is allowed".to_owned(),
    };
    rows.push(row("policy", "headscale", policy, target.has_policy));
    rows.push(match key {
        Some(key) => row("control-key", &key.public(), describe_place(key), false),
        None => {
            let text = "is not known: clients that run have to be started again";
            row("control-key", "headscale", text.to_owned(), false)
        }
    });
    for note in &plan.notes {
        let name = format!("{} {}", note.about, note.name);
        rows.push(row("note", &name, note.text.clone(), false));
    }
    rows
}

fn describe_place(key: &MovingKey) -> String {
    match &key.directory {
        Some(directory) => format!("the newest in {}", directory.display()),
        None => "does not move: say where the gateways' control keys are, with --control-keys DIR"
            .to_owned(),
    }
}
