//! Answers and errors as SCIM has them.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bowline_proto::identity::v1::ScimResource;
use bowline_scim::{ScimError, ScimErrorKind, ScimType, discovery::LIST_SCHEMA};
use bowline_service_kit::{retry_after, status_reason};
use serde_json::{Value, json};
use tonic::{Code, Status};

/// What a body of SCIM is.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/scim+json");
/// What an error says that it is.
const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// What a request is answered with.
#[derive(Debug)]
pub(super) struct ScimAnswer {
    pub(super) status: StatusCode,
    /// The JSON; absent where there is nothing to say.
    pub(super) body: Option<Value>,
    /// The entity tag of a resource, or empty.
    pub(super) version: String,
    /// The address of a resource, or empty.
    pub(super) location: String,
}

impl ScimAnswer {
    pub(super) fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
            version: String::new(),
            location: String::new(),
        }
    }

    pub(super) fn deleted() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: None,
            version: String::new(),
            location: String::new(),
        }
    }

    /// Returns the answer that has a resource.
    pub(super) fn of_resource(
        status: StatusCode,
        base: &str,
        of: ScimType,
        resource: Option<ScimResource>,
    ) -> Self {
        let resource = resource.unwrap_or_default();
        let location = format!("{base}{}/{}", of.endpoint(), resource.id);
        let body = read_body(base, &resource.body);
        Self {
            status: match &body {
                Some(_) => status,
                None => StatusCode::NO_CONTENT,
            },
            body,
            version: resource.version,
            location,
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => {
                let mut response = (self.status, body.to_string()).into_response();
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
                response
            }
            None => (self.status, Body::empty()).into_response(),
        };
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ETAG, self.version),
            (header::LOCATION, self.location),
        ] {
            if let Ok(value) = HeaderValue::try_from(value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Reads a resource of identity, whose addresses have no host.
pub(super) fn read_body(base: &str, body: &str) -> Option<Value> {
    let mut resource: Value = serde_json::from_str(body).ok()?;
    if let Some(Value::String(address)) = resource.pointer_mut("/meta/location") {
        complete_address(base, address);
    }
    for list in ["members", "groups"] {
        let values = resource.get_mut(list).and_then(Value::as_array_mut);
        for value in values.into_iter().flatten() {
            if let Some(Value::String(address)) = value.get_mut("$ref") {
                complete_address(base, address);
            }
        }
    }
    Some(resource)
}

fn complete_address(base: &str, address: &mut String) {
    if address.starts_with('/') {
        address.insert_str(0, base);
    }
}

/// Returns the JSON of a page of resources.
pub(super) fn list_answer(total: u64, start_index: u64, resources: &[Value]) -> Value {
    json!({
        "schemas": [LIST_SCHEMA],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct ScimFailure {
    pub(super) status: StatusCode,
    /// The word for it, where the standard has one.
    scim_type: Option<&'static str>,
    detail: String,
    /// When to try again.
    wait: Option<Duration>,
}

impl ScimFailure {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            scim_type: None,
            detail: detail.into(),
            wait: None,
        }
    }

    pub(super) fn slow_down(detail: &str, wait: Duration) -> Self {
        Self {
            wait: Some(wait),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
    }

    /// Says whether a filter, or what it is sorted by, asks for what is not there.
    pub(super) fn is_about_filter(&self) -> bool {
        let words = [ScimErrorKind::InvalidFilter, ScimErrorKind::InvalidPath];
        words
            .iter()
            .any(|kind| self.scim_type == Some(kind.as_str()))
    }

    /// Returns the JSON.
    pub(super) fn to_body(&self) -> Value {
        let mut body = json!({
            "schemas": [ERROR_SCHEMA],
            "status": self.status.as_str(),
            "detail": self.detail,
        });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = scim_type.into();
        }
        body
    }

    pub(super) fn into_response(self) -> Response {
        let answer = ScimAnswer {
            status: self.status,
            body: Some(self.to_body()),
            version: String::new(),
            location: String::new(),
        };
        let mut response = answer.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"bowline\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}

impl From<ScimError> for ScimFailure {
    fn from(error: ScimError) -> Self {
        let status = match error.kind {
            ScimErrorKind::Uniqueness => StatusCode::CONFLICT,
            ScimErrorKind::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self {
            scim_type: Some(error.kind.as_str()),
            ..Self::new(status, error.detail)
        }
    }
}

impl From<Status> for ScimFailure {
    fn from(status: Status) -> Self {
        let said = status.message();
        let reason = status_reason(&status).unwrap_or_default();
        let mut kinds = ScimErrorKind::ALL.into_iter();
        if let Some(kind) = kinds.find(|kind| kind.reason() == reason) {
            return ScimError::new(kind, said).into();
        }
        if reason == "SCIM_OTHER_VERSION" {
            return Self::new(StatusCode::PRECONDITION_FAILED, said);
        }
        match status.code() {
            Code::Unauthenticated => Self::new(StatusCode::UNAUTHORIZED, said),
            Code::InvalidArgument => ScimError::value(said).into(),
            Code::NotFound => Self::new(StatusCode::NOT_FOUND, said),
            Code::PermissionDenied => Self::new(StatusCode::FORBIDDEN, said),
            Code::AlreadyExists => ScimError::new(ScimErrorKind::Uniqueness, said).into(),
            Code::FailedPrecondition => Self::new(StatusCode::CONFLICT, said),
            Code::ResourceExhausted => {
                Self::slow_down(said, retry_after(&status).unwrap_or_default())
            }
            code => {
                tracing::warn!(?code, said, "identity can not serve SCIM");
                let text = "identity can not answer now: try again";
                Self {
                    wait: Some(Duration::from_secs(1)),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
