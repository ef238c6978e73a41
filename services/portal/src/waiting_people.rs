//! People who wait for an administrator's approval, on the page of an administrator.
//!
//! Who may approve, identity decides, which is given the administrator's session.

use axum::{
    extract::{Form, Path, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use bowline_proto::identity::v1::{
    DeleteUserRequest, ListUsersRequest, UpdateUserRequest, User,
    user_service_client::UserServiceClient,
};
use bowline_service_kit::GrpcChannel;
use prost_types::FieldMask;
use serde::Deserialize;

use crate::{
    account::ACCOUNT, failure::PageFailure, login::Portals, session::SignedIn, start::Portal,
};

#[derive(Deserialize)]
pub(crate) struct PersonForm {
    token: String,
    /// `approve` or `turn-away`.
    action: String,
}

/// Returns the people who wait; nobody, unless the person may approve them.
pub(crate) async fn list_waiting(
    portal: &Portal,
    person: &SignedIn,
) -> Result<Vec<User>, PageFailure> {
    if !person.administers() {
        return Ok(Vec::new());
    }
    let request = ListUsersRequest {
        tailnet_id: person.tailnet_id(),
        awaits_approval: true,
        ..ListUsersRequest::default()
    };
    let answer = users(portal).list_users(person.authorize(request)).await?;
    Ok(answer.into_inner().users)
}

/// Approves a person who waits, or forgets the person.
pub(crate) async fn post_person(
    State(portal): Portals,
    Path(user_id): Path<u64>,
    headers: HeaderMap,
    Form(form): Form<PersonForm>,
) -> Response {
    let answer = async {
        let person = SignedIn::require(&portal, &headers).await?;
        person.check_form_token(&form.token)?;
        // Somebody else may have decided since the page was shown.
        let mut waiting = list_waiting(&portal, &person).await?;
        waiting.retain(|user| user.id == user_id);
        let user = waiting.pop().ok_or(PageFailure::NotKnown)?;
        let mut users = users(&portal);
        match form.action.as_str() {
            "approve" => {
                let request = UpdateUserRequest {
                    user: Some(User {
                        suspended: false,
                        ..user
                    }),
                    update_mask: Some(FieldMask {
                        paths: vec!["suspended".to_owned()],
                    }),
                };
                users.update_user(person.authorize(request)).await?;
            }
            "turn-away" => {
                let request = DeleteUserRequest {
                    tailnet_id: person.tailnet_id(),
                    user_id,
                };
                users.delete_user(person.authorize(request)).await?;
            }
            _ => return Err(PageFailure::NotKnown),
        }
        Ok(Redirect::to(ACCOUNT).into_response())
    };
    answer.await.unwrap_or_else(PageFailure::into_page)
}

fn users(portal: &Portal) -> UserServiceClient<GrpcChannel> {
    UserServiceClient::new(portal.identity.clone())
}
