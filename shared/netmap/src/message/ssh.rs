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
    if compiled.check {
        return SshAction {
            hold_and_delegate: CHECK.to_owned(),
            ..SshAction::default()
        };
    }
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
