//! SSH connections that the policy wants checked.

use bowline_clock::random_bytes;
use bowline_db::Mutation;
use bowline_ids::LoginId;
use bowline_proto::identity::v1::{CheckSshRequest, Login, LoginState};

use super::Logins;
use crate::{
    domain::ssh,
    error::IdentityError,
    fields::{read_tailnet_id, require_field},
    store,
    tailnets::require_tailnet,
    users::require_user,
};

impl Logins {
    /// Returns the login that an SSH connection waits for; `None` when the last check of its person still holds.
    pub(crate) async fn check_ssh(
        &self,
        request: CheckSshRequest,
    ) -> Result<Option<Login>, IdentityError> {
        let connection = require_field("ssh", request.ssh)?;
        let tailnet_id = read_tailnet_id(connection.tailnet_id)?;
        let now = self.read_time().await?;
        let mut read = self.log.database().begin_read().await?;
        let tailnet = require_tailnet(&mut read, tailnet_id).await?;
        let user = require_user(&mut read, tailnet_id, connection.user_id).await?;
        if user.suspended {
            return Err(IdentityError::Refused(
                "the user of the device is suspended",
            ));
        }
        let checked_at = store::ssh_checks::find_check(&mut *read, &connection).await?;
        drop(read);
        if ssh::is_checked(checked_at, request.period_seconds, now) {
            return Ok(None);
        }
        let id = LoginId::from_random(random_bytes()).to_string();
        let made = ssh::new_login(
            id,
            connection,
            request.source_machine_key,
            request.source_address,
            &tailnet,
            now,
        )?;
        Ok(Some(self.start_at_pace(made).await?))
    }
}

/// Records that the person behind an SSH connection is checked, where that is what a login was for.
pub(super) async fn note_check(
    mutation: &mut Mutation,
    decided: &Login,
) -> Result<(), IdentityError> {
    let now = mutation.now();
    match &decided.ssh {
        Some(ssh) if decided.state() == LoginState::Approved => {
            Ok(store::ssh_checks::put_check(mutation.connection(), ssh, now).await?)
        }
        _ => Ok(()),
    }
}
