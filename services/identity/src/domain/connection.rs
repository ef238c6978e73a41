//! Connections to identity providers.

use bowline_proto::identity::v1::{
    Admission, Connection, LoginEndEffect, OidcProvider, Role, RoleGroup, SamlProvider,
    connection::Provider,
};
use chrono::TimeDelta;
use serde_json::{Value, json};
use url::Url;

use super::{check_text, saml::normalize_saml, user::role_name};
use crate::error::IdentityError;

/// The most entries in one list of a connection.
const MOST_ENTRIES: usize = 200;

/// Checks a connection, and writes domains and lists in one form.
pub fn normalize_connection(connection: &mut Connection) -> Result<(), IdentityError> {
    check_text("name", &connection.name, 100)?;
    if connection.name.trim().is_empty() {
        return Err(IdentityError::invalid(
            "name",
            "is empty: it is what people choose on the login page",
        ));
    }
    normalize_domains("domains", &mut connection.domains)?;
    if let Some(admission) = &mut connection.admission {
        normalize_domains("admission", &mut admission.domains)?;
        normalize_list("admission", &mut admission.groups)?;
        normalize_list("admission", &mut admission.users)?;
    }
    check_role_groups(connection)?;
    match &mut connection.provider {
        Some(Provider::Oidc(oidc)) => normalize_oidc(oidc),
        Some(Provider::Saml(saml)) => normalize_saml(saml),
        Some(Provider::Local(_)) => Ok(()),
        None => Err(IdentityError::invalid("provider", "is missing")),
    }
}

/// Checks the groups that give roles. Their order counts, so that it stays.
fn check_role_groups(connection: &Connection) -> Result<(), IdentityError> {
    let invalid = |problem: String| Err(IdentityError::invalid("role_groups", problem));
    if connection.role_groups.len() > MOST_ENTRIES {
        return invalid(format!("has more than {MOST_ENTRIES} entries"));
    }
    for mapped in &connection.role_groups {
        check_text("role_groups", &mapped.group, 254)?;
        if mapped.group.is_empty() {
            return invalid("has an entry without a group".to_owned());
        }
        match Role::try_from(mapped.role) {
            Ok(Role::Owner) => {
                let problem = "make nobody an owner: transfer the ownership instead";
                return invalid(problem.to_owned());
            }
            Ok(Role::Unspecified) | Err(_) => {
                return invalid(format!("\"{}\" has no role that is known", mapped.group));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

fn normalize_oidc(oidc: &mut OidcProvider) -> Result<(), IdentityError> {
    check_provider_url("issuer", &oidc.issuer)?;
    check_text("client_id", &oidc.client_id, 500)?;
    if oidc.client_id.is_empty() {
        return Err(IdentityError::invalid("client_id", "is empty"));
    }
    check_text("groups_claim", &oidc.groups_claim, 500)?;
    oidc.scopes.retain(|scope| scope != "openid");
    normalize_list("scopes", &mut oidc.scopes)?;
    if oidc.scopes.iter().any(|scope| scope.contains(' ')) {
        return Err(IdentityError::invalid("scopes", "are separate words"));
    }
    for (field, effect) in [
        ("on_logout", oidc.on_logout),
        ("on_refusal", oidc.on_refusal),
    ] {
        if LoginEndEffect::try_from(effect).is_err() {
            return Err(IdentityError::invalid(field, "is not known"));
        }
    }
    if oidc.refresh_interval.is_some() && refresh_interval(oidc).is_none() {
        let problem = "is between 5 minutes and 30 days";
        return Err(IdentityError::invalid("refresh_interval", problem));
    }
    Ok(())
}

/// Returns how often a provider is asked whether it still vouches for people; `None` when it is not, or the time is none that
/// may be.
pub fn refresh_interval(oidc: &OidcProvider) -> Option<TimeDelta> {
    let interval = TimeDelta::try_seconds(oidc.refresh_interval.as_ref()?.seconds)?;
    let is_usable = interval >= TimeDelta::minutes(5) && interval <= TimeDelta::days(30);
    is_usable.then_some(interval)
}

/// Checks a provider's URL: `https`, or `http` on this machine's own address, where nobody is on the way.
pub(crate) fn check_provider_url(field: &'static str, text: &str) -> Result<(), IdentityError> {
    let invalid = |problem| Err(IdentityError::invalid(field, problem));
    let Ok(url) = Url::parse(text) else {
        return invalid(format!(
            "\"{text}\" is no URL such as https://login.example.com"
        ));
    };
    let is_local = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return invalid("begins with https://".to_owned());
    }
    // Metadata may have a query.
    let has_query = field == "issuer" && url.query().is_some();
    if has_query || url.fragment().is_some() || !url.username().is_empty() {
        return invalid("has no query, no fragment and no user".to_owned());
    }
    Ok(())
}

fn normalize_domains(field: &'static str, domains: &mut Vec<String>) -> Result<(), IdentityError> {
    for domain in &mut *domains {
        *domain = domain.trim_start_matches('@').to_lowercase();
        let is_name = |label: &str| !label.is_empty() && label.len() <= 63;
        if domain.len() > 253 || !domain.contains('.') || !domain.split('.').all(is_name) {
            return Err(IdentityError::invalid(
                field,
                format!("\"{domain}\" is no domain such as example.com"),
            ));
        }
    }
    normalize_list(field, domains)
}

fn normalize_list(field: &'static str, list: &mut Vec<String>) -> Result<(), IdentityError> {
    if list.len() > MOST_ENTRIES {
        return Err(IdentityError::invalid(
            field,
            format!("has more than {MOST_ENTRIES} entries"),
        ));
    }
    for entry in &*list {
        check_text(field, entry, 254)?;
    }
    list.retain(|entry| !entry.is_empty());
    list.sort();
    list.dedup();
    Ok(())
}

/// What an update changes beside the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateScope {
    /// The client's secret.
    pub client_secret: bool,
    /// The metadata of a SAML provider.
    pub saml_metadata: bool,
}

/// Copies the masked fields of `wanted` over `connection`; says what else is to be changed.
pub fn update_fields(
    connection: &mut Connection,
    wanted: &Connection,
    mask: &[String],
) -> Result<UpdateScope, IdentityError> {
    let mut scope = UpdateScope::default();
    for path in mask {
        match path.as_str() {
            "name" => connection.name.clone_from(&wanted.name),
            "domains" => connection.domains.clone_from(&wanted.domains),
            "admission" => connection.admission.clone_from(&wanted.admission),
            "role_groups" => connection.role_groups.clone_from(&wanted.role_groups),
            "oidc" => update_oidc(connection, wanted)?,
            "saml" => update_saml(connection, wanted)?,
            "client_secret" => scope.client_secret = true,
            "saml_metadata" => scope.saml_metadata = true,
            other => {
                let problem = format!("\"{other}\" is no field that can be changed");
                return Err(IdentityError::invalid("update_mask", problem));
            }
        }
    }
    normalize_connection(connection)?;
    let is_saml = matches!(connection.provider, Some(Provider::Saml(_)));
    if scope.client_secret && is_saml {
        let problem = "is of OpenID Connect; a SAML connection signs with a key: bowline connections roll-key";
        return Err(IdentityError::invalid("client_secret", problem));
    }
    if scope.saml_metadata && !is_saml {
        let problem = "is of SAML connections";
        return Err(IdentityError::invalid("saml_metadata", problem));
    }
    Ok(scope)
}

fn update_oidc(connection: &mut Connection, wanted: &Connection) -> Result<(), IdentityError> {
    let (Some(Provider::Oidc(before)), Some(Provider::Oidc(after))) =
        (&mut connection.provider, &wanted.provider)
    else {
        return Err(IdentityError::invalid("oidc", "is missing"));
    };
    if before.issuer != after.issuer {
        let problem = "can not be changed: another issuer's people are others. Make a new connection, and link the users";
        return Err(IdentityError::invalid("issuer", problem));
    }
    let has_client_secret = before.has_client_secret;
    *before = OidcProvider {
        has_client_secret,
        ..after.clone()
    };
    Ok(())
}

fn update_saml(connection: &mut Connection, wanted: &Connection) -> Result<(), IdentityError> {
    let (Some(Provider::Saml(before)), Some(Provider::Saml(after))) =
        (&mut connection.provider, &wanted.provider)
    else {
        return Err(IdentityError::invalid("saml", "is missing"));
    };
    if before.identity_attribute != after.identity_attribute.trim() {
        let problem =
            "can not be changed: people would be others. Make a new connection, and link the users";
        return Err(IdentityError::invalid("identity_attribute", problem));
    }
    let entity_id = std::mem::take(&mut before.entity_id);
    *before = SamlProvider {
        entity_id,
        ..after.clone()
    };
    Ok(())
}

/// Returns a connection as the audit trail shows it.
pub fn describe_connection(connection: &Connection) -> Value {
    let admission = connection.admission.clone().unwrap_or_default();
    let Admission {
        domains,
        groups,
        users,
        known_users_only,
    } = admission;
    let provider = connection.provider.as_ref().map(|provider| match provider {
        Provider::Oidc(oidc) => describe_oidc(oidc),
        Provider::Saml(saml) => describe_saml(saml),
        Provider::Local(_) => json!({ "kind": "local" }),
    });
    json!({
        "name": connection.name,
        "domains": connection.domains,
        "admission": {
            "domains": domains,
            "groups": groups,
            "users": users,
            "known_users_only": known_users_only,
        },
        "role_groups": describe_role_groups(connection),
        "provider": provider,
    })
}

fn describe_oidc(oidc: &OidcProvider) -> Value {
    json!({
        "kind": "oidc",
        "issuer": oidc.issuer,
        "client_id": oidc.client_id,
        "has_client_secret": oidc.has_client_secret,
        "scopes": oidc.scopes,
        "groups_claim": oidc.groups_claim,
        "allow_unverified_mail": oidc.allow_unverified_mail,
        "on_logout": describe_effect(oidc.on_logout()),
        "refresh_seconds": refresh_interval(oidc).map(|interval| interval.num_seconds()),
        "on_refusal": describe_effect(oidc.on_refusal()),
    })
}

fn describe_effect(effect: LoginEndEffect) -> &'static str {
    match effect {
        LoginEndEffect::Suspend => "suspend",
        LoginEndEffect::Sessions | LoginEndEffect::Unspecified => "sessions",
    }
}

fn describe_saml(saml: &SamlProvider) -> Value {
    json!({
        "kind": "saml",
        "entity_id": saml.entity_id,
        "metadata_url": saml.metadata_url,
        "mail_attribute": saml.mail_attribute,
        "name_attribute": saml.name_attribute,
        "groups_attribute": saml.groups_attribute,
        "identity_attribute": saml.identity_attribute,
        "accepts_signed_response": saml.accepts_signed_response,
        "accepts_unsolicited": saml.accepts_unsolicited,
        "metadata_certificates": saml.metadata_certificates.len(),
    })
}

fn describe_role_groups(connection: &Connection) -> Value {
    let describe =
        |mapped: &RoleGroup| json!({ "group": mapped.group, "role": role_name(mapped.role()) });
    connection.role_groups.iter().map(describe).collect()
}

#[cfg(test)]
mod tests;
