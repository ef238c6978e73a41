//! People whom a provider brings.

use bowline_db::Mutation;
use bowline_proto::{
    identity::v1::{Connection, Role, ScimResource, User},
    time::to_timestamp,
};
use bowline_scim::{
    ScimType,
    patch::{apply_operation, read_patch},
    resource::{check_resource, read_object, read_resource},
};
use serde_json::{Map, Value, json};
use sqlx::AnyConnection;

use super::{
    ScimProvisioning, ScimRequest,
    caller::{ScimCaller, require_connection},
    read_id,
    resource::answer_resource,
    rows::{name_attribute, new_row, refuse_taken, require_row},
};
use crate::{
    connections::provider_issuer,
    domain::{
        describe_change,
        scim::{
            apply_attributes, changed_attributes, check_version, find_text, is_anothers_name,
            login_name_of, may_adopt, read_names, taken,
        },
        suspension::Suspension,
        user::describe_user,
    },
    error::IdentityError,
    memberships::write_user,
    sessions::end_ways_in,
    store::{self, scim::ScimRow},
    users::{insert_user, remove_user, require_user},
};

const OF: ScimType = ScimType::User;

impl ScimProvisioning {
    /// Makes a user, or lets one that is there be the provider's.
    pub(super) async fn create_user(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let projection = request.read_projection()?;
        let attributes = read_resource(OF, &read_object(&request.body)?)?;
        let actor = caller.actor.clone();
        let made = self.log.mutate(caller.tailnet, actor, move |mutation| {
            Box::pin(async move {
                let connection = require_connection(mutation, &caller).await?;
                let row = new_row(mutation, &connection, OF, attributes).await?;
                let user = adopt_or_insert(mutation, &connection, &row).await?;
                let row = ScimRow { id: user.id, ..row };
                let on = mutation.connection();
                store::scim::put_resource(on, &row).await?;
                let answer = answer_resource(on, &row, &projection).await?;
                let detail = json!({
                    "id": user.id,
                    "connection": connection.name,
                    "external_id": row.external_id,
                });
                mutation.record_audit("user.provision", user.login_name, &detail);
                Ok::<_, IdentityError>(answer)
            })
        });
        Ok(made.await?.0)
    }

    /// Lets a user be exactly as the provider says. Whether the person is active stays where it says nothing of that.
    pub(super) async fn replace_user(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        let wanted = read_resource(OF, &read_object(&request.body)?)?;
        self.change_user(request, move |before| {
            let mut after = wanted;
            if let (None, Some(active)) = (after.get("active"), before.get("active")) {
                after.insert("active".to_owned(), active.clone());
            }
            Ok(after)
        })
        .await
    }

    /// Changes what the provider says of a user.
    pub(super) async fn patch_user(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        let operations = read_patch(OF, &request.body)?;
        self.change_user(request, move |before| {
            let mut after = before.clone();
            for operation in &operations {
                apply_operation(&mut after, operation)?;
            }
            check_resource(OF, &after)?;
            Ok(after)
        })
        .await
    }

    async fn change_user(
        &self,
        request: ScimRequest,
        change: impl FnOnce(&Map<String, Value>) -> Result<Map<String, Value>, IdentityError>
        + Send
        + 'static,
    ) -> Result<ScimResource, IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let id = read_id(OF, &request.id)?;
        let projection = request.read_projection()?;
        let actor = caller.actor.clone();
        let changed = self.log.mutate(caller.tailnet, actor, move |mutation| {
            Box::pin(async move {
                let row = require_row(mutation, &caller, OF, id).await?;
                check_version(&request.if_match, row.version)?;
                let after = change(&row.attributes)?;
                let row = match after == row.attributes {
                    true => row,
                    false => write_change(mutation, &caller, row, after).await?,
                };
                answer_resource(mutation.connection(), &row, &projection).await
            })
        });
        Ok(changed.await?.0)
    }

    /// Deletes a user, as an administrator would. The owner stays.
    pub(super) async fn delete_user(&self, request: ScimRequest) -> Result<(), IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let id = read_id(OF, &request.id)?;
        let actor = caller.actor.clone();
        let deleted = self.log.mutate(caller.tailnet, actor, move |mutation| {
            Box::pin(async move {
                require_connection(mutation, &caller).await?;
                let row = require_row(mutation, &caller, OF, id).await?;
                check_version(&request.if_match, row.version)?;
                let gone = require_user(mutation.connection(), caller.tailnet, id).await?;
                if gone.role() == Role::Owner {
                    return Err(IdentityError::denied(format!(
                        "{} is the owner of the tailnet, who can not be deleted: transfer the ownership first",
                        gone.login_name
                    )));
                }
                remove_user(mutation, &gone).await
            })
        });
        deleted.await?;
        Ok(())
    }
}

/// Makes the user of a new row; or lets the user of that name be the provider's, where the connection has the domain.
async fn adopt_or_insert(
    mutation: &mut Mutation,
    connection: &Connection,
    row: &ScimRow,
) -> Result<User, IdentityError> {
    let issuer = provider_issuer(connection);
    let user_name = find_text(&row.attributes, name_attribute(OF)).unwrap_or_default();
    let login_name = login_name_of(user_name, issuer)?;
    let on = mutation.connection();
    let Some(named) = store::find_user_named_alike(&mut *on, row.tailnet_id, &login_name).await?
    else {
        refuse_anothers_name(on, connection, &login_name).await?;
        let mut made = User {
            tailnet_id: row.tailnet_id,
            login_name,
            role: Role::Member.into(),
            created_at: Some(to_timestamp(mutation.now())),
            ..User::default()
        };
        apply_attributes(&mut made, &Map::new(), &row.attributes, connection, issuer)?;
        insert_user(mutation, &mut made).await?;
        return Ok(made);
    };
    if store::scim::find_keeper(on, named.id).await?.is_some() {
        return Err(taken(format!(
            "the provider of another connection keeps the user {}",
            named.login_name
        )));
    }
    if !may_adopt(connection, &named) {
        return Err(taken(format!(
            "there is a user {} already, who is not this provider's: give the connection the domain of the name, or delete the user",
            named.login_name
        )));
    }
    let mut adopted = named.clone();
    // Whom the provider brings is admitted.
    let approved = Suspension {
        awaits_approval: false,
        ..Suspension::of(&named)
    };
    approved.apply_to(&mut adopted);
    apply_attributes(
        &mut adopted,
        &Map::new(),
        &row.attributes,
        connection,
        issuer,
    )?;
    write_changed_user(mutation, &named, adopted).await
}

/// Refuses a name that the provider of another connection has a say in.
async fn refuse_anothers_name(
    on: &mut AnyConnection,
    connection: &Connection,
    login_name: &str,
) -> Result<(), IdentityError> {
    let all = store::connections::list_connections(on, connection.tailnet_id).await?;
    match is_anothers_name(login_name, connection, &all) {
        false => Ok(()),
        true => Err(taken(format!(
            "the name {login_name} is in the domain of another connection: give this one the domain, too"
        ))),
    }
}

/// Writes a user, where anything differs, and ends the sessions of one who is suspended.
async fn write_changed_user(
    mutation: &mut Mutation,
    before: &User,
    mut after: User,
) -> Result<User, IdentityError> {
    if after == *before {
        return Ok(after);
    }
    write_user(mutation, &mut after).await?;
    if after.suspended && !before.suspended {
        end_ways_in(mutation, after.id).await?;
    }
    Ok(after)
}

/// Writes what the provider says now, and what it means for the user.
async fn write_change(
    mutation: &mut Mutation,
    caller: &ScimCaller,
    row: ScimRow,
    attributes: Map<String, Value>,
) -> Result<ScimRow, IdentityError> {
    let connection = require_connection(mutation, caller).await?;
    let before = require_user(mutation.connection(), caller.tailnet, row.id).await?;
    let mut after = before.clone();
    let issuer = provider_issuer(&connection);
    apply_attributes(
        &mut after,
        &row.attributes,
        &attributes,
        &connection,
        issuer,
    )?;
    let on = mutation.connection();
    if after.login_name != before.login_name {
        refuse_anothers_name(on, &connection, &after.login_name).await?;
        let named = store::find_user_named_alike(on, row.tailnet_id, &after.login_name).await?;
        if let Some(other) = named.filter(|other| other.id != row.id) {
            return Err(taken(format!(
                "there is a user {} already",
                other.login_name
            )));
        }
    }
    let (external_id, folded_name) = read_names(&attributes, name_attribute(OF))?;
    let changed = changed_attributes(&row.attributes, &attributes);
    let row = ScimRow {
        external_id,
        folded_name,
        version: row.version + 1,
        changed_at: mutation.now(),
        attributes,
        ..row
    };
    refuse_taken(mutation, &row).await?;
    store::scim::put_resource(mutation.connection(), &row).await?;
    let after = write_changed_user(mutation, &before, after).await?;
    let mut detail = describe_change(&describe_user(&before), &describe_user(&after));
    detail["scim_attributes"] = json!(changed);
    mutation.record_audit("user.update", after.login_name, &detail);
    Ok(row)
}
