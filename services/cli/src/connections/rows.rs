//! What is shown of connections.

use bowline_proto::{
    addresses::{OIDC_CALLBACK, SAML_CONSUMER, back_channel_logout_path, saml_metadata_path},
    identity::v1::{
        CertificateSummary, Connection, ConnectionCheck, ConnectionCheckOutcome,
        CreateConnectionResponse, OidcProvider, RollConnectionKeyResponse, SamlProvider,
        connection::Provider,
    },
};
use serde::Serialize;

use super::{oidc::effect_name, role_groups::RoleGroupRow};
use crate::{
    output::{Row, join_texts, yes_mark},
    time,
};

/// A connection as shown.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionRow {
    id: u64,
    name: String,
    kind: &'static str,
    issuer: String,
    client_id: String,
    has_client_secret: bool,
    scopes: Vec<String>,
    groups_claim: String,
    role_groups: Vec<RoleGroupRow>,
    allow_unverified_mail: bool,
    on_logout: &'static str,
    refresh_seconds: Option<i64>,
    on_refusal: &'static str,
    metadata_url: String,
    mail_attribute: String,
    name_attribute: String,
    groups_attribute: String,
    identity_attribute: String,
    accepts_signed_response: bool,
    accepts_unsolicited: bool,
    domains: Vec<String>,
    allow_domains: Vec<String>,
    allow_groups: Vec<String>,
    allow_users: Vec<String>,
    known_users_only: bool,
    created_at: Option<String>,
}

impl From<Connection> for ConnectionRow {
    fn from(connection: Connection) -> Self {
        let admission = connection.admission.unwrap_or_default();
        let (kind, oidc, saml) = match connection.provider {
            Some(Provider::Saml(saml)) => ("saml", OidcProvider::default(), saml),
            Some(Provider::Oidc(oidc)) => ("oidc", oidc, SamlProvider::default()),
            Some(Provider::Local(_)) => ("local", OidcProvider::default(), SamlProvider::default()),
            None => ("", OidcProvider::default(), SamlProvider::default()),
        };
        let is_saml = kind == "saml";
        let (on_logout, on_refusal) = match kind {
            "oidc" => (
                effect_name(oidc.on_logout()),
                effect_name(oidc.on_refusal()),
            ),
            _ => ("", ""),
        };
        let refresh_seconds = oidc.refresh_interval.map(|every| every.seconds);
        Self {
            id: connection.id,
            name: connection.name,
            kind,
            issuer: if is_saml { saml.entity_id } else { oidc.issuer },
            client_id: oidc.client_id,
            has_client_secret: oidc.has_client_secret,
            scopes: oidc.scopes,
            groups_claim: oidc.groups_claim,
            role_groups: RoleGroupRow::list(connection.role_groups),
            allow_unverified_mail: oidc.allow_unverified_mail,
            on_logout,
            refresh_seconds,
            on_refusal,
            metadata_url: saml.metadata_url,
            mail_attribute: saml.mail_attribute,
            name_attribute: saml.name_attribute,
            groups_attribute: saml.groups_attribute,
            identity_attribute: saml.identity_attribute,
            accepts_signed_response: saml.accepts_signed_response,
            accepts_unsolicited: saml.accepts_unsolicited,
            domains: connection.domains,
            allow_domains: admission.domains,
            allow_groups: admission.groups,
            allow_users: admission.users,
            known_users_only: admission.known_users_only,
            created_at: time::time_text(connection.created_at),
        }
    }
}

impl Row for ConnectionRow {
    const HEADS: &'static [&'static str] = &[
        "id", "name", "kind", "issuer", "client", "secret", "domains",
    ];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.kind.to_owned(),
            self.issuer.clone(),
            self.client_id.clone(),
            yes_mark(self.has_client_secret),
            join_texts(&self.domains),
        ]
    }
}

/// What stands for the server's URL where identity's settings do not name it.
const PUBLIC_URL: &str = "PUBLIC_URL";

/// A new connection to an OpenID Connect provider, and what the provider is to be given.
#[derive(Debug, Serialize)]
pub(super) struct NewOidcRow {
    #[serde(flatten)]
    connection: ConnectionRow,
    redirect_address: String,
    logout_address: String,
}

impl From<CreateConnectionResponse> for NewOidcRow {
    fn from(answer: CreateConnectionResponse) -> Self {
        let origin = origin_of(&answer);
        let connection = answer.connection.unwrap_or_default();
        Self {
            logout_address: format!("{origin}{}", back_channel_logout_path(connection.id)),
            connection: connection.into(),
            redirect_address: format!("{origin}{OIDC_CALLBACK}"),
        }
    }
}

impl Row for NewOidcRow {
    const HEADS: &'static [&'static str] = &[
        "id",
        "name",
        "kind",
        "issuer",
        "client",
        "secret",
        "domains",
        "redirect address",
        "logout address",
    ];

    fn table_cells(&self) -> Vec<String> {
        let mut cells = self.connection.table_cells();
        cells.push(self.redirect_address.clone());
        cells.push(self.logout_address.clone());
        cells
    }
}

/// A new connection to a SAML provider, and what the provider is to be given.
#[derive(Debug, Serialize)]
pub(super) struct NewSamlRow {
    #[serde(flatten)]
    connection: ConnectionRow,
    service_metadata_url: String,
    service_entity_id: String,
    consumer_address: String,
}

impl From<CreateConnectionResponse> for NewSamlRow {
    fn from(answer: CreateConnectionResponse) -> Self {
        let origin = origin_of(&answer);
        let connection = answer.connection.unwrap_or_default();
        let metadata = format!("{origin}{}", saml_metadata_path(connection.id));
        Self {
            connection: connection.into(),
            service_entity_id: metadata.clone(),
            service_metadata_url: metadata,
            consumer_address: format!("{origin}{SAML_CONSUMER}"),
        }
    }
}

impl Row for NewSamlRow {
    const HEADS: &'static [&'static str] = &[
        "id",
        "name",
        "kind",
        "provider",
        "domains",
        "our metadata",
        "our entity id (audience)",
        "assertion consumer",
    ];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.connection.id.to_string(),
            self.connection.name.clone(),
            self.connection.kind.to_owned(),
            self.connection.issuer.clone(),
            join_texts(&self.connection.domains),
            self.service_metadata_url.clone(),
            self.service_entity_id.clone(),
            self.consumer_address.clone(),
        ]
    }
}

fn origin_of(answer: &CreateConnectionResponse) -> String {
    match answer.public_url.trim_end_matches('/') {
        "" => PUBLIC_URL.to_owned(),
        url => url.to_owned(),
    }
}

/// One step of a test.
#[derive(Debug, Serialize)]
pub(super) struct CheckRow {
    step: String,
    outcome: &'static str,
    text: String,
}

impl From<ConnectionCheck> for CheckRow {
    fn from(check: ConnectionCheck) -> Self {
        let outcome = match check.outcome() {
            ConnectionCheckOutcome::Ok => "ok",
            ConnectionCheckOutcome::Warning => "warning",
            ConnectionCheckOutcome::Failed => "failed",
            ConnectionCheckOutcome::Skipped => "skipped",
            ConnectionCheckOutcome::Unspecified => "",
        };
        Self {
            outcome,
            step: check.name,
            text: check.text,
        }
    }
}

impl CheckRow {
    /// Says whether nobody can log in.
    pub(super) fn has_failed(&self) -> bool {
        self.outcome == "failed"
    }
}

impl Row for CheckRow {
    const HEADS: &'static [&'static str] = &["step", "outcome", "what was found"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.step.clone(),
            self.outcome.to_owned(),
            self.text.clone(),
        ]
    }
}

/// The keys of a SAML connection.
#[derive(Debug, Serialize)]
pub(super) struct KeysRow {
    signing: Option<String>,
    signing_ends_at: Option<String>,
    successor: Option<String>,
    successor_ends_at: Option<String>,
}

impl From<RollConnectionKeyResponse> for KeysRow {
    fn from(keys: RollConnectionKeyResponse) -> Self {
        let split = |one: Option<CertificateSummary>| match one {
            Some(one) => (Some(one.fingerprint), time::time_text(one.ends_at)),
            None => (None, None),
        };
        let (signing, signing_ends_at) = split(keys.signing);
        let (successor, successor_ends_at) = split(keys.successor);
        Self {
            signing,
            signing_ends_at,
            successor,
            successor_ends_at,
        }
    }
}

impl Row for KeysRow {
    const HEADS: &'static [&'static str] =
        &["signs", "signs until", "successor", "successor until"];

    fn table_cells(&self) -> Vec<String> {
        let text = |one: &Option<String>| one.clone().unwrap_or_default();
        vec![
            text(&self.signing),
            text(&self.signing_ends_at),
            text(&self.successor),
            text(&self.successor_ends_at),
        ]
    }
}
