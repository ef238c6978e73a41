//! The user whom a provider has brought, when the person logs in.

use bowline_proto::identity::v1::{Connection, User};
use bowline_scim::ScimType;
use sqlx::AnyConnection;

use crate::{
    domain::{
        person::{Person, login_name},
        scim::has_given_role,
    },
    error::IdentityError,
    store::{self, scim::ScimKey},
};

/// Says whether a connection's provider keeps a user by SCIM.
pub(crate) async fn is_provisioned_by(
    on: &mut AnyConnection,
    connection_id: u64,
    user_id: u64,
) -> Result<bool, IdentityError> {
    Ok(store::scim::find_keeper(on, user_id).await? == Some(connection_id))
}

/// Returns the user whom a connection's provider has brought for a person who logs in by it for the first time: the one whose
/// external identifier is the person's subject, or whose login name is the person's verified address.
///
/// Who has a role that an administrator gave is not found by the external identifier: whoever may bring users could take the
/// role by it. The address of such a user does not change by SCIM either.
pub(crate) async fn find_provisioned(
    on: &mut AnyConnection,
    connection: &Connection,
    person: &Person,
) -> Result<Option<User>, IdentityError> {
    let (of, tailnet) = (ScimType::User, connection.tailnet_id);
    let key = ScimKey::External(&person.subject);
    if let Some(row) = store::scim::find_resource(on, connection.id, of, key).await? {
        let user = store::find_user(&mut *on, tailnet, row.id).await?;
        if let Some(user) = user.filter(|user| !has_given_role(user, connection)) {
            return Ok(Some(user));
        }
    }
    if person.mail.is_none() {
        return Ok(None);
    }
    let named = store::find_user_named_alike(on, tailnet, &login_name(person)?).await?;
    match named {
        Some(user) if is_provisioned_by(on, connection.id, user.id).await? => Ok(Some(user)),
        _ => Ok(None),
    }
}
