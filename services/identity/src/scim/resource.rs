//! Users and groups as the JSON that providers read. Addresses have no host: the portal adds it.

use bowline_proto::identity::v1::ScimResource;
use bowline_scim::{Projection, ScimType};
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};
use sqlx::AnyConnection;

use crate::{
    domain::scim::entity_tag,
    error::IdentityError,
    store::{self, scim::ScimRow},
};

/// What is read for an answer beside the row.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadParts {
    /// The members of a group.
    pub(super) members: bool,
    /// The groups of a user.
    pub(super) groups: bool,
}

impl ReadParts {
    /// Returns what an answer of these attributes needs.
    pub(super) fn of(projection: &Projection) -> Self {
        Self {
            members: projection.has("members"),
            groups: projection.has("groups"),
        }
    }
}

/// Returns a resource as JSON, whole.
pub(super) async fn describe_resource(
    on: &mut AnyConnection,
    row: &ScimRow,
    parts: ReadParts,
) -> Result<Map<String, Value>, IdentityError> {
    let mut resource = row.attributes.clone();
    let extensions = row.of.extensions().iter().map(|extension| extension.id);
    let mut schemas = vec![row.of.schema().id];
    schemas.extend(extensions.filter(|id| resource.contains_key(*id)));
    let time =
        |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let meta = json!({
        "resourceType": row.of.as_str(),
        "created": time(row.created_at),
        "lastModified": time(row.changed_at),
        "location": format!("{}/{}", row.of.endpoint(), row.id),
        "version": entity_tag(row.version),
    });
    resource.insert("schemas".to_owned(), json!(schemas));
    resource.insert("id".to_owned(), json!(row.id.to_string()));
    resource.insert("meta".to_owned(), meta);
    match row.of {
        ScimType::User if parts.groups => {
            let groups = store::scim::list_groups_of(on, row.connection_id, row.id).await?;
            let describe = |(id, name): (u64, String)| json!({ "value": id.to_string(), "$ref": format!("/Groups/{id}"), "display": name, "type": "direct" });
            insert_list(&mut resource, "groups", groups.into_iter().map(describe));
        }
        ScimType::Group if parts.members => {
            let members = store::scim::list_members(on, row.connection_id, row.id).await?;
            let describe = |id: u64| json!({ "value": id.to_string(), "$ref": format!("/Users/{id}"), "type": "User" });
            insert_list(&mut resource, "members", members.into_iter().map(describe));
        }
        ScimType::User | ScimType::Group => {}
    }
    Ok(resource)
}

fn insert_list(resource: &mut Map<String, Value>, name: &str, values: impl Iterator<Item = Value>) {
    let values: Vec<_> = values.collect();
    // What has no values is left out.
    if !values.is_empty() {
        resource.insert(name.to_owned(), Value::Array(values));
    }
}

/// Returns a resource as an answer has it.
pub(super) async fn answer_resource(
    on: &mut AnyConnection,
    row: &ScimRow,
    projection: &Projection,
) -> Result<ScimResource, IdentityError> {
    let resource = describe_resource(on, row, ReadParts::of(projection)).await?;
    Ok(ScimResource {
        body: Value::Object(projection.apply(resource)).to_string(),
        ..answer_version(row)
    })
}

/// Returns which version a resource has, without the resource.
pub(super) fn answer_version(row: &ScimRow) -> ScimResource {
    ScimResource {
        id: row.id.to_string(),
        version: entity_tag(row.version),
        body: String::new(),
    }
}
