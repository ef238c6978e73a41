//! The administrator of a headscale server, who asks its interface for programs.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result, bail, ensure};
use bowline_keys::NodePublic;
use http::{Method, Request};
use serde_json::{Value, json};

use super::{NodeChange, RegisteredNode};
use crate::{
    access_plan::{AccessPlan, login_name},
    dial::GatewayAddress,
};

/// When pre-auth keys end, which is never while they are used.
const END: &str = "2100-01-01T00:00:00Z";

/// The interface for programs, with a token for it.
#[derive(Clone, Debug)]
pub struct HeadscaleApi {
    server: GatewayAddress,
    token: String,
}

impl HeadscaleApi {
    /// Returns the interface of a server.
    pub fn new(server: GatewayAddress, token: String) -> Self {
        Self { server, token }
    }

    /// Makes a person, and returns their pre-auth key.
    pub(super) async fn add_person(&self, person: usize) -> Result<String> {
        let made = json!({ "name": login_name(person) });
        let made = self.ask(Method::POST, "user", Some(made)).await?;
        let key = json!({ "user": made["user"]["id"], "reusable": true, "expiration": END });
        let made = self.ask(Method::POST, "preauthkey", Some(key)).await?;
        Ok(text(&made["preAuthKey"]["key"])?.to_owned())
    }

    /// Puts a plan in force.
    pub(super) async fn set_policy(&self, plan: &AccessPlan) -> Result<()> {
        let policy = json!({ "policy": plan.text() });
        self.ask(Method::PUT, "policy", Some(policy)).await?;
        Ok(())
    }

    /// Returns the nodes, by key.
    pub(super) async fn nodes(&self) -> Result<BTreeMap<NodePublic, RegisteredNode>> {
        let listed = self.ask(Method::GET, "node", None).await?;
        let nodes = listed["nodes"].as_array().context("no list of nodes")?;
        nodes.iter().map(registered).collect()
    }

    /// Changes how a node stands.
    pub(super) async fn change_node(&self, node_id: u64, change: NodeChange) -> Result<()> {
        let (method, path) = match change {
            NodeChange::Expire => (Method::POST, format!("node/{node_id}/expire")),
            NodeChange::Delete => (Method::DELETE, format!("node/{node_id}")),
            NodeChange::Disable => bail!("headscale disables nothing"),
        };
        self.ask(method, &path, None).await?;
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("Host", "headscale")
            .header("Authorization", format!("Bearer {}", self.token));
        let body = body.map_or(String::new(), |body| body.to_string());
        let (status, answer) = self.server.ask(request.body(body.into())?).await?;
        let said = String::from_utf8_lossy(&answer);
        ensure!(status == 200, "{what}: {status}: {said}");
        Ok(serde_json::from_slice(&answer)?)
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("an answer without a field")
}

fn registered(node: &Value) -> Result<(NodePublic, RegisteredNode)> {
    let address =
        |number: usize| -> Result<IpAddr> { Ok(text(&node["ipAddresses"][number])?.parse()?) };
    let mut addresses = [address(0)?, address(1)?];
    // IPv4 comes first.
    addresses.sort_unstable();
    let found = RegisteredNode {
        id: text(&node["id"])?.parse()?,
        addresses,
    };
    Ok((text(&node["nodeKey"])?.parse()?, found))
}
