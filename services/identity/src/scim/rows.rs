//! The rows of what a provider says: found by identifier, and no two of a name.

use bowline_db::Mutation;
use bowline_proto::identity::v1::Connection;
use bowline_scim::ScimType;
use serde_json::{Map, Value};

use super::{caller::ScimCaller, no_resource};
use crate::{
    domain::scim::{read_names, taken},
    error::IdentityError,
    store::{
        self,
        scim::{ScimKey, ScimRow},
    },
};

/// Returns the attribute that a resource is known by to people.
pub(super) const fn name_attribute(of: ScimType) -> &'static str {
    match of {
        ScimType::User => "userName",
        ScimType::Group => "displayName",
    }
}

/// Returns the row of a resource that the caller's provider has brought.
pub(super) async fn require_row(
    mutation: &mut Mutation,
    caller: &ScimCaller,
    of: ScimType,
    id: u64,
) -> Result<ScimRow, IdentityError> {
    let (on, key) = (mutation.connection(), ScimKey::Id(id));
    let found = store::scim::find_resource(on, caller.connection_id, of, key).await?;
    found.ok_or(no_resource(of))
}

/// Returns the row of a resource that the provider has not brought yet. It has no identifier.
pub(super) async fn new_row(
    mutation: &mut Mutation,
    connection: &Connection,
    of: ScimType,
    attributes: Map<String, Value>,
) -> Result<ScimRow, IdentityError> {
    let (external_id, folded_name) = read_names(&attributes, name_attribute(of))?;
    let now = mutation.now();
    let row = ScimRow {
        connection_id: connection.id,
        of,
        id: 0,
        tailnet_id: connection.tailnet_id,
        external_id,
        folded_name,
        version: 1,
        created_at: now,
        changed_at: now,
        attributes,
    };
    refuse_taken(mutation, &row).await?;
    Ok(row)
}

/// Refuses a name or external identifier that another of the provider's resources has.
pub(super) async fn refuse_taken(
    mutation: &mut Mutation,
    row: &ScimRow,
) -> Result<(), IdentityError> {
    let kind = match row.of {
        ScimType::User => "user",
        ScimType::Group => "group",
    };
    let external = row.external_id.as_deref().map(ScimKey::External);
    let keys = [
        (
            name_attribute(row.of),
            Some(ScimKey::Name(&row.folded_name)),
        ),
        ("externalId", external),
    ];
    for (what, key) in keys {
        let Some(key) = key else {
            continue;
        };
        let on = mutation.connection();
        let other = store::scim::find_resource(on, row.connection_id, row.of, key).await?;
        if other.is_some_and(|other| other.id != row.id) {
            return Err(taken(format!("another {kind} has this {what}")));
        }
    }
    Ok(())
}
