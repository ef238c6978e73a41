//! What a node asks before it lets somebody in over SSH (policy section 14.2).

use bowline_control_wire::SshAction;

/// What the person who connects reads.
const NOBODY_CHECKS: &str = "This connection has to be checked by a fresh login, and this server has nobody who could do that.\r\n\
    Ask your administrator for an SSH rule with the action \"accept\".\r\n";

/// Answers a node whose rules want a connection checked.
///
/// A check is a login of the connecting person with an identity provider, and there is none: the person is told so
/// at once, where a client without an answer would ask again for half an hour. The answer is the same for everybody,
/// so that nothing has to be known of who asks.
pub fn refuse_ssh_check() -> SshAction {
    SshAction {
        reject: true,
        message: NOBODY_CHECKS.to_owned(),
        ..SshAction::default()
    }
}
