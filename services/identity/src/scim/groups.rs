//! Groups that a provider brings.
//!
//! A group of that name which is there already is joined: it has the provider's members beside its own, and keeps its name. One
//! that the same connection's claims have made becomes the provider's.

use bowline_db::Mutation;
use bowline_proto::identity::v1::{
    Connection, Group, GroupSource, IdentityChange, ScimResource, identity_change::Change,
};
use bowline_scim::{
    ScimError, ScimErrorKind, ScimType,
    member::{MemberChange, read_member_change, take_members},
    patch::{PatchOperation, apply_operation, read_patch},
    resource::{check_resource, read_object, read_resource},
};
use serde_json::{Map, Value, json};

use super::{
    ScimProvisioning, ScimRequest,
    caller::{ScimCaller, require_connection},
    members::{change_members, settle_members},
    read_id,
    resource::{answer_resource, answer_version},
    rows::{name_attribute, new_row, refuse_taken, require_row},
};
use crate::{
    domain::{
        group::{self, MOST_OF_TAILNET, check_group_name},
        scim::{check_version, find_text, read_names, taken},
    },
    error::IdentityError,
    groups::{rename_group, require_group},
    memberships::{make_group, write_group},
    store::{self, scim::ScimRow},
};

const OF: ScimType = ScimType::Group;

/// What a request makes of a group.
struct GroupUpdate {
    /// What the provider says of it then, members left out.
    attributes: Map<String, Value>,
    /// What becomes of the members, in order.
    members: Vec<MemberChange>,
}

impl ScimProvisioning {
    /// Makes a group, or joins the one that has the name.
    pub(super) async fn create_group(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let projection = request.read_projection()?;
        let mut attributes = read_resource(OF, &read_object(&request.body)?)?;
        let members = take_members(&mut attributes)?.unwrap_or_default();
        let name = read_name(&attributes)?;
        let actor = caller.actor.clone();
        let made = self.log.mutate(caller.tailnet, actor, move |mutation| {
            Box::pin(async move {
                let connection = require_connection(mutation, &caller).await?;
                let mut row = new_row(mutation, &connection, OF, attributes).await?;
                let group = join_or_make(mutation, &connection, &name, &row).await?;
                row.id = group.id;
                store::scim::put_resource(mutation.connection(), &row).await?;
                let change = MemberChange::Add(members);
                change_members(mutation, &connection, &group, &change).await?;
                let detail = json!({
                    "id": group.id,
                    "connection": connection.name,
                    "external_id": row.external_id,
                });
                mutation.record_audit("group.provision", group.name, &detail);
                answer_resource(mutation.connection(), &row, &projection).await
            })
        });
        Ok(made.await?.0)
    }

    /// Lets a group be exactly as the provider says.
    pub(super) async fn replace_group(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        let mut attributes = read_resource(OF, &read_object(&request.body)?)?;
        let members = take_members(&mut attributes)?.unwrap_or_default();
        let update = GroupUpdate {
            attributes,
            members: vec![MemberChange::Replace(members)],
        };
        self.change_group(request, true, move |_| Ok(update)).await
    }

    /// Changes what the provider says of a group. The answer has the group only where the request names attributes, so that a
    /// change of one member does not read the others.
    pub(super) async fn patch_group(
        &self,
        request: ScimRequest,
    ) -> Result<ScimResource, IdentityError> {
        let operations = read_patch(OF, &request.body)?;
        let has_answer = request.read_projection()?.is_chosen();
        self.change_group(request, has_answer, move |before| {
            patch_update(before, &operations)
        })
        .await
    }

    async fn change_group(
        &self,
        request: ScimRequest,
        has_answer: bool,
        change: impl FnOnce(&Map<String, Value>) -> Result<GroupUpdate, IdentityError> + Send + 'static,
    ) -> Result<ScimResource, IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let id = read_id(OF, &request.id)?;
        let projection = request.read_projection()?;
        let actor = caller.actor.clone();
        let changed = self.log.mutate(caller.tailnet, actor, move |mutation| {
            Box::pin(async move {
                let row = require_row(mutation, &caller, OF, id).await?;
                check_version(&request.if_match, row.version)?;
                let update = change(&row.attributes)?;
                let row = write_update(mutation, &caller, row, update).await?;
                match has_answer {
                    true => answer_resource(mutation.connection(), &row, &projection).await,
                    false => Ok(answer_version(&row)),
                }
            })
        });
        Ok(changed.await?.0)
    }

    /// Takes back what the provider says of a group. The group stays where others have members in it.
    pub(super) async fn delete_group(&self, request: ScimRequest) -> Result<(), IdentityError> {
        let caller = self.authenticate(&request.token).await?;
        let id = read_id(OF, &request.id)?;
        let actor = caller.actor.clone();
        let deleted = self.log.mutate(caller.tailnet, actor, move |mutation| {
            Box::pin(async move {
                let row = require_row(mutation, &caller, OF, id).await?;
                check_version(&request.if_match, row.version)?;
                let connection = require_connection(mutation, &caller).await?;
                let group = require_group(mutation, id).await?;
                let nobody = MemberChange::Replace(Vec::new());
                change_members(mutation, &connection, &group, &nobody).await?;
                let on = mutation.connection();
                store::scim::delete_group(on, connection.id, id).await?;
                if is_own(&group, &connection) {
                    leave_group(mutation, &group).await?;
                }
                let detail = json!({ "id": id, "connection": connection.name });
                mutation.record_audit("group.unprovision", group.name, &detail);
                Ok::<_, IdentityError>(())
            })
        });
        deleted.await?;
        Ok(())
    }
}

/// Reads what operations make of a group.
fn patch_update(
    before: &Map<String, Value>,
    operations: &[PatchOperation],
) -> Result<GroupUpdate, IdentityError> {
    let mut update = GroupUpdate {
        attributes: before.clone(),
        members: Vec::new(),
    };
    for operation in operations {
        match read_member_change(operation)? {
            Some(change) => update.members.push(change),
            None => apply_operation(&mut update.attributes, operation)?,
        }
    }
    check_resource(OF, &update.attributes)?;
    Ok(update)
}

fn read_name(attributes: &Map<String, Value>) -> Result<String, IdentityError> {
    let name = find_text(attributes, name_attribute(OF)).unwrap_or_default();
    match check_group_name(name) {
        Err(IdentityError::Invalid { problem, .. }) => {
            Err(ScimError::value(format!("displayName {problem}")).into())
        }
        checked => checked.map(|()| name.to_owned()),
    }
}

/// Says whether a connection's provider keeps the group itself, and not only who is in it.
fn is_own(group: &Group, connection: &Connection) -> bool {
    group.source() == GroupSource::Scim && group.connection_id == connection.id
}

async fn join_or_make(
    mutation: &mut Mutation,
    connection: &Connection,
    name: &str,
    row: &ScimRow,
) -> Result<Group, IdentityError> {
    let on = mutation.connection();
    let found = store::groups::find_group_named(on, row.tailnet_id, name).await?;
    let group = match found {
        Some(found) if is_made_by_claims(&found, connection) => Group {
            source: GroupSource::Scim.into(),
            ..found
        },
        Some(found) => return Ok(found),
        None => {
            let by = (GroupSource::Scim, connection.id);
            make_group(mutation, name, by, MOST_OF_TAILNET).await?
        }
    };
    let group = Group {
        external_id: row.external_id.clone().unwrap_or_default(),
        ..group
    };
    write_group(mutation, &group).await?;
    Ok(group)
}

fn is_made_by_claims(group: &Group, connection: &Connection) -> bool {
    group.source() == GroupSource::Connection && group.connection_id == connection.id
}

/// Writes what a request makes of a group.
async fn write_update(
    mutation: &mut Mutation,
    caller: &ScimCaller,
    row: ScimRow,
    update: GroupUpdate,
) -> Result<ScimRow, IdentityError> {
    let connection = require_connection(mutation, caller).await?;
    let mut group = require_group(mutation, row.id).await?;
    let mut has_changed = update.attributes != row.attributes;
    let mut row = row;
    if has_changed {
        let name = read_name(&update.attributes)?;
        let (external_id, folded_name) = read_names(&update.attributes, name_attribute(OF))?;
        let was_named = read_name(&row.attributes)?;
        row = ScimRow {
            external_id,
            folded_name,
            attributes: update.attributes,
            ..row
        };
        refuse_taken(mutation, &row).await?;
        if name != was_named {
            group = rename(mutation, &connection, group, &name).await?;
        }
        let external_id = row.external_id.clone().unwrap_or_default();
        if is_own(&group, &connection) && group.external_id != external_id {
            group.external_id = external_id;
            write_group(mutation, &group).await?;
        }
    }
    for change in &update.members {
        has_changed |= change_members(mutation, &connection, &group, change).await?;
    }
    if has_changed {
        row.version += 1;
        row.changed_at = mutation.now();
        store::scim::put_resource(mutation.connection(), &row).await?;
    }
    Ok(row)
}

/// Renames a group that is the provider's own. Whoever is in it has the role that goes with the new name.
async fn rename(
    mutation: &mut Mutation,
    connection: &Connection,
    group: Group,
    name: &str,
) -> Result<Group, IdentityError> {
    if !is_own(&group, connection) {
        let detail = format!(
            "the group {} was here before the provider joined it, and keeps its name: make another group",
            group.name
        );
        return Err(ScimError::new(ScimErrorKind::Mutability, detail).into());
    }
    let on = mutation.connection();
    if store::groups::find_group_named(on, group.tailnet_id, name)
        .await?
        .is_some()
    {
        return Err(taken(format!("there is a group {name} already")));
    }
    let renamed = Group {
        name: name.to_owned(),
        ..group.clone()
    };
    rename_group(mutation, &group, &renamed).await?;
    let gives_role = |mapped: &str| mapped == name || mapped == group.name;
    if connection
        .role_groups
        .iter()
        .any(|mapped| gives_role(&mapped.group))
    {
        let on = mutation.connection();
        let members = store::scim::list_members(on, connection.id, group.id).await?;
        for ids in members.chunks(store::MOST_IDS) {
            settle_members(mutation, connection, ids, None).await?;
        }
    }
    Ok(renamed)
}

/// Deletes a group that the provider does not keep any more; it becomes an administrator's where others are in it.
async fn leave_group(mutation: &mut Mutation, group: &Group) -> Result<(), IdentityError> {
    let on = mutation.connection();
    if store::groups::list_members(on, group.id).await?.is_empty() {
        store::groups::delete_group(on, group.id).await?;
        mutation.record_entry(&IdentityChange::from(Change::GroupDeleted(group.id)));
        let detail =
            json!({ "id": group.id, "before": group::describe_group(group), "members": 0 });
        mutation.record_audit("group.delete", group.name.clone(), &detail);
        return Ok(());
    }
    let kept = Group {
        source: GroupSource::Manual.into(),
        connection_id: 0,
        external_id: String::new(),
        ..group.clone()
    };
    write_group(mutation, &kept).await
}
