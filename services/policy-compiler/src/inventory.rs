//! Users and nodes as the policy language sees them.

use bowline_policy::{
    AttributeValue, PolicyNode, PolicyUser, ReportedDevice, Role, device_attributes, tag_name,
};
use bowline_proto::{
    identity::v1 as identity,
    key_registry::v1::{self as registry, CustomAttribute, custom_value::Kind},
};
use ipnet::IpNet;

/// Returns identity's user as a user of the policy, who is in these groups.
#[must_use]
pub fn convert_user(user: &identity::User, groups: &[String]) -> PolicyUser {
    let role = convert_role(user.role());
    PolicyUser::new(user.id, &user.login_name, role, groups)
}

/// Returns identity's role as a role of the policy.
pub fn convert_role(role: identity::Role) -> Role {
    match role {
        identity::Role::Owner => Role::Owner,
        identity::Role::Admin => Role::Admin,
        identity::Role::ItAdmin => Role::ItAdmin,
        identity::Role::NetworkAdmin => Role::NetworkAdmin,
        identity::Role::BillingAdmin => Role::BillingAdmin,
        identity::Role::Auditor => Role::Auditor,
        identity::Role::Member | identity::Role::Unspecified => Role::Member,
    }
}

/// Returns the registry's node as a node of the policy.
#[must_use]
pub fn convert_node(node: &registry::Node) -> PolicyNode {
    let usable = node.usable_routes();
    let mut usable_routes: Vec<IpNet> = usable.filter_map(|route| route.parse().ok()).collect();
    usable_routes.sort();
    let mut attributes = device_attributes(ReportedDevice {
        os: &node.os,
        os_version: &node.os_version,
        client_version: &node.client_version,
        auto_update: node.auto_update,
        state_encrypted: node.state_encrypted,
    });
    attributes.extend(node.attributes.iter().filter_map(convert_attribute));
    PolicyNode {
        id: node.id,
        user: node.user_id,
        tags: node.tags.iter().map(|tag| tag_name(tag)).collect(),
        ipv4: node.ipv4.parse().ok(),
        ipv6: node.ipv6.parse().ok(),
        usable_routes,
        attributes,
    }
}

fn convert_attribute(attribute: &CustomAttribute) -> Option<(String, AttributeValue)> {
    let value = match attribute.value.as_ref()?.kind.as_ref()? {
        Kind::Text(text) => AttributeValue::Text(text.clone()),
        Kind::Number(number) => AttributeValue::Number(*number),
        Kind::Flag(flag) => AttributeValue::Bool(*flag),
    };
    Some((attribute.name.clone(), value))
}

#[cfg(test)]
mod tests;
