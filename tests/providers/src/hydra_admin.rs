//! What a program does that knows people, and lets them in at Hydra.

use bowline_test_servers::HydraServer;
use serde_json::{Value, json};

use crate::curl::run_curl;

/// The keys that ID tokens are signed by.
const KEYS: &str = "keys/hydra.openid.id-token";

/// Somebody who has logged in.
#[derive(Clone, Copy, Debug)]
pub struct HydraPerson {
    /// The name; the mail address is this at `corp.example`.
    pub name: &'static str,
    /// Whether the mail address is known to be the person's.
    pub has_verified_mail: bool,
    /// The class of authentication.
    pub class: &'static str,
}

/// The program.
#[derive(Debug)]
pub struct HydraAdmin {
    base: String,
}

impl HydraAdmin {
    /// Makes the program that a Hydra is told by.
    #[must_use]
    pub fn of(hydra: &HydraServer) -> Self {
        Self {
            base: format!("{}/admin", hydra.admin_origin()),
        }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}/{path}", self.base);
        let (kind, body) = ("Content-Type: application/json", body.to_string());
        let answer = run_curl(&[
            "--fail-with-body",
            "-X",
            method,
            "-H",
            kind,
            "--data-binary",
            &body,
            &url,
        ]);
        match &*answer {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")),
        }
    }

    /// Registers a client.
    pub fn register_client(&self, client: &Value) {
        drop(self.send("POST", "clients", client));
    }

    /// Lets a person on who was sent to a page that asks who it is, whether a client may know that, or whether a logout is
    /// meant. Returns where the browser goes from there; `None` where the address is of no such page.
    #[must_use]
    pub fn answer_page(&self, address: &str, person: &HydraPerson) -> Option<String> {
        let (_, query) = address.split_once('?')?;
        let (name, challenge) = query.split_once("_challenge=")?;
        let body = match name {
            "login" => login_of(person),
            "consent" => consent_of(person),
            "logout" => json!({}),
            _ => return None,
        };
        let path = format!("oauth2/auth/requests/{name}/accept?{name}_challenge={challenge}");
        let answer = self.send("PUT", &path, &body);
        let next = answer["redirect_to"].as_str();
        Some(next.unwrap_or_else(|| panic!("{answer}")).to_owned())
    }

    /// Returns the classes of authentication that the page that asks who it is may choose from.
    #[must_use]
    pub fn asked_classes(&self, address: &str) -> Vec<String> {
        let (_, query) = address.split_once('?').unwrap();
        let request = self.send(
            "GET",
            &format!("oauth2/auth/requests/login?{query}"),
            &json!({}),
        );
        let classes = &request["oidc_context"]["acr_values"];
        serde_json::from_value(classes.clone()).unwrap_or_default()
    }

    /// Takes back what a person has let clients have, and their tokens with it.
    pub fn revoke_consents(&self, person: &str) {
        let path = format!("oauth2/auth/sessions/consent?subject={person}&all=true");
        drop(self.send("DELETE", &path, &json!({})));
    }

    /// Lets ID tokens be signed by a key of another kind, and takes the former ones back.
    pub fn roll_key(&self) {
        let former = self.send("GET", KEYS, &json!({}));
        let next = json!({ "alg": "ES256", "use": "sig", "kid": "next" });
        drop(self.send("POST", KEYS, &next));
        for key in former["keys"].as_array().unwrap() {
            let id = key["kid"].as_str().unwrap();
            drop(self.send("DELETE", &format!("{KEYS}/{id}"), &json!({})));
        }
    }
}

fn login_of(person: &HydraPerson) -> Value {
    json!({
        "subject": person.name,
        "acr": person.class,
        "amr": ["pwd"],
        "remember": true,
    })
}

fn consent_of(person: &HydraPerson) -> Value {
    json!({
        "grant_scope": ["openid", "profile", "email", "offline_access"],
        "session": { "id_token": {
            "email": format!("{}@corp.example", person.name),
            "email_verified": person.has_verified_mail,
            "groups": ["dev"],
        } },
    })
}
