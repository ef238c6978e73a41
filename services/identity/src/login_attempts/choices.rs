//! How the person behind an auth URL can log in.

use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::{
    Connection, ListLoginChoicesRequest, ListLoginChoicesResponse, LoginChoice,
};

use super::LoginAttempts;
use crate::{domain::login::wanted_tailnet, error::IdentityError, fields::read_tailnet_id, store};

impl LoginAttempts {
    /// Says how the person behind an auth URL can log in.
    pub(crate) async fn list_choices(
        &self,
        request: ListLoginChoicesRequest,
    ) -> Result<ListLoginChoicesResponse, IdentityError> {
        let ListLoginChoicesRequest {
            login_id,
            organisation,
            session_secret,
        } = request;
        let login = self.logins.find_login(&login_id).await?;
        let wanted = wanted_tailnet(&login);
        let organisation = if organisation.is_empty() {
            wanted
        } else {
            &organisation
        };
        let tailnet = find_organisation(&self.log, organisation).await?;
        let choices = match tailnet {
            Some(tailnet) => self.connections.list_connections(tailnet).await?,
            None => Vec::new(),
        };
        let signed_in = match tailnet {
            Some(tailnet) => {
                self.find_signed_in(&login, tailnet, &session_secret)
                    .await?
            }
            None => None,
        };
        let to_choice = |connection: Connection| LoginChoice {
            connection_id: connection.id,
            is_local: connection.is_local(),
            name: connection.name,
        };
        Ok(ListLoginChoicesResponse {
            login: Some(login),
            needs_organisation: tailnet.is_none(),
            choices: choices.into_iter().map(to_choice).collect(),
            signed_in_as: signed_in.map_or_else(String::new, |user| user.login_name),
        })
    }
}

/// Returns the tailnet whose people log in, where that is clear: the organisation that the person names, or the only tailnet.
async fn find_organisation(
    log: &ChangeLog,
    organisation: &str,
) -> Result<Option<TailnetId>, IdentityError> {
    let reader = log.database().reader();
    let found = match organisation.trim() {
        "" => store::find_only_tailnet(reader).await?,
        name => match name.rsplit_once('@') {
            Some((_, domain)) => {
                let domain = domain.to_lowercase();
                store::connections::find_tailnet_of_domain(reader, &domain).await?
            }
            None => store::find_tailnet_named(reader, &name.to_lowercase())
                .await?
                .map(|tailnet| tailnet.id),
        },
    };
    found.map(read_tailnet_id).transpose()
}
