//! `/scim/v2`: identity providers bring users and groups by SCIM 2.0 (RFC 7644).
//!
//! ```text
//! request ─▶ call: whose token, how often ─▶ resources: which call of identity ─▶ answer: JSON, addresses, errors
//!            bulk: many of them in one
//! ```
//!
//! Identity keeps the resources, and reads filters and changes. What is here is HTTP: addresses, entity tags, the form of errors.

mod answer;
mod bulk;
mod call;
mod query;
mod resources;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Extension, Path, Request, State},
    http::{HeaderValue, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use bowline_scim::{ScimType, discovery};
use serde_json::Value;

use self::answer::{ScimAnswer, ScimFailure, list_answer};
pub(crate) use self::call::SCIM_TURNS;
use crate::{guard::is_own_host, start::Portal};

/// Where it is.
const SCIM: &str = "/scim/v2";

impl Portal {
    /// Returns the address that SCIM's addresses begin with.
    fn scim_base(&self) -> String {
        format!("{}{SCIM}", self.origin)
    }
}

/// Returns the routes.
pub(crate) fn scim_routes(portal: &Arc<Portal>) -> Router {
    let of_all = Router::new()
        .route("/ServiceProviderConfig", get(get_config))
        .route("/ResourceTypes", get(get_types))
        .route("/ResourceTypes/{id}", get(get_type))
        .route("/Schemas", get(get_schemas))
        .route("/Schemas/{id}", get(get_schema))
        .route("/Bulk", post(bulk::post_bulk))
        .route("/.search", post(resources::post_search_of_all));
    let routes = ScimType::ALL
        .into_iter()
        .fold(of_all, |routes, of| routes.merge(resource_routes(of)))
        .fallback(answer_nothing)
        .method_not_allowed_fallback(refuse_method)
        .layer(middleware::from_fn_with_state(
            Arc::clone(portal),
            check_request,
        ))
        .layer(DefaultBodyLimit::max(discovery::LARGEST_BODY))
        .with_state(Arc::clone(portal));
    Router::new().nest(SCIM, routes)
}

fn resource_routes(of: ScimType) -> Router<Arc<Portal>> {
    let all = of.endpoint();
    let one = get(resources::get_resource)
        .put(resources::change_resource)
        .patch(resources::change_resource)
        .delete(resources::delete_resource);
    Router::new()
        .route(all, get(resources::get_list).post(resources::post_resource))
        .route(&format!("{all}/.search"), post(resources::post_search))
        .route(&format!("{all}/{{id}}"), one)
        .layer(Extension(of))
}

/// Refuses another host than the public one, and says what may be done with answers.
async fn check_request(
    State(portal): State<Arc<Portal>>,
    request: Request,
    next: Next,
) -> Response {
    let authority = request.uri().authority().map(Authority::as_str);
    let mut response = match is_own_host(&portal, request.headers(), authority) {
        true => next.run(request).await,
        false => {
            let detail = "this server has another name: use its public URL";
            ScimFailure::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn answer_nothing() -> Response {
    let detail = "there is nothing at this address: /Users, /Groups, /Bulk, /ServiceProviderConfig, /ResourceTypes and /Schemas are below /scim/v2";
    ScimFailure::new(StatusCode::NOT_FOUND, detail).into_response()
}

async fn refuse_method() -> Response {
    let detail = "this method does nothing at this address";
    ScimFailure::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response()
}

async fn get_config(State(portal): State<Arc<Portal>>) -> Response {
    let config = discovery::service_provider_config(&portal.scim_base());
    ScimAnswer::ok(config).into_response()
}

async fn get_types(State(portal): State<Arc<Portal>>) -> Response {
    answer_all(&discovery::resource_types(&portal.scim_base()))
}

async fn get_type(State(portal): State<Arc<Portal>>, Path(id): Path<String>) -> Response {
    answer_one(discovery::resource_types(&portal.scim_base()), &id)
}

async fn get_schemas(State(portal): State<Arc<Portal>>) -> Response {
    answer_all(&discovery::schemas(&portal.scim_base()))
}

async fn get_schema(State(portal): State<Arc<Portal>>, Path(id): Path<String>) -> Response {
    answer_one(discovery::schemas(&portal.scim_base()), &id)
}

fn answer_all(all: &[Value]) -> Response {
    let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
    ScimAnswer::ok(list_answer(total, 1, all)).into_response()
}

fn answer_one(all: Vec<Value>, id: &str) -> Response {
    let mut all = all.into_iter();
    match all.find(|one| one["id"] == id) {
        Some(found) => ScimAnswer::ok(found).into_response(),
        None => {
            let detail = "there is no such schema or type of resource";
            ScimFailure::new(StatusCode::NOT_FOUND, detail).into_response()
        }
    }
}
