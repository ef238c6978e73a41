//! What becomes of users and groups whose connection is gone.

use bowline_db::Mutation;

use super::tokens::revoke_tokens_of;
use crate::{
    domain::suspension::Suspension,
    error::IdentityError,
    memberships::{audit_change, write_user},
    store,
};

/// Ends what a connection's provider keeps here: its tokens are revoked, and who is not active there stays suspended until an
/// administrator restores the user. Memberships end with the connection's claims.
pub(crate) async fn end_provisioning(
    mutation: &mut Mutation,
    connection_id: u64,
) -> Result<(), IdentityError> {
    revoke_tokens_of(mutation, connection_id).await?;
    let tailnet = mutation.tailnet().get();
    let on = mutation.connection();
    let mut inactive = Vec::new();
    for user in store::list_users(&mut *on, tailnet).await? {
        if Suspension::of(&user).by_scim
            && store::scim::find_keeper(on, user.id).await? == Some(connection_id)
        {
            inactive.push(user);
        }
    }
    for before in inactive {
        let mut changed = before.clone();
        let kept = Suspension {
            by_administrator: true,
            by_scim: false,
            ..Suspension::of(&before)
        };
        kept.apply_to(&mut changed);
        write_user(mutation, &mut changed).await?;
        audit_change(mutation, &before, &changed);
    }
    Ok(store::scim::delete_of_connection(mutation.connection(), connection_id).await?)
}
