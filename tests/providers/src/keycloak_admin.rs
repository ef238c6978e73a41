//! What an administrator of Keycloak does there.

use bowline_test_servers::KeycloakServer;
use serde_json::{Value, json};

use crate::curl::run_curl;

/// What SAML calls the classes "silver" and "gold".
pub const SAML_CLASSES: [&str; 2] = [
    "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
    "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken",
];

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

    /// Adds a group.
    pub fn add_group(&self, name: &str) {
        let group = json!({ "name": name }).to_string();
        assert_eq!(self.send("POST", "groups", "application/json", &group), "");
    }

    /// Adds a person with a verified address and the password "password".
    pub fn add_user(&self, name: &str, mail: &str) {
        let user = json!({
            "username": name,
            "enabled": true,
            "email": mail,
            "emailVerified": true,
            "firstName": name,
            "lastName": "Example",
            "credentials": [{ "type": "password", "value": "password" }],
        });
        let user = user.to_string();
        assert_eq!(self.send("POST", "users", "application/json", &user), "");
    }

    /// Puts a person into a group.
    pub fn join(&self, user: &str, group: &str) {
        let path = self.membership(user, group);
        assert_eq!(self.send("PUT", &path, "application/json", "{}"), "");
    }

    /// Takes a person out of a group.
    pub fn leave(&self, user: &str, group: &str) {
        let path = self.membership(user, group);
        assert_eq!(self.send("DELETE", &path, "application/json", ""), "");
    }

    fn membership(&self, user: &str, group: &str) -> String {
        let user = self.find_id(&format!("users?exact=true&username={user}"));
        let group = self.find_id(&format!("groups?exact=true&search={group}"));
        format!("users/{user}/groups/{group}")
    }

    fn find_id(&self, query: &str) -> String {
        let found = self.send("GET", query, "application/json", "");
        let found: Value = serde_json::from_str(&found).unwrap();
        let id = found[0]["id"].as_str();
        id.unwrap_or_else(|| panic!("{query}: {found}")).to_owned()
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

    fn make(&self, path: &str, body: &Value) {
        let made = self.send("POST", path, "application/json", &body.to_string());
        assert_eq!(made, "", "{path} {body}");
    }

    fn read(&self, path: &str) -> Value {
        serde_json::from_str(&self.send("GET", path, "application/json", "")).unwrap()
    }

    /// Adds a way to log in by which the class "silver" is a password and "gold" a one-time code beside it. Returns its id.
    fn add_flow_with_classes(&self, name: &str) -> String {
        let flow = format!("flow-of-{name}");
        let flows = "authentication/flows";
        self.make(
            flows,
            &json!({ "alias": flow, "providerId": "basic-flow", "topLevel": true, "builtIn": false }),
        );
        let add = |parent: &str, provider: &str| {
            let path = format!("{flows}/{parent}/executions/execution");
            self.make(&path, &json!({ "provider": provider }));
        };
        let add_flow = |parent: &str, alias: &str| {
            let path = format!("{flows}/{parent}/executions/flow");
            self.make(
                &path,
                &json!({ "alias": alias, "type": "basic-flow", "provider": "", "description": "" }),
            );
        };
        let [forms, silver, gold] =
            ["forms", "silver", "gold"].map(|part| format!("{part}-of-{name}"));
        add(&flow, "auth-cookie");
        add_flow(&flow, &forms);
        for (level, method) in [
            (&silver, "auth-username-password-form"),
            (&gold, "auth-otp-form"),
        ] {
            add_flow(&forms, level);
            add(level, "conditional-level-of-authentication");
            add(level, method);
        }
        let executions = self.read(&format!("{flows}/{flow}/executions"));
        let mut level = 0;
        for execution in executions.as_array().unwrap() {
            let mut execution = execution.clone();
            let part = execution["displayName"].as_str().unwrap_or_default();
            let provider = execution["providerId"].as_str().unwrap_or_default();
            let requirement = match (part, provider) {
                (_, "auth-cookie") => "ALTERNATIVE",
                (part, _) if *part == forms => "ALTERNATIVE",
                (part, _) if *part == silver || *part == gold => "CONDITIONAL",
                _ => "REQUIRED",
            };
            if provider == "conditional-level-of-authentication" {
                level += 1;
                let id = execution["id"].as_str().unwrap();
                let config = json!({
                    "alias": format!("level-{level}-of-{name}"),
                    "config": { "loa-condition-level": level.to_string(), "loa-max-age": if level == 1 { "36000" } else { "0" } }
                });
                self.make(&format!("authentication/executions/{id}/config"), &config);
            }
            execution["requirement"] = requirement.into();
            let path = format!("{flows}/{flow}/executions");
            drop(self.send("PUT", &path, "application/json", &execution.to_string()));
        }
        let all = self.read(flows);
        let own = all
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["alias"] == *flow);
        own.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Registers a client for which the class "silver" is a password and "gold" a one-time code beside it. Browsers are sent
    /// back to addresses that begin so.
    pub fn add_client_with_classes(&self, client_id: &str, secret: &str, redirects: &str) {
        self.make(
            "clients",
            &json!({
                "clientId": client_id,
                "secret": secret,
                "protocol": "openid-connect",
                "publicClient": false,
                "redirectUris": [format!("{redirects}*")],
                "attributes": { "acr.loa.map": "{\"silver\":1,\"gold\":2}" },
                "authenticationFlowBindingOverrides": { "browser": self.add_flow_with_classes(client_id) },
                "protocolMappers": [{
                    "name": "groups",
                    "protocol": "openid-connect",
                    "protocolMapper": "oidc-group-membership-mapper",
                    "config": { "claim.name": "groups", "full.path": "false", "id.token.claim": "true", "userinfo.token.claim": "true" }
                }],
            }),
        );
    }

    /// Lets a SAML service ask for the same classes, by the names that SAML has for them.
    pub fn give_classes_to_service(&self, entity_id: &str, flow: &str) {
        let flow = self.add_flow_with_classes(flow);
        self.change_client(entity_id, |client| {
            let levels = json!({ SAML_CLASSES[0]: 1, SAML_CLASSES[1]: 2 }).to_string();
            client["attributes"]["acr.loa.map"] = levels.into();
            client["authenticationFlowBindingOverrides"] = json!({ "browser": flow });
        });
        let client = self.find_id(&format!("clients?clientId={}", escape(entity_id)));
        let mapper = "saml-authn-context-class-ref-mapper";
        self.make(
            &format!("clients/{client}/protocol-mappers/models"),
            &json!({ "name": "class", "protocol": "saml", "protocolMapper": mapper, "config": {} }),
        );
    }

    /// Registers a client that is told of logouts at this address.
    pub fn add_client_with_logout(&self, client_id: &str, secret: &str, logout_url: &str) {
        self.make(
            "clients",
            &json!({
                "clientId": client_id,
                "secret": secret,
                "protocol": "openid-connect",
                "publicClient": false,
                "redirectUris": ["http://127.0.0.1:*"],
                "attributes": {
                    "backchannel.logout.url": logout_url,
                    "backchannel.logout.session.required": "true",
                    "post.logout.redirect.uris": "+",
                },
            }),
        );
    }

    /// Says whether a person may log in.
    pub fn set_enabled(&self, name: &str, is_enabled: bool) {
        let id = self.find_id(&format!("users?exact=true&username={name}"));
        let mut user = self.read(&format!("users/{id}"));
        user["enabled"] = is_enabled.into();
        let path = format!("users/{id}");
        let answer = self.send("PUT", &path, "application/json", &user.to_string());
        assert_eq!(answer, "");
    }

    /// Ends a person's sessions.
    pub fn log_out_user(&self, name: &str) {
        let user = self.find_id(&format!("users?exact=true&username={name}"));
        let path = format!("users/{user}/logout");
        assert_eq!(self.send("POST", &path, "application/json", ""), "");
    }

    /// Adds a person with a password and one-time codes.
    pub fn add_person_with_codes(&self, name: &str) {
        let secret = json!({ "value": crate::OTP_SECRET }).to_string();
        let kind = json!({ "subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA1" });
        self.make(
            "users",
            &json!({
                "username": name,
                "enabled": true,
                "email": format!("{name}@corp.example"),
                "emailVerified": true,
                "firstName": name,
                "lastName": "Example",
                "credentials": [
                    { "type": "password", "value": "password" },
                    { "type": "otp", "secretData": secret, "credentialData": kind.to_string() },
                ],
            }),
        );
    }

    /// Changes attributes of a SAML service.
    pub fn set_client_attributes(&self, client_id: &str, attributes: &[(&str, &str)]) {
        self.change_client(client_id, |client| {
            for (name, value) in attributes {
                client["attributes"][name] = (*value).into();
            }
        });
    }

    fn change_client(&self, client_id: &str, change: impl FnOnce(&mut Value)) {
        let found = self.read(&format!("clients?clientId={}", escape(client_id)));
        let mut client = found[0].clone();
        change(&mut client);
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
