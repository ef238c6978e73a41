//! What headscale keeps, as its columns spell it.

use bowline_keys::{DiscoPublic, MachinePublic, NodePublic};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// Everything that is read of a database.
#[derive(Clone, Debug, Default)]
pub struct HeadscaleData {
    /// The users.
    pub users: Vec<HeadscaleUser>,
    /// The nodes.
    pub nodes: Vec<HeadscaleNode>,
    /// The pre-auth keys.
    pub keys: Vec<HeadscaleKey>,
    /// The newest policy document, if there is one in the database.
    pub policy: Option<String>,
    /// Whether a node's tags are all that it has. Until 0.27 those of its key and those that the policy lets it ask for
    /// come on top.
    pub tags_are_whole: bool,
}

/// A user of headscale.
#[derive(Clone, Debug, Default)]
pub struct HeadscaleUser {
    /// Its number there.
    pub id: i64,
    /// The name.
    pub name: String,
    /// The name for people.
    pub display_name: String,
    /// The mail address, or empty.
    pub email: String,
    /// Who it is at an identity provider: issuer and subject, joined by a slash. Empty for a user without a provider.
    pub provider_identifier: String,
}

/// A node of headscale.
#[derive(Clone, Debug, Default)]
pub struct HeadscaleNode {
    /// Its number there.
    pub id: i64,
    /// The machine's key.
    pub machine_key: [u8; 32],
    /// The node's key.
    pub node_key: [u8; 32],
    /// The disco key, if it was reported.
    pub disco_key: Option<[u8; 32]>,
    /// Where it may be reached.
    pub endpoints: Vec<String>,
    /// What it said of its host, as the client sent it.
    pub host_info: Value,
    /// Its address, or empty.
    pub ipv4: String,
    /// Its address, or empty.
    pub ipv6: String,
    /// The host's name.
    pub hostname: String,
    /// The name in DNS.
    pub given_name: String,
    /// The user, or zero.
    pub user_id: i64,
    /// The tags of its row.
    pub tags: Vec<String>,
    /// The pre-auth key that made it, or zero.
    pub auth_key_id: i64,
    /// When it was seen last.
    pub last_seen: Option<DateTime<Utc>>,
    /// When its key ends.
    pub expiry: Option<DateTime<Utc>>,
    /// The routes that were approved.
    pub approved_routes: Vec<String>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
}

/// A pre-auth key of headscale.
#[derive(Clone, Debug, Default)]
pub struct HeadscaleKey {
    /// Its number there.
    pub id: i64,
    /// Whether its text is kept, and not only a hash of it.
    pub has_text: bool,
    /// What a hashed key begins with.
    pub prefix: String,
    /// Whose nodes it makes, or zero.
    pub user_id: i64,
    /// Whether it may be used more than once.
    pub reusable: bool,
    /// Whether its nodes are ephemeral.
    pub ephemeral: bool,
    /// Whether it was used.
    pub used: bool,
    /// The tags it gives.
    pub tags: Vec<String>,
    /// When it ends.
    pub expiry: Option<DateTime<Utc>>,
}

/// The columns of a node that are read from a text.
pub(crate) struct NodeFields<'r> {
    pub(crate) machine_key: &'r str,
    pub(crate) node_key: &'r str,
    pub(crate) disco_key: &'r str,
    pub(crate) endpoints: &'r str,
    pub(crate) host_info: &'r str,
    pub(crate) tags: &'r str,
    pub(crate) approved_routes: &'r str,
    pub(crate) last_seen: &'r str,
    pub(crate) expiry: &'r str,
    pub(crate) created_at: &'r str,
}

impl NodeFields<'_> {
    /// Adds what the columns say, or returns what is wrong with one.
    pub(crate) fn parse_into(&self, node: HeadscaleNode) -> Result<HeadscaleNode, String> {
        let machine_key: MachinePublic = parse_key("machine_key", self.machine_key)?;
        let node_key: NodePublic = parse_key("node_key", self.node_key)?;
        let disco_key = match self.disco_key {
            "" => None,
            text => Some(parse_key::<DiscoPublic>("disco_key", text)?),
        };
        let host_info = match self.host_info {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|error| format!("host_info: {error}"))?,
        };
        Ok(HeadscaleNode {
            machine_key: *machine_key.as_bytes(),
            node_key: *node_key.as_bytes(),
            disco_key: disco_key
                .filter(|key| !key.is_zero())
                .map(|key| *key.as_bytes()),
            endpoints: parse_list(self.endpoints)?,
            host_info,
            tags: parse_list(self.tags)?,
            approved_routes: parse_list(self.approved_routes)?,
            last_seen: parse_time(self.last_seen)?,
            expiry: parse_time(self.expiry)?,
            created_at: parse_time(self.created_at)?,
            ..node
        })
    }
}

fn parse_key<K: std::str::FromStr>(column: &str, text: &str) -> Result<K, String> {
    // What stands there may be a secret that went to the wrong column: it is not repeated.
    text.parse().map_err(|_| format!("{column} is no key"))
}

/// Reads a JSON list of texts; empty for none.
pub(crate) fn parse_list(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let found: Option<Vec<String>> =
        serde_json::from_str(text).map_err(|error| format!("\"{text}\": {error}"))?;
    Ok(found.unwrap_or_default())
}

/// Reads a time, such as `2026-01-31 10:00:00.123456+00:00`; `None` for none and for the year 1, which stands for none.
pub(crate) fn parse_time(text: &str) -> Result<Option<DateTime<Utc>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    let mut read = forms
        .iter()
        .filter_map(|form| DateTime::parse_from_str(text, form).ok());
    let time = read
        .next()
        .ok_or_else(|| format!("\"{text}\" is no time"))?;
    let time = time.with_timezone(&Utc);
    Ok(Some(time).filter(|time| *time > DateTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests;
