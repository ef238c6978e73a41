//! An OpenID Connect provider on this machine, for what a real one does not do on request: it errs, lies, stalls, changes its
//! keys, and signs what it is told to. It keeps no people: whoever comes is one person.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails where something is not as expected"
)]

mod answers;
mod keys;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use url::Url;

pub use keys::sign_token;

/// This server's id at the provider.
pub const CLIENT_ID: &str = "bowline";

/// What is wrong with an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It has this status and no body.
    Status(u16),
    /// It has this status, content type and body.
    Answer(u16, &'static str, String),
    /// It never comes.
    Hang,
    /// It comes when [`TestOidcProvider::release`] is called, as is right then.
    Hold,
    /// Its body has no end.
    Endless,
    /// Its body comes by the byte, and has no end.
    Drip,
    /// It leads there.
    Redirect(String),
}

/// How the provider behaves. A test changes it at any time.
#[derive(Clone, Debug)]
pub struct ProviderBehaviour {
    /// What is wrong with the answer at a path, such as `/token`.
    pub faults: BTreeMap<String, Fault>,
    /// The keys that it publishes, by number.
    pub published_keys: Vec<u8>,
    /// What it publishes in place of them.
    pub key_set: Option<Value>,
    /// The secret that it signs with in place of its key, by HS256.
    pub signing_secret: Option<String>,
    /// The key that it signs with.
    pub signing_key: u8,
    /// Members of what it publishes of itself, in place of the right ones; null leaves one out.
    pub discovery: Value,
    /// Members of a token's header, in the same way.
    pub header: Value,
    /// Members of the ID token, in the same way.
    pub claims: Value,
    /// Members of its answer with tokens, in the same way.
    pub token_answer: Value,
    /// What it answers to a refresh token, in place of new tokens: status and body.
    pub refresh_answer: Option<(u16, Value)>,
    /// The refresh token that it takes next; the number grows with each.
    pub refresh_number: u32,
    nonce: String,
    challenge: String,
    /// What was pushed to it, by the reference that the browser brings.
    pub(crate) pushed: BTreeMap<String, BTreeMap<String, String>>,
    requests: BTreeMap<String, usize>,
    under_way: usize,
    most_under_way: usize,
}

impl ProviderBehaviour {
    /// Makes everything right again.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.published_keys = vec![1];
        self.key_set = None;
        self.signing_secret = None;
        self.signing_key = 1;
        for changed in [
            &mut self.discovery,
            &mut self.header,
            &mut self.claims,
            &mut self.token_answer,
        ] {
            *changed = json!({});
        }
        self.refresh_answer = None;
    }
}

/// What a browser brings back from the provider.
#[derive(Clone, Debug)]
pub struct ProviderAnswer {
    /// The state that it was sent with.
    pub state: String,
    /// The code.
    pub code: String,
}

/// A code that says whose it is, so that the provider keeps nothing of it.
pub(crate) struct NamedCode {
    pub(crate) person: String,
    pub(crate) nonce: String,
    pub(crate) challenge: String,
}

impl NamedCode {
    fn to_text(&self) -> String {
        [&*self.person, &self.nonce, &self.challenge].join("|")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('|').map(str::to_owned).collect();
        let [person, nonce, challenge] = parts.try_into().ok()?;
        Some(Self {
            person,
            nonce,
            challenge,
        })
    }
}

fn read_query(url: &str) -> BTreeMap<String, String> {
    let url: Url = url.parse().unwrap();
    url.query_pairs().into_owned().collect()
}

/// The provider. Clones are the same.
#[derive(Clone, Debug)]
pub struct TestOidcProvider {
    origin: String,
    behaviour: Arc<Mutex<ProviderBehaviour>>,
    releases: Arc<watch::Sender<u64>>,
}

impl TestOidcProvider {
    /// Starts one with the key 1.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self {
            origin,
            behaviour: Arc::new(Mutex::new(ProviderBehaviour {
                faults: BTreeMap::new(),
                published_keys: vec![1],
                key_set: None,
                signing_secret: None,
                signing_key: 1,
                discovery: json!({}),
                header: json!({}),
                claims: json!({}),
                token_answer: json!({}),
                refresh_answer: None,
                refresh_number: 0,
                nonce: String::new(),
                challenge: String::new(),
                pushed: BTreeMap::new(),
                requests: BTreeMap::new(),
                under_way: 0,
                most_under_way: 0,
            })),
            releases: Arc::default(),
        };
        let routes = answers::routes(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    /// Returns its issuer, which is its origin.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.origin
    }

    /// Changes how it behaves.
    pub fn change(&self, change: impl FnOnce(&mut ProviderBehaviour)) {
        change(&mut self.behaviour.lock());
    }

    /// Returns how it behaves.
    #[must_use]
    pub fn behaviour(&self) -> ProviderBehaviour {
        self.behaviour.lock().clone()
    }

    /// Returns how often a path was asked for.
    #[must_use]
    pub fn count_requests(&self, path: &str) -> usize {
        let behaviour = self.behaviour.lock();
        behaviour.requests.get(path).copied().unwrap_or(0)
    }

    /// Returns how many requests it had at once, at most.
    #[must_use]
    pub fn most_under_way(&self) -> usize {
        self.behaviour.lock().most_under_way
    }

    /// Lets the answers come that are held back.
    pub fn release(&self) {
        self.releases.send_modify(|number| *number += 1);
    }

    /// Lets the person log in who was sent to an address. Returns the state that the browser brings back; the code is "code".
    pub fn log_in(&self, url: &str) -> String {
        let mut behaviour = self.behaviour.lock();
        let mut sent = read_query(url);
        if let Some(reference) = sent.get("request_uri") {
            // A reference is used once.
            sent = behaviour.pushed.remove(reference).unwrap();
        }
        let sent = |name: &str| sent.get(name).unwrap_or_else(|| panic!("{url}")).clone();
        behaviour.nonce = sent("nonce");
        behaviour.challenge = sent("code_challenge");
        sent("state")
    }

    /// Lets a person of that name log in who was sent to an address, beside others.
    #[must_use]
    pub fn let_in(&self, url: &str, person: &str) -> ProviderAnswer {
        let sent = read_query(url);
        let code = NamedCode {
            person: person.to_owned(),
            nonce: sent["nonce"].clone(),
            challenge: sent["code_challenge"].clone(),
        };
        ProviderAnswer {
            state: sent["state"].clone(),
            code: code.to_text(),
        }
    }

    /// Returns a logout token of the person, with members of its claims changed.
    #[must_use]
    pub fn make_logout_token(&self, changes: &Value) -> String {
        let behaviour = self.behaviour();
        let now = now();
        let mut claims = json!({
            "iss": self.origin,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": format!("logout-{}", next_number()),
            "sub": "person-1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        replace_members(&mut claims, changes);
        let mut header = json!({ "alg": "EdDSA", "typ": "logout+jwt", "kid": behaviour.signing_key.to_string() });
        replace_members(&mut header, &behaviour.header);
        sign_token(behaviour.signing_key, &header, &claims)
    }
}

/// Puts members of one object in place of another's; null takes one away.
fn replace_members(object: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
