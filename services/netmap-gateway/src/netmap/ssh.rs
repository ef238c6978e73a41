//! SSH policies as clients read them.

use bowline_control_wire::{SshAction, SshPolicy, SshPrincipal, SshRule};
use bowline_proto::policy::v1::{Class, SshRule as Compiled};

/// Where a client asks about a connection that has to be checked (policy reference section 14.2).
const CHECK: &str =
    "https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER";

/// Returns the SSH policy of a class.
pub(crate) fn policy(class: &Class) -> SshPolicy {
    SshPolicy {
        rules: class.ssh.iter().map(rule).collect(),
    }
}

fn rule(compiled: &Compiled) -> SshRule {
    let principals = compiled.principal_addresses.iter();
    let users = compiled.users.iter();
    SshRule {
        principals: principals
            .map(|address| SshPrincipal {
                node_ip: address.clone(),
            })
            .collect(),
        ssh_users: users
            .map(|user| (user.ssh_user.clone(), user.local_user.clone()))
            .collect(),
        action: if compiled.check {
            SshAction {
                hold_and_delegate: CHECK.to_owned(),
                ..SshAction::default()
            }
        } else {
            SshAction {
                accept: true,
                allow_agent_forwarding: true,
                allow_local_port_forwarding: true,
                allow_remote_port_forwarding: true,
                recorders: compiled.recorders.clone(),
                ..SshAction::default()
            }
        },
        accept_env: compiled.accept_env.clone(),
    }
}
