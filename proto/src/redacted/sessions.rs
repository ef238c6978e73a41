//! The messages of sessions, links, passkeys and webhooks.

use std::fmt;

use super::{redact, redact_secrets};
use crate::identity::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, BeginLoginAttemptRequest,
    BeginPasskeyRequest, CloseSessionRequest, CloseSessionResponse, CreateInvitationResponse,
    CreateWebhookResponse, DeleteOwnPasskeyRequest, EndOwnSessionRequest, EndProviderLoginRequest,
    FinishPasskeyRequest, GetInvitationRequest, GetSessionRequest, ListLoginChoicesRequest,
    ListOwnPasskeysRequest, ListOwnSessionsRequest, OpenProgramSessionRequest,
    OpenProgramSessionResponse, OpenSessionResponse, RotateWebhookSecretResponse,
    StartProgramLoginResponse,
};

redact_secrets! {
    AcceptInvitationRequest { description; secret }
    AcceptInvitationResponse { session; secret }
    BeginLoginAttemptRequest { login_id, connection_id, callback_url, origin; session_secret }
    BeginPasskeyRequest { origin; session_secret }
    CloseSessionRequest { callback_url; secret }
    CloseSessionResponse { ; provider_url }
    CreateInvitationResponse { invitation; secret, url }
    CreateWebhookResponse { webhook; secret }
    DeleteOwnPasskeyRequest { passkey_id; session_secret }
    EndOwnSessionRequest { session_id; session_secret }
    EndProviderLoginRequest { connection_id; logout_token }
    FinishPasskeyRequest { origin, name; session_secret, response }
    GetInvitationRequest { ; secret }
    GetSessionRequest { ; secret }
    ListLoginChoicesRequest { login_id, organisation; session_secret }
    ListOwnPasskeysRequest { ; session_secret }
    ListOwnSessionsRequest { ; session_secret }
    OpenProgramSessionRequest { ; device_code }
    OpenProgramSessionResponse { state, session; secret }
    OpenSessionResponse { session; secret }
    RotateWebhookSecretResponse { webhook; secret }
    StartProgramLoginResponse { login; device_code }
}
