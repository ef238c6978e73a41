//! Who users are at identity providers.

use bowline_proto::identity::v1::{
    Connection, LinkUserRequest, ListUserLinksRequest, UnlinkUserRequest, User, UserLink,
};
use clap::Args;
use serde_json::json;

use super::{connect, find_connection};
use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};

/// Whose logins by what.
#[derive(Debug, Args)]
struct WhoseLink {
    /// Who.
    user: String,
    /// By which.
    connection: String,
    #[command(flatten)]
    tailnet: TailnetArg,
}

impl WhoseLink {
    async fn find(&self, server: &ConnectionArgs) -> Result<(User, Connection), Failure> {
        let tailnet_id = self.tailnet.find_id(server).await?;
        let user = administer::find_user(server, tailnet_id, &self.user).await?;
        let found = find_connection(server, tailnet_id, &self.connection).await?;
        Ok((user, found))
    }
}

/// Who is to log in by what.
#[derive(Debug, Args)]
pub struct LinkArgs {
    #[command(flatten)]
    whose: WhoseLink,
    /// The person at the provider: the claim "sub" of OpenID Connect; the persistent NameID, or the
    /// identity attribute, of SAML.
    subject: String,
}

/// Who is not to any more.
#[derive(Debug, Args)]
pub struct UnlinkArgs {
    #[command(flatten)]
    whose: WhoseLink,
    /// The person at the provider, as `bowline users show` lists it; needed where there are several.
    subject: Option<String>,
}

/// Returns who a user is at providers, oldest first.
pub async fn list_links(server: &ConnectionArgs, user: &User) -> Result<Vec<UserLink>, Failure> {
    let request = ListUserLinksRequest {
        tailnet_id: user.tailnet_id,
        user_id: user.id,
    };
    let answer = connect(server)?.list_user_links(request).await?;
    Ok(answer.into_inner().links)
}

/// Lets a user log in by a connection.
pub(super) async fn link_user(
    args: LinkArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let (user, found) = args.whose.find(server).await?;
    let request = LinkUserRequest {
        tailnet_id: found.tailnet_id,
        user_id: user.id,
        connection_id: found.id,
        subject: args.subject,
    };
    connect(server)?.link_user(request).await?;
    let text = format!("{} logs in by {}", user.login_name, found.name);
    let linked = json!({ "user": user.login_name, "connection": found.name });
    printer.print_result(&linked, &text);
    Ok(())
}

/// Forgets who a user is at a connection.
pub(super) async fn unlink_user(
    args: UnlinkArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let (user, found) = args.whose.find(server).await?;
    let subject = match args.subject {
        Some(subject) => subject,
        None => only_subject(&user, &found, &list_links(server, &user).await?)?,
    };
    let request = UnlinkUserRequest {
        tailnet_id: found.tailnet_id,
        user_id: user.id,
        connection_id: found.id,
        subject: subject.clone(),
    };
    connect(server)?.unlink_user(request).await?;
    let text = format!(
        "{subject} at {} is not {} any more",
        found.name, user.login_name
    );
    let unlinked = json!({ "user": user.login_name, "connection": found.name, "subject": subject });
    printer.print_result(&unlinked, &text);
    Ok(())
}

/// Returns who a user is at a connection, where that is one person.
fn only_subject(user: &User, found: &Connection, links: &[UserLink]) -> Result<String, Failure> {
    let mut of_connection = links.iter().filter(|link| link.connection_id == found.id);
    match (of_connection.next(), of_connection.next()) {
        (Some(only), None) => Ok(only.subject.clone()),
        (None, _) => {
            let text = format!("{} does not log in by {}", user.login_name, found.name);
            Err(Failure::new(FailureKind::NotFound, text))
        }
        _ => {
            let text = format!(
                "{} is several people at {}: say which, as bowline users show lists them",
                user.login_name, found.name
            );
            Err(Failure::new(FailureKind::Refused, text))
        }
    }
}
