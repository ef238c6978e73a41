//! What a provider does wrong, and what is said of it.

use bowline_test_oidc_provider::{Fault, ProviderBehaviour};
use serde_json::{Value, json};

/// Where a provider publishes what it is.
pub(super) const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/jwks";
/// Where it gives tokens.
pub(super) const TOKEN: &str = "/token";
/// Where it says more of a person.
pub(super) const PERSON: &str = "/userinfo";

type Change = Box<dyn Fn(&mut ProviderBehaviour) + Send + Sync>;

/// At which step a login fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Nobody is sent to the provider.
    Begin,
    /// The browser may bring the same answer again.
    Finish,
    /// The attempt has ended.
    FinishAndForget,
}

/// One thing that a provider does wrong.
pub(super) struct HostileCase {
    pub(super) name: String,
    pub(super) change: Change,
    pub(super) step: Step,
    pub(super) words: &'static str,
    /// What is wrong is known for a while after the provider is well again.
    pub(super) is_remembered: bool,
}

fn case(
    name: impl Into<String>,
    step: Step,
    words: &'static str,
    change: impl Fn(&mut ProviderBehaviour) + Send + Sync + 'static,
) -> HostileCase {
    HostileCase {
        name: name.into(),
        change: Box::new(change),
        step,
        words,
        is_remembered: false,
    }
}

/// Returns what can be wrong with any answer, and what is said of it.
pub(super) fn faults(path: &'static str) -> Vec<(&'static str, Fault, &'static str)> {
    let json = "application/json";
    let unreadable = match path {
        PERSON => "userinfo",
        _ => "can not be asked",
    };
    vec![
        ("hangs", Fault::Hang, "no answer within 2 seconds"),
        ("drips", Fault::Drip, "no answer within 2 seconds"),
        ("is endless", Fault::Endless, "at most 1048576 bytes"),
        ("has failed", Fault::Status(500), "status 500"),
        ("is down", Fault::Status(503), "status 503"),
        ("is asked too often", Fault::Status(429), "status 429"),
        ("is empty", Fault::Status(204), unreadable),
        (
            "is a page",
            Fault::Answer(200, "text/html", "<html>".repeat(1000)),
            unreadable,
        ),
        (
            "is a page of failure",
            Fault::Answer(404, "text/html", "<html>".repeat(1000)),
            unreadable,
        ),
        (
            "is cut",
            Fault::Answer(200, json, "{\"issuer\": \"ht".to_owned()),
            unreadable,
        ),
        (
            "is deep",
            Fault::Answer(200, json, "[".repeat(500_000)),
            unreadable,
        ),
        (
            "is a list",
            Fault::Answer(200, json, "[1, 2]".to_owned()),
            unreadable,
        ),
        (
            "leads elsewhere",
            Fault::Redirect("https://evil.example/".to_owned()),
            "which is not followed",
        ),
        (
            "leads inwards",
            Fault::Redirect("http://169.254.169.254/latest/meta-data".to_owned()),
            "which is not followed",
        ),
        (
            "leads in circles",
            Fault::Redirect(path.to_owned()),
            "which is not followed",
        ),
    ]
}

/// Lets the ID token say less than is wanted, so that the person is asked for.
pub(super) fn let_person_be_asked_for(behaviour: &mut ProviderBehaviour) {
    behaviour.claims = json!({ "email": null });
}

/// Returns what can be wrong with the answer at each endpoint, or its place.
pub(super) fn faults_of_endpoints() -> Vec<HostileCase> {
    let mut cases = Vec::new();
    for (path, member, step) in [
        (DISCOVERY, "", Step::Begin),
        (KEYS, "jwks_uri", Step::Begin),
        (TOKEN, "token_endpoint", Step::Finish),
        (PERSON, "userinfo_endpoint", Step::Finish),
    ] {
        for (name, fault, words) in faults(path) {
            cases.push(case(
                format!("{path} {name}"),
                step,
                words,
                move |behaviour| {
                    let_person_be_asked_for(behaviour);
                    behaviour.faults.insert(path.to_owned(), fault.clone());
                },
            ));
        }
        if member.is_empty() {
            continue;
        }
        for (name, place, words) in [
            (
                "is not there",
                "http://127.0.0.1:1/",
                "the connection failed",
            ),
            ("is inside", "http://10.255.255.1/", "is not public"),
            (
                "is the metadata of a cloud",
                "http://169.254.169.254/",
                "is not public",
            ),
            ("is a script", "javascript:alert(1)", "is no web address"),
            ("is a file", "file:///etc/passwd", "is no web address"),
        ] {
            let step = match words {
                "is no web address" => Step::Begin,
                _ => step,
            };
            // A place that can not be asked for keys is said to be no place before anybody looks at its form.
            let words = match (member, words) {
                ("jwks_uri", "is no web address") => "can not be asked",
                (_, words) => words,
            };
            let one = case(format!("{path} {name}"), step, words, move |behaviour| {
                let_person_be_asked_for(behaviour);
                behaviour.discovery = json!({ member: place });
            });
            // Where its endpoints are is asked again after minutes.
            cases.push(HostileCase {
                is_remembered: true,
                ..one
            });
        }
    }
    cases
}

fn publishes(name: &'static str, words: &'static str, discovery: Value) -> HostileCase {
    case(name, Step::Begin, words, move |behaviour| {
        behaviour.discovery = discovery.clone();
    })
}

fn has_keys(name: &'static str, step: Step, words: &'static str, keys: Value) -> HostileCase {
    let one = case(name, step, words, move |behaviour| {
        behaviour.key_set = Some(keys.clone());
    });
    HostileCase {
        is_remembered: true,
        ..one
    }
}

fn claims(name: &'static str, words: &'static str, claims: Value) -> HostileCase {
    case(name, Step::FinishAndForget, words, move |behaviour| {
        behaviour.claims = claims.clone();
    })
}

fn signs(
    name: &'static str,
    change: impl Fn(&mut ProviderBehaviour) + Send + Sync + 'static,
) -> HostileCase {
    let words = "the ID token is refused: ";
    case(name, Step::FinishAndForget, words, change)
}

fn answers(name: &'static str, words: &'static str, answer: Value) -> HostileCase {
    case(name, Step::FinishAndForget, words, move |behaviour| {
        let_person_be_asked_for(behaviour);
        behaviour.token_answer = answer.clone();
    })
}

/// Returns what a provider can say that is not to be believed.
pub(super) fn lies() -> Vec<HostileCase> {
    let mut cases = vec![
        publishes(
            "another issuer",
            "unexpected issuer",
            json!({ "issuer": "https://evil.example" }),
        ),
        publishes(
            "a long issuer",
            "unexpected issuer",
            json!({ "issuer": format!("https://{}.example", "x".repeat(90_000)) }),
        ),
        publishes("no issuer", "missing field", json!({ "issuer": null })),
        publishes(
            "no tokens",
            "no token_endpoint",
            json!({ "token_endpoint": null }),
        ),
        publishes("no keys", "missing field", json!({ "jwks_uri": null })),
        publishes(
            "a script to log in",
            "no web address",
            json!({ "authorization_endpoint": "javascript:alert(1)" }),
        ),
        has_keys(
            "an empty key set",
            Step::FinishAndForget,
            "the ID token is refused: ",
            json!({ "keys": [] }),
        ),
        has_keys(
            "no key set",
            Step::Begin,
            "can not be asked",
            json!({ "keys": "none" }),
        ),
        has_keys(
            "crowded keys",
            Step::Begin,
            "at most 200 are taken",
            crowded_keys(),
        ),
        has_keys(
            "a symmetric key",
            Step::FinishAndForget,
            "the ID token is refused: ",
            json!({ "keys": [{ "kty": "oct", "kid": "1", "k": "c2VjcmV0" }] }),
        ),
        has_keys(
            "a key for encryption",
            Step::FinishAndForget,
            "the ID token is refused: ",
            json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "use": "enc", "x": "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w" }] }),
        ),
    ];
    cases.extend(lies_of_signatures());
    cases.extend(lies_of_tokens());
    cases.extend(lies_of_answers());
    cases
}

fn crowded_keys() -> Value {
    let key = |number: u32| json!({ "kty": "oct", "kid": number.to_string(), "k": "c2VjcmV0" });
    json!({ "keys": (0..3000).map(key).collect::<Vec<_>>() })
}

fn lies_of_signatures() -> Vec<HostileCase> {
    vec![
        signs("alg none", |behaviour| {
            behaviour.header = json!({ "alg": "none" })
        }),
        signs("the public key as a secret", |behaviour| {
            behaviour.header = json!({ "alg": "HS256" })
        }),
        signs("the client's secret", |behaviour| {
            behaviour.header = json!({ "alg": "HS256", "kid": null });
            behaviour.signing_secret = Some("secret".to_owned());
        }),
        signs("an unknown key", |behaviour| behaviour.signing_key = 2),
        signs("an unknown key by a known name", |behaviour| {
            behaviour.signing_key = 2;
            behaviour.header = json!({ "kid": "1" });
        }),
        signs("a path as a key", |behaviour| {
            behaviour.header = json!({ "kid": "../../../dev/null" })
        }),
        signs("another algorithm", |behaviour| {
            behaviour.header = json!({ "alg": "ES256" })
        }),
        signs("a key of its own", |behaviour| {
            behaviour.signing_key = 2;
            behaviour.header =
                json!({ "jku": "http://127.0.0.1:1/keys", "jwk": { "kty": "oct", "k": "eA" } });
        }),
    ]
}

fn lies_of_tokens() -> Vec<HostileCase> {
    let unusable = "answer with tokens can not be used";
    let refused = "the ID token is refused: ";
    vec![
        claims(
            "another iss",
            "expected `http://127.0.0.1",
            json!({ "iss": "https://evil.example" }),
        ),
        claims(
            "another aud",
            "must contain `bowline`",
            json!({ "aud": "other" }),
        ),
        claims(
            "a foreign aud",
            "is not a trusted audience",
            json!({ "aud": ["bowline", "other"] }),
        ),
        claims(
            "crowded aud",
            refused,
            json!({ "aud": vec!["x".repeat(1000); 100] }),
        ),
        claims(
            "another azp",
            "made for the client",
            json!({ "azp": "other" }),
        ),
        claims("another nonce", refused, json!({ "nonce": "another" })),
        claims("no nonce", refused, json!({ "nonce": null })),
        claims("expired", "expired", json!({ "exp": 1_000_000_000 })),
        claims("no end", unusable, json!({ "exp": null })),
        claims("an end that is none", unusable, json!({ "exp": "soon" })),
        claims(
            "an end beyond the calendar",
            unusable,
            json!({ "exp": 1e300 }),
        ),
        claims(
            "of the future",
            "iat is in the future",
            json!({ "iat": 4_000_000_000_u32, "exp": 4_000_000_300_u32 }),
        ),
        claims(
            "valid later",
            "nbf is in the future",
            json!({ "nbf": 4_000_000_000_u32 }),
        ),
        claims("nobody", unusable, json!({ "sub": null })),
        claims("an empty name", "its sub is no text", json!({ "sub": "" })),
        claims(
            "a huge name",
            "its sub is no text",
            json!({ "sub": "x".repeat(100_000) }),
        ),
        claims("a number as a name", unusable, json!({ "sub": 7 })),
        claims(
            "another access token",
            "at_hash",
            json!({ "at_hash": "x".repeat(43) }),
        ),
    ]
}

fn lies_of_answers() -> Vec<HostileCase> {
    let refusal = |error: &str| json!({ "error": error, "error_description": "x".repeat(100_000) });
    let refuse = |name, status, body: Value| {
        let words = "does not take the code";
        case(name, Step::FinishAndForget, words, move |behaviour| {
            let answer = Fault::Answer(status, "application/json", body.to_string());
            behaviour.faults.insert(TOKEN.to_owned(), answer);
        })
    };
    let again = |name, words, answer: Value| {
        case(name, Step::Finish, words, move |behaviour| {
            let_person_be_asked_for(behaviour);
            behaviour.token_answer = answer.clone();
        })
    };
    vec![
        refuse("a refused code", 400, refusal("invalid_grant")),
        refuse("a refused client", 401, refusal("invalid_client")),
        refuse("an unknown error", 400, refusal("the_moon")),
        answers(
            "no ID token",
            "sends no ID token",
            json!({ "id_token": null }),
        ),
        answers(
            "no access token",
            "tokens can not be used",
            json!({ "access_token": null }),
        ),
        answers(
            "no kind of token",
            "tokens can not be used",
            json!({ "token_type": null }),
        ),
        answers(
            "an ID token that is none",
            "tokens can not be used",
            json!({ "id_token": "a.b.c" }),
        ),
        again(
            "a header in the access token",
            "no header can carry",
            json!({ "access_token": "a\r\nX: b" }),
        ),
        again(
            "letters in the access token",
            "no header can carry",
            json!({ "access_token": "ключ" }),
        ),
        case("another person", Step::Finish, "userinfo", |behaviour| {
            let_person_be_asked_for(behaviour);
            let person = json!({ "sub": "person-2", "email": "boss@example.com" }).to_string();
            let answer = Fault::Answer(200, "application/json", person);
            behaviour.faults.insert(PERSON.to_owned(), answer);
        }),
    ]
}
