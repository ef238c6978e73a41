//! What an administrator of Keycloak does there.

use std::process::Command;

use bowline_test_servers::KeycloakServer;
use serde_json::{Value, json};

/// An administrator who is logged in.
#[derive(Debug)]
pub struct KeycloakAdmin {
    base: String,
    token: String,
}

impl KeycloakAdmin {
    /// Logs in.
    #[must_use]
    pub fn log_in(keycloak: &KeycloakServer) -> Self {
        let url = format!(
            "{}/realms/master/protocol/openid-connect/token",
            keycloak.origin()
        );
        let name = keycloak.admin();
        let form =
            format!("grant_type=password&client_id=admin-cli&username={name}&password={name}");
        let answer = run_curl(&["-d", &form, &url]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let token = answer["access_token"].as_str();
        Self {
            base: format!("{}/admin/realms/{}", keycloak.origin(), keycloak.realm()),
            token: token.unwrap_or_else(|| panic!("{answer}")).to_owned(),
        }
    }

    /// Sends a request below the realm, and returns the answer.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> String {
        let url = format!("{}/{path}", self.base);
        let token = format!("Authorization: Bearer {}", self.token);
        let kind = format!("Content-Type: {kind}");
        run_curl(&[
            "--fail-with-body",
            "-X",
            method,
            "-H",
            &token,
            "-H",
            &kind,
            "--data-binary",
            body,
            &url,
        ])
    }

    /// Registers a SAML service by its metadata, with attributes for mail, name and groups.
    pub fn add_saml_service(&self, metadata: &str) {
        let converted = self.send(
            "POST",
            "client-description-converter",
            "text/plain",
            metadata,
        );
        let mut client: Value = serde_json::from_str(&converted).unwrap();
        client["attributes"]["saml.assertion.signature"] = "true".into();
        client["attributes"]["saml_name_id_format"] = "persistent".into();
        client["protocolMappers"] = json!([
            user_attribute("email", "email"),
            user_attribute("firstName", "displayName"),
            user_attribute("username", "employeeNumber"),
            {
                "name": "groups",
                "protocol": "saml",
                "protocolMapper": "saml-group-membership-mapper",
                "config": { "attribute.name": "groups", "single": "true", "full.path": "false" }
            },
        ]);
        let made = self.send("POST", "clients", "application/json", &client.to_string());
        assert_eq!(made, "", "{client}");
    }

    /// Changes attributes of a SAML service.
    pub fn set_client_attributes(&self, client_id: &str, attributes: &[(&str, &str)]) {
        let query = format!("clients?clientId={}", escape(client_id));
        let found = self.send("GET", &query, "application/json", "");
        let found: Value = serde_json::from_str(&found).unwrap();
        let mut client = found[0].clone();
        for (name, value) in attributes {
            client["attributes"][name] = (*value).into();
        }
        let path = format!("clients/{}", client["id"].as_str().unwrap());
        let text = client.to_string();
        assert_eq!(self.send("PUT", &path, "application/json", &text), "");
    }
}

fn user_attribute(property: &str, attribute: &str) -> Value {
    json!({
        "name": attribute,
        "protocol": "saml",
        "protocolMapper": "saml-user-property-mapper",
        "config": { "user.attribute": property, "attribute.name": attribute, "attribute.nameformat": "Basic" }
    })
}

/// Returns a text as a query has it.
fn escape(text: &str) -> String {
    text.replace('%', "%25")
        .replace(':', "%3A")
        .replace('/', "%2F")
}

fn run_curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--noproxy",
            "*",
        ])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {output:?}");
    text
}
