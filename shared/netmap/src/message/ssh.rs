//! SSH policies as clients read them.

use std::net::{IpAddr, SocketAddr};

use bowline_control_wire::{SshAction, SshPolicy, SshPrincipal, SshRecorderFailureAction, SshRule};
use bowline_proto::policy::v1::{ListRef, Settings, SshRule as CompiledSshRule};

use crate::{ShownNode, SourceListKey, View};

/// Where a client asks about a connection that has to be checked (policy section 14.2).
const CHECK: &str =
    "https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER";

/// The port recorders listen on.
const RECORDER_PORT: u16 = 80;

/// Returns the SSH policy of a node.
pub(crate) fn ssh_policy(view: &View, shown: &ShownNode, settings: &Settings) -> SshPolicy {
    let rules = settings.ssh.iter();
    SshPolicy {
        rules: rules
            .filter_map(|compiled| ssh_rule(view, shown, compiled))
            .collect(),
    }
}

/// Returns a rule as one node has it; `None` for one that lets nobody in.
fn ssh_rule(view: &View, shown: &ShownNode, compiled: &CompiledSshRule) -> Option<SshRule> {
    let own = [&shown.node.ipv4, &shown.node.ipv6];
    let own = own.into_iter().filter(|address| !address.is_empty());
    let own = (0..compiled.itself).flat_map(|_| own.clone());
    let lists = compiled
        .principals
        .iter()
        .flat_map(|list| offered_elements(view, *list));
    let node_ips: Vec<String> = lists.chain(own.cloned()).collect();
    if node_ips.is_empty() {
        return None;
    }
    let users = compiled.users.iter();
    Some(SshRule {
        principals: node_ips
            .into_iter()
            .map(|node_ip| SshPrincipal { node_ip })
            .collect(),
        ssh_users: users
            .map(|user| (user.ssh_user.clone(), user.local_user.clone()))
            .collect(),
        action: ssh_action(view, compiled),
        accept_env: compiled.accept_env.clone(),
    })
}

fn ssh_action(view: &View, compiled: &CompiledSshRule) -> SshAction {
    match compiled.check {
        true => SshAction {
            hold_and_delegate: CHECK.to_owned(),
            ..SshAction::default()
        },
        false => accepting_action(view, compiled),
    }
}

/// Returns the action that lets a connection in.
fn accepting_action(view: &View, compiled: &CompiledSshRule) -> SshAction {
    let recorders = compiled
        .recorders
        .into_iter()
        .flat_map(|list| offered_elements(view, list));
    let endpoint = |address: String| match address.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, RECORDER_PORT).to_string(),
        Err(_) => address,
    };
    SshAction {
        accept: true,
        allow_agent_forwarding: true,
        allow_local_port_forwarding: true,
        allow_remote_port_forwarding: true,
        recorders: recorders.map(endpoint).collect(),
        on_recording_failure: compiled.enforce_recorder.then(recording_failure),
        ..SshAction::default()
    }
}

/// Returns the action that keeps a connection waiting for a login. The person who connects reads `message`.
#[must_use]
pub fn hold_for_login(login: &str, message: String) -> SshAction {
    SshAction {
        message,
        hold_and_delegate: format!("{CHECK}&login={login}"),
        ..SshAction::default()
    }
}

/// What the rules of a node say of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshJudgement {
    /// How long a check of the person holds, in seconds: zero for this connection alone. `None` when nobody has to be
    /// checked.
    pub check_period: Option<u64>,
    /// What lets the connection in, once the person is checked.
    pub action: SshAction,
}

/// Returns what the rules of a node say of a connection to one of its accounts, as its client decides: the first rule that
/// names the source, and gives the account, counts. `None` when there is none.
#[must_use]
pub fn judge_ssh(
    view: &View,
    destination: &ShownNode,
    source: &ShownNode,
    local_user: &str,
) -> Option<SshJudgement> {
    // An empty account stands for none in the rules.
    if local_user.is_empty() {
        return None;
    }
    let settings = view.compiled.settings.get(&destination.settings)?;
    let is_source = |rule: &SshRule| {
        let mut principals = rule.principals.iter();
        principals.any(|principal| source.addresses().any(|own| own == principal.node_ip))
    };
    let gives_account = |rule: &SshRule| {
        let given = rule.ssh_users.get(local_user);
        let given = given.or_else(|| rule.ssh_users.get("*"));
        given.is_some_and(|given| given == local_user || given == "=")
    };
    settings.ssh.iter().find_map(|compiled| {
        let rule = ssh_rule(view, destination, compiled)?;
        (is_source(&rule) && gives_account(&rule)).then(|| SshJudgement {
            check_period: compiled.check.then_some(compiled.check_period_seconds),
            action: accepting_action(view, compiled),
        })
    })
}

fn recording_failure() -> SshRecorderFailureAction {
    SshRecorderFailureAction {
        reject_session_with_message: "this session has to be recorded, and no recorder answers"
            .to_owned(),
        terminate_session_with_message: "the recording of this session failed".to_owned(),
        ..SshRecorderFailureAction::default()
    }
}

/// Returns the elements of a list, without nodes that may not take part.
fn offered_elements(view: &View, list: ListRef) -> impl Iterator<Item = String> {
    let found = view.compiled.lists.get(&SourceListKey::from(&list));
    let offered = found
        .into_iter()
        .flatten()
        .filter(|element| view.may_name(element));
    offered.map(ToString::to_string)
}
