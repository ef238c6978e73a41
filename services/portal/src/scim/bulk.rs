//! Many requests in one. Each is done by itself, once what it names by `bulkId` is made.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bowline_proto::identity::v1::ScimProjection;
use bowline_scim::bulk::{BULK_ANSWER_SCHEMA, BulkMethod, BulkOperation, BulkRequest};
use serde_json::{Value, json};

use super::{
    answer::{ScimAnswer, ScimFailure},
    call::{ScimCall, read_text},
    resources::Wanted,
};
use crate::start::Portal;

pub(super) async fn post_bulk(
    State(portal): State<Arc<Portal>>,
    ConnectInfo(source): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let call = ScimCall::begin(&portal, source, &headers)?;
        let request = BulkRequest::parse(&read_text(&headers, body)?)?;
        run_bulk(&call, request).await
    };
    match answer.await {
        Ok(answer) => answer.into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// Does the requests, each after those whose resources it names.
async fn run_bulk(call: &ScimCall<'_>, request: BulkRequest) -> Result<ScimAnswer, ScimFailure> {
    let mut waiting: Vec<(usize, BulkOperation)> =
        request.operations.into_iter().enumerate().collect();
    let mut made: BTreeMap<String, String> = BTreeMap::new();
    let mut done: BTreeMap<usize, Value> = BTreeMap::new();
    let mut errors = 0;
    while request
        .fail_on_errors
        .is_none_or(|most| most == 0 || errors < most)
    {
        let to_come: BTreeSet<&str> = waiting
            .iter()
            .map(|(_, one)| one.bulk_id.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        // What waits for itself in a circle is done in the order in which it stands, and refused for what it names.
        let is_ready = |(_, one): &(usize, BulkOperation)| {
            let references = one.references();
            references
                .iter()
                .all(|name| !to_come.contains(name) || *name == one.bulk_id)
        };
        let next = waiting.iter().position(is_ready).unwrap_or(0);
        if waiting.is_empty() {
            break;
        }
        let (index, operation) = waiting.remove(next);
        let operation = operation.with_references(&made);
        let outcome = run_operation(call, &operation).await;
        if let Err(failure) = &outcome {
            // Nothing of the rest would be done: the whole request is refused, unless something is done already.
            let is_for_all = matches!(
                failure.status,
                StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS
            );
            if is_for_all && done.is_empty() {
                return outcome;
            }
            errors += 1;
        }
        if let (Ok(answer), false) = (&outcome, operation.bulk_id.is_empty()) {
            let id = answer.location.rsplit('/').next().unwrap_or_default();
            made.insert(operation.bulk_id.clone(), id.to_owned());
        }
        done.insert(index, describe_outcome(call, &operation, &outcome));
    }
    Ok(ScimAnswer::ok(json!({
        "schemas": [BULK_ANSWER_SCHEMA],
        "Operations": done.into_values().collect::<Vec<_>>(),
    })))
}

async fn run_operation(
    call: &ScimCall<'_>,
    operation: &BulkOperation,
) -> Result<ScimAnswer, ScimFailure> {
    let missing = operation.references();
    if let Some(name) = missing.first() {
        let detail = format!("the resource that bulkId:{name} names was not made");
        return Err(ScimFailure::new(StatusCode::CONFLICT, detail));
    }
    let wanted = Wanted {
        of: operation.of,
        id: operation.id.clone(),
        body: operation.data.to_string(),
        if_match: operation.version.clone(),
        projection: ScimProjection::default(),
    };
    match operation.method {
        BulkMethod::Post => call.create(wanted).await,
        BulkMethod::Put => call.replace(wanted).await,
        BulkMethod::Patch => call.patch(wanted).await,
        BulkMethod::Delete => call.delete(wanted).await,
    }
}

fn describe_outcome(
    call: &ScimCall<'_>,
    operation: &BulkOperation,
    outcome: &Result<ScimAnswer, ScimFailure>,
) -> Value {
    let mut described = json!({ "method": operation.method.as_str() });
    if !operation.bulk_id.is_empty() {
        described["bulkId"] = operation.bulk_id.as_str().into();
    }
    let location = match outcome {
        Ok(answer) if !answer.location.is_empty() => answer.location.clone(),
        _ if operation.id.is_empty() => String::new(),
        _ => {
            let (base, endpoint) = (call.portal.scim_base(), operation.of.endpoint());
            format!("{base}{endpoint}/{}", operation.id)
        }
    };
    if !location.is_empty() {
        described["location"] = location.into();
    }
    match outcome {
        Ok(answer) => {
            described["status"] = answer.status.as_str().into();
            if !answer.version.is_empty() {
                described["version"] = answer.version.as_str().into();
            }
        }
        Err(failure) => {
            described["status"] = failure.status.as_str().into();
            described["response"] = failure.to_body();
        }
    }
    described
}
