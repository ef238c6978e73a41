//! One resource, or a search for many: HTTP to calls of identity.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, Extension, Path, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bowline_proto::identity::v1::{
    CreateScimResourceRequest, DeleteScimResourceRequest, GetScimResourceRequest,
    ListScimResourcesRequest, PatchScimResourceRequest, ReplaceScimResourceRequest, ScimProjection,
    ScimResource, ScimResourceType,
};
use bowline_scim::{ScimType, discovery::MOST_RESULTS};
use serde_json::Value;

use super::{
    answer::{ScimAnswer, ScimFailure, list_answer, read_body},
    call::{ScimCall, read_text},
    query::{ScimQuery, read_search},
};
use crate::start::Portal;

fn type_number(of: ScimType) -> i32 {
    match of {
        ScimType::User => ScimResourceType::User.into(),
        ScimType::Group => ScimResourceType::Group.into(),
    }
}

fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// Which resource a request is about, and how.
pub(super) struct Wanted {
    pub(super) of: ScimType,
    pub(super) id: String,
    pub(super) body: String,
    /// `If-Match`.
    pub(super) if_match: String,
    pub(super) projection: ScimProjection,
}

impl ScimCall<'_> {
    /// Makes a resource.
    pub(super) async fn create(&self, wanted: Wanted) -> Result<ScimAnswer, ScimFailure> {
        let request = CreateScimResourceRequest {
            token: self.token(),
            r#type: type_number(wanted.of),
            body: wanted.body,
            projection: Some(wanted.projection),
        };
        let made = self.ask(async |identity| identity.create_scim_resource(request).await);
        Ok(self.answer_with(StatusCode::CREATED, wanted.of, made.await?.resource))
    }

    /// Replaces a resource.
    pub(super) async fn replace(&self, wanted: Wanted) -> Result<ScimAnswer, ScimFailure> {
        let request = ReplaceScimResourceRequest {
            token: self.token(),
            r#type: type_number(wanted.of),
            id: wanted.id,
            body: wanted.body,
            if_match: wanted.if_match,
            projection: Some(wanted.projection),
        };
        let changed = self.ask(async |identity| identity.replace_scim_resource(request).await);
        Ok(self.answer_with(StatusCode::OK, wanted.of, changed.await?.resource))
    }

    /// Changes a resource.
    pub(super) async fn patch(&self, wanted: Wanted) -> Result<ScimAnswer, ScimFailure> {
        let request = PatchScimResourceRequest {
            token: self.token(),
            r#type: type_number(wanted.of),
            id: wanted.id,
            body: wanted.body,
            if_match: wanted.if_match,
            projection: Some(wanted.projection),
        };
        let changed = self.ask(async |identity| identity.patch_scim_resource(request).await);
        Ok(self.answer_with(StatusCode::OK, wanted.of, changed.await?.resource))
    }

    /// Deletes a resource.
    pub(super) async fn delete(&self, wanted: Wanted) -> Result<ScimAnswer, ScimFailure> {
        let request = DeleteScimResourceRequest {
            token: self.token(),
            r#type: type_number(wanted.of),
            id: wanted.id,
            if_match: wanted.if_match,
        };
        self.ask(async |identity| identity.delete_scim_resource(request).await)
            .await?;
        Ok(ScimAnswer::deleted())
    }

    async fn get(&self, wanted: Wanted) -> Result<ScimAnswer, ScimFailure> {
        let request = GetScimResourceRequest {
            token: self.token(),
            r#type: type_number(wanted.of),
            id: wanted.id,
            projection: Some(wanted.projection),
        };
        let found = self.ask(async |identity| identity.get_scim_resource(request).await);
        Ok(self.answer_with(StatusCode::OK, wanted.of, found.await?.resource))
    }

    fn answer_with(
        &self,
        status: StatusCode,
        of: ScimType,
        resource: Option<ScimResource>,
    ) -> ScimAnswer {
        ScimAnswer::of_resource(status, &self.portal.scim_base(), of, resource)
    }

    async fn search(
        &self,
        of: ScimType,
        search: ListScimResourcesRequest,
    ) -> Result<ScimAnswer, ScimFailure> {
        let found = self.find_page(of, search).await?;
        Ok(ScimAnswer::ok(list_answer(
            found.total,
            found.start_index,
            &found.resources,
        )))
    }

    /// Searches people, and then groups. What asks for an attribute that a type does not have finds none of the type.
    async fn search_all(
        &self,
        search: ListScimResourcesRequest,
    ) -> Result<ScimAnswer, ScimFailure> {
        let most = i64::from(MOST_RESULTS);
        let count = search.count.unwrap_or(most).clamp(0, most);
        let wanted = ListScimResourcesRequest {
            count: Some(count),
            ..search
        };
        let users = self.find_page(ScimType::User, wanted.clone()).await;
        let (users, refusal) = match users {
            Ok(found) => (found, None),
            Err(failure) if failure.is_about_filter() => (FoundPage::default(), Some(failure)),
            Err(failure) => return Err(failure),
        };
        let first = wanted.start_index.max(1);
        let total = i64::try_from(users.total).unwrap_or(i64::MAX);
        let got = i64::try_from(users.resources.len()).unwrap_or(i64::MAX);
        // Groups come once all people were.
        let is_full = first - 1 + got < total;
        let wanted = ListScimResourcesRequest {
            start_index: (first - total).max(1),
            count: Some(if is_full { 0 } else { count - got }),
            ..wanted
        };
        let groups = match (self.find_page(ScimType::Group, wanted).await, refusal) {
            (Ok(found), _) => found,
            (Err(failure), None) if failure.is_about_filter() => FoundPage::default(),
            (Err(failure), _) => return Err(failure),
        };
        let mut resources = users.resources;
        resources.extend(groups.resources);
        let start_index = u64::try_from(first).unwrap_or(1);
        let total = users.total + groups.total;
        Ok(ScimAnswer::ok(list_answer(total, start_index, &resources)))
    }

    async fn find_page(
        &self,
        of: ScimType,
        search: ListScimResourcesRequest,
    ) -> Result<FoundPage, ScimFailure> {
        let request = ListScimResourcesRequest {
            token: self.token(),
            r#type: type_number(of),
            ..search
        };
        let found = self.ask(async |identity| identity.list_scim_resources(request).await);
        let found = found.await?;
        let base = self.portal.scim_base();
        let resources = found.resources.iter();
        let resources = resources.filter_map(|one| read_body(&base, &one.body));
        Ok(FoundPage {
            total: found.total,
            start_index: found.start_index,
            resources: resources.collect(),
        })
    }
}

/// A page of what a search found.
#[derive(Default)]
struct FoundPage {
    total: u64,
    start_index: u64,
    resources: Vec<Value>,
}

fn respond(answer: Result<ScimAnswer, ScimFailure>) -> Response {
    match answer {
        Ok(answer) => answer.into_response(),
        Err(failure) => failure.into_response(),
    }
}

pub(super) async fn get_list(
    State(portal): State<Arc<Portal>>,
    Extension(of): Extension<ScimType>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let search = ScimQuery::parse(query.as_deref()).search()?;
        call.search(of, search).await
    };
    respond(answer.await)
}

pub(super) async fn post_search(
    State(portal): State<Arc<Portal>>,
    Extension(of): Extension<ScimType>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let search = read_search(&read_text(&headers, body)?)?;
        call.search(of, search).await
    };
    respond(answer.await)
}

pub(super) async fn post_search_of_all(
    State(portal): State<Arc<Portal>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let search = read_search(&read_text(&headers, body)?)?;
        call.search_all(search).await
    };
    respond(answer.await)
}

pub(super) async fn post_resource(
    State(portal): State<Arc<Portal>>,
    Extension(of): Extension<ScimType>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let wanted = Wanted {
            of,
            id: String::new(),
            body: read_text(&headers, body)?,
            if_match: String::new(),
            projection: ScimQuery::parse(query.as_deref()).projection(),
        };
        call.create(wanted).await
    };
    respond(answer.await)
}

pub(super) async fn get_resource(
    State(portal): State<Arc<Portal>>,
    Extension(of): Extension<ScimType>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let wanted = Wanted {
            of,
            id,
            body: String::new(),
            if_match: String::new(),
            projection: ScimQuery::parse(query.as_deref()).projection(),
        };
        call.get(wanted).await
    };
    match answer.await {
        Ok(found) if is_known(&headers, &found.version) => {
            let mut response = (StatusCode::NOT_MODIFIED, Body::empty()).into_response();
            if let Ok(version) = HeaderValue::try_from(found.version) {
                response.headers_mut().insert(header::ETAG, version);
            }
            response
        }
        answer => respond(answer),
    }
}

/// Says whether the client has this version already: `If-None-Match`.
fn is_known(headers: &HeaderMap, version: &str) -> bool {
    let known = header_text(headers, &header::IF_NONE_MATCH);
    let mut known = known.split(',').map(str::trim);
    let weak = |tag: &str| tag.trim_start_matches("W/").to_owned();
    known.any(|tag| tag == "*" || (!tag.is_empty() && weak(tag) == weak(version)))
}

/// Replaces a resource (PUT), or changes it (PATCH).
pub(super) async fn change_resource(
    State(portal): State<Arc<Portal>>,
    (Extension(of), Path(id)): (Extension<ScimType>, Path<String>),
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let wanted = Wanted {
            of,
            id,
            body: read_text(&headers, body)?,
            if_match: header_text(&headers, &header::IF_MATCH),
            projection: ScimQuery::parse(query.as_deref()).projection(),
        };
        match method {
            Method::PUT => call.replace(wanted).await,
            _ => call.patch(wanted).await,
        }
    };
    respond(answer.await)
}

pub(super) async fn delete_resource(
    State(portal): State<Arc<Portal>>,
    Extension(of): Extension<ScimType>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let wanted = Wanted {
            of,
            id,
            body: String::new(),
            if_match: header_text(&headers, &header::IF_MATCH),
            projection: ScimProjection::default(),
        };
        call.delete(wanted).await
    };
    respond(answer.await)
}
