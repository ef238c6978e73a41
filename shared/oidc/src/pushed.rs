//! Requests that are pushed to the provider, so that a browser carries a reference alone (RFC 9126). Done where the provider requires
//! it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openidconnect::{
    AsyncHttpClient as _, HttpRequest,
    http::{Request, header},
};
use serde::Deserialize;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::{
    ClientRegistration, OidcError, Providers,
    error::{clean_problem, describe_problem},
    provider::{Provider, check_endpoint, takes_secret_in_body},
};

/// What the provider answers to a request that it takes.
#[derive(Deserialize)]
struct PushedRequest {
    request_uri: String,
}

/// Why the provider takes no request (RFC 6749 section 5.2).
#[derive(Default, Deserialize)]
struct PushRefusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Pushes what a URL asks for, and returns the URL that refers to it.
///
/// # Errors
///
/// When the provider does not take it, or can not be asked.
pub(crate) async fn push_request(
    providers: &Providers,
    provider: &Provider,
    registration: &ClientRegistration,
    asked: &Url,
) -> Result<Url, OidcError> {
    let unanswered = |problem: String| OidcError::Discovery {
        issuer: registration.issuer.clone(),
        problem,
    };
    let endpoint = find_endpoint(provider, registration).map_err(unanswered)?;
    let request = make_request(provider, registration, &endpoint, asked);
    let request = request.map_err(|error| unanswered(describe_problem(&error)))?;
    let answer = providers.http().call(request).await;
    let answer = answer.map_err(|error| unanswered(describe_problem(&error)))?;
    if !answer.status().is_success() {
        let refusal: PushRefusal = serde_json::from_slice(answer.body()).unwrap_or_default();
        return Err(match (&*refusal.error, refusal.error_description) {
            // What is no answer of OAuth 2.0 refuses nobody.
            ("", _) => unanswered(format!(
                "its answer to a pushed request has the status {}",
                answer.status().as_u16()
            )),
            (error, description) if description.is_empty() => {
                OidcError::Refused(clean_problem(error))
            }
            (_, description) => OidcError::Refused(clean_problem(&description)),
        });
    }
    let pushed: PushedRequest = serde_json::from_slice(answer.body())
        .map_err(|error| unanswered(describe_problem(&error)))?;
    let mut url = provider.metadata.authorization_endpoint().url().clone();
    url.query_pairs_mut()
        .append_pair("client_id", &registration.client_id)
        .append_pair("request_uri", &pushed.request_uri);
    Ok(url)
}

fn find_endpoint(provider: &Provider, registration: &ClientRegistration) -> Result<Url, String> {
    let name = "pushed_authorization_request_endpoint";
    let published = provider.metadata.additional_metadata();
    let published = published.pushed_authorization_request_endpoint.as_str();
    let url = published.and_then(|text| text.parse::<Url>().ok());
    let url = url.ok_or_else(|| format!("it requires pushed requests and publishes no {name}"))?;
    check_endpoint(name, &url, registration.issuer.starts_with("https://"))?;
    Ok(url)
}

/// Returns the request: what the browser would have carried, with the client's secret as the token endpoint takes it.
fn make_request(
    provider: &Provider,
    registration: &ClientRegistration,
    endpoint: &Url,
    asked: &Url,
) -> Result<HttpRequest, openidconnect::http::Error> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(asked.query_pairs());
    let mut request = Request::post(endpoint.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(secret) = &registration.client_secret {
        if takes_secret_in_body(&provider.metadata) {
            form.append_pair("client_secret", secret);
        } else {
            let encode =
                |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encode(&registration.client_id), encode(secret));
            let pair = Zeroizing::new(STANDARD.encode(Zeroizing::new(pair).as_bytes()));
            request = request.header(header::AUTHORIZATION, format!("Basic {}", *pair));
        }
    }
    request.body(form.finish().into_bytes())
}
