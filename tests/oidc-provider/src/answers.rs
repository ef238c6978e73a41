//! What it answers.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Form, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::interval;

use crate::{
    CLIENT_ID, Fault, NamedCode, TestOidcProvider,
    keys::{public_key, sign_with_secret},
    next_number, now, replace_members, sign_token,
};

/// How long it is from one byte to the next.
const DRIP: Duration = Duration::from_millis(20);

pub(crate) fn routes(provider: TestOidcProvider) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(get_discovery))
        .route("/jwks", get(get_keys))
        .route("/token", post(post_token))
        .route("/par", post(post_request))
        .route("/userinfo", get(get_person))
        .layer(from_fn_with_state(provider.clone(), err_where_told))
        .with_state(provider)
}

/// A request that is being answered, until its answer is there or its client gone.
struct UnderWay(TestOidcProvider);

impl UnderWay {
    fn count(provider: &TestOidcProvider, path: &str) -> Self {
        provider.change(|behaviour| {
            *behaviour.requests.entry(path.to_owned()).or_default() += 1;
            behaviour.under_way += 1;
            behaviour.most_under_way = behaviour.most_under_way.max(behaviour.under_way);
        });
        Self(provider.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.change(|behaviour| behaviour.under_way -= 1);
    }
}

/// Counts a request, and answers it wrongly where that is asked for.
async fn err_where_told(
    State(provider): State<TestOidcProvider>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let _under_way = UnderWay::count(&provider, &path);
    let mut releases = provider.releases.subscribe();
    let find_fault = || provider.behaviour.lock().faults.get(&path).cloned();
    let mut fault = find_fault();
    while let Some(Fault::Hold) = fault {
        releases.changed().await.unwrap();
        fault = find_fault();
    }
    let status = |number| StatusCode::from_u16(number).unwrap();
    match fault {
        None => next.run(request).await,
        Some(Fault::Status(number)) => status(number).into_response(),
        Some(Fault::Answer(number, kind, body)) => {
            (status(number), [(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Some(Fault::Hang | Fault::Hold) => std::future::pending().await,
        Some(Fault::Endless) => {
            let chunk = Bytes::from_static(&[b' '; 65536]);
            let chunks = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            as_json(Body::from_stream(chunks))
        }
        Some(Fault::Drip) => {
            let drops = stream::unfold(interval(DRIP), |mut pace| async {
                pace.tick().await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), pace))
            });
            as_json(Body::from_stream(drops))
        }
        Some(Fault::Redirect(place)) => {
            (StatusCode::FOUND, [(header::LOCATION, place)]).into_response()
        }
    }
}

fn as_json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn get_discovery(State(provider): State<TestOidcProvider>) -> Json<Value> {
    let origin = provider.issuer();
    let mut published = json!({
        "issuer": origin,
        "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/token"),
        "userinfo_endpoint": format!("{origin}/userinfo"),
        "end_session_endpoint": format!("{origin}/end-session"),
        "jwks_uri": format!("{origin}/jwks"),
        "pushed_authorization_request_endpoint": format!("{origin}/par"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    replace_members(&mut published, &provider.behaviour().discovery);
    Json(published)
}

async fn get_keys(State(provider): State<TestOidcProvider>) -> Json<Value> {
    let behaviour = provider.behaviour();
    if let Some(keys) = behaviour.key_set {
        return Json(keys);
    }
    let numbers = behaviour.published_keys;
    let keys: Vec<_> = numbers.into_iter().map(public_key).collect();
    Json(json!({ "keys": keys }))
}

async fn get_person() -> Json<Value> {
    Json(json!({ "sub": "person-1" }))
}

/// Keeps a request, and answers with what refers to it (RFC 9126).
async fn post_request(
    State(provider): State<TestOidcProvider>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let proof = headers.get(header::AUTHORIZATION);
    let is_proven = proof.is_some_and(|proof| proof.to_str().unwrap().starts_with("Basic "));
    if !is_proven || form.get("client_id").map(String::as_str) != Some(CLIENT_ID) {
        let refusal = json!({ "error": "invalid_client" });
        return (StatusCode::UNAUTHORIZED, Json(refusal)).into_response();
    }
    let reference = format!("urn:example:request:{}", next_number());
    let answer = json!({ "request_uri": reference, "expires_in": 60 });
    provider.change(|behaviour| {
        behaviour.pushed.insert(reference, form);
    });
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn post_token(
    State(provider): State<TestOidcProvider>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let behaviour = provider.behaviour();
    let is_refresh = field("grant_type") == "refresh_token";
    let named = NamedCode::parse(field("code"));
    let is_right = match is_refresh {
        true => field("refresh_token") == refresh_token(behaviour.refresh_number),
        false => {
            let hash = Sha256::digest(field("code_verifier").as_bytes());
            let challenge = named
                .as_ref()
                .map_or(&behaviour.challenge, |named| &named.challenge);
            let is_code = field("code") == "code" || named.is_some();
            is_code && URL_SAFE_NO_PAD.encode(hash) == *challenge
        }
    };
    if is_refresh && let Some((status, body)) = behaviour.refresh_answer {
        return (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
    }
    if !is_right {
        let refusal = json!({ "error": "invalid_grant" });
        return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
    }
    let now = now();
    let mut claims = json!({
        "iss": provider.issuer(),
        "aud": CLIENT_ID,
        "sub": "person-1",
        "sid": "session-1",
        "iat": now,
        "exp": now + 300,
        "email": "kim@example.com",
        "email_verified": true,
        "name": "Kim Example",
        "groups": ["dev"],
    });
    if !is_refresh {
        claims["nonce"] = behaviour.nonce.into();
    }
    if let Some(named) = named {
        claims["sub"] = named.person.clone().into();
        claims["email"] = format!("{}@example.com", named.person).into();
        claims["nonce"] = named.nonce.into();
    }
    replace_members(&mut claims, &behaviour.claims);
    let mut header = json!({ "alg": "EdDSA", "kid": behaviour.signing_key.to_string() });
    replace_members(&mut header, &behaviour.header);
    let next = behaviour.refresh_number + 1;
    provider.change(|behaviour| behaviour.refresh_number = next);
    let id_token = match &behaviour.signing_secret {
        Some(secret) => sign_with_secret(secret, &header, &claims),
        None => sign_token(behaviour.signing_key, &header, &claims),
    };
    let mut answer = json!({
        "access_token": "access",
        "token_type": "Bearer",
        "expires_in": 300,
        "id_token": id_token,
        "refresh_token": refresh_token(next),
    });
    replace_members(&mut answer, &behaviour.token_answer);
    Json(answer).into_response()
}

fn refresh_token(number: u32) -> String {
    format!("refresh-{number}")
}
