//! The messages of sessions, links and passkeys.

use std::fmt;

use super::redact;
use crate::identity::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, BeginLoginAttemptRequest,
    BeginPasskeyRequest, CloseSessionRequest, CloseSessionResponse, CreateInvitationResponse,
    DeleteOwnPasskeyRequest, EndProviderLoginRequest, FinishPasskeyRequest, GetInvitationRequest,
    GetSessionRequest, ListLoginChoicesRequest, ListOwnPasskeysRequest, OpenSessionResponse,
};

/// Writes `Debug` of messages: `Message { fields that are shown; fields that are secret }`.
macro_rules! redact_secrets {
    ($($message:ident { $($shown:ident),*; $($secret:ident),* })*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($message))
                    $(.field(stringify!($shown), &self.$shown))*
                    $(.field(stringify!($secret), &redact(&self.$secret)))*
                    .finish()
            }
        }
    )*};
}

redact_secrets! {
    AcceptInvitationRequest { description; secret }
    AcceptInvitationResponse { session; secret }
    BeginLoginAttemptRequest { login_id, connection_id, callback_url, origin; session_secret }
    BeginPasskeyRequest { origin; session_secret }
    CloseSessionRequest { callback_url; secret }
    CloseSessionResponse { ; provider_url }
    CreateInvitationResponse { invitation; secret, url }
    DeleteOwnPasskeyRequest { passkey_id; session_secret }
    EndProviderLoginRequest { connection_id; logout_token }
    FinishPasskeyRequest { origin, name; session_secret, response }
    GetInvitationRequest { ; secret }
    GetSessionRequest { ; secret }
    ListLoginChoicesRequest { login_id, organisation; session_secret }
    ListOwnPasskeysRequest { ; session_secret }
    OpenSessionResponse { session; secret }
}
