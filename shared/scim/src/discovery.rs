//! What clients are told of the server (RFC 7643 sections 5 to 7).

use serde_json::{Value, json};

use crate::{
    bulk::MOST_BULK_OPERATIONS,
    schema::{
        ENTERPRISE_USER, GROUP, ScimAttribute, ScimMutability, ScimSchema, ScimType,
        ScimUniqueness, USER, ValueKind,
    },
};

/// The largest body of a request, in bytes.
pub const LARGEST_BODY: usize = 1 << 20;
/// The most resources of an answer to a search.
pub const MOST_RESULTS: u32 = 200;
/// What an answer to a search says that it is.
pub const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// Returns what the server can do. `base` is the address of its SCIM service.
#[must_use]
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": {
            "supported": true,
            "maxOperations": MOST_BULK_OPERATIONS,
            "maxPayloadSize": LARGEST_BODY,
        },
        "filter": { "supported": true, "maxResults": MOST_RESULTS },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "SCIM token",
            "description": "The token that `bowline scim-tokens create` shows, as Authorization: Bearer.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

/// Returns the types of resources.
#[must_use]
pub fn resource_types(base: &str) -> Vec<Value> {
    let describe = |of: &ScimType| {
        let extensions = of.extensions().iter();
        let extensions: Vec<_> = extensions
            .map(|extension| json!({ "schema": extension.id, "required": false }))
            .collect();
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": of.as_str(),
            "name": of.as_str(),
            "description": of.schema().description,
            "endpoint": of.endpoint(),
            "schema": of.schema().id,
            "schemaExtensions": extensions,
            "meta": {
                "resourceType": "ResourceType",
                "location": format!("{base}/ResourceTypes/{}", of.as_str()),
            },
        })
    };
    ScimType::ALL.iter().map(describe).collect()
}

/// Returns the schemas.
#[must_use]
pub fn schemas(base: &str) -> Vec<Value> {
    let describe = |schema: &ScimSchema| {
        let attributes: Vec<_> = schema.attributes.iter().map(describe_attribute).collect();
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": schema.id,
            "name": schema.name,
            "description": schema.description,
            "attributes": attributes,
            "meta": {
                "resourceType": "Schema",
                "location": format!("{base}/Schemas/{}", schema.id),
            },
        })
    };
    [&USER, &ENTERPRISE_USER, &GROUP]
        .into_iter()
        .map(describe)
        .collect()
}

fn describe_attribute(attribute: &ScimAttribute) -> Value {
    let kind = match attribute.kind {
        ValueKind::Text => "string",
        ValueKind::Boolean => "boolean",
        ValueKind::DateTime => "dateTime",
        ValueKind::Reference(_) => "reference",
        ValueKind::Complex(_) => "complex",
    };
    let mut described = json!({
        "name": attribute.name,
        "type": kind,
        "multiValued": attribute.is_multi,
        "description": attribute.description,
        "required": attribute.is_required,
        "caseExact": attribute.is_case_exact,
        "mutability": match attribute.mutability {
            ScimMutability::ReadWrite => "readWrite",
            ScimMutability::ReadOnly => "readOnly",
            ScimMutability::Immutable => "immutable",
        },
        "returned": if attribute.is_always_returned { "always" } else { "default" },
        "uniqueness": match attribute.uniqueness {
            ScimUniqueness::None => "none",
            ScimUniqueness::Server => "server",
        },
    });
    if let ValueKind::Reference(to) = attribute.kind {
        described["referenceTypes"] = json!(to);
    }
    if !attribute.canonical_values.is_empty() {
        described["canonicalValues"] = json!(attribute.canonical_values);
    }
    let parts: Vec<_> = attribute.parts().iter().map(describe_attribute).collect();
    if !parts.is_empty() {
        described["subAttributes"] = Value::Array(parts);
    }
    described
}

#[cfg(test)]
mod tests;
