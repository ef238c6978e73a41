//! The messages of SCIM, each of which has the provider's token.

use std::fmt;

use super::{redact, redact_secrets};
use crate::identity::v1::{
    CreateScimResourceRequest, CreateScimTokenResponse, DeleteScimResourceRequest,
    GetScimResourceRequest, ListScimResourcesRequest, PatchScimResourceRequest,
    ReplaceScimResourceRequest,
};

redact_secrets! {
    CreateScimResourceRequest { r#type; token, body }
    CreateScimTokenResponse { token; secret }
    DeleteScimResourceRequest { r#type, id, if_match; token }
    GetScimResourceRequest { r#type, id; token }
    ListScimResourcesRequest { r#type, filter, sort_by, start_index, count; token }
    PatchScimResourceRequest { r#type, id, if_match; token, body }
    ReplaceScimResourceRequest { r#type, id, if_match; token, body }
}
