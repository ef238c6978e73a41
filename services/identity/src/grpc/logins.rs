//! Logins in flight.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_db::Mutation;
use bowline_ids::{LoginId, TailnetId};
use bowline_proto::identity::v1::{
    ApproveLoginRequest, ApproveLoginResponse, DenyLoginRequest, DenyLoginResponse,
    GetLoginRequest, GetLoginResponse, ListLoginsRequest, ListLoginsResponse, Login, LoginState,
    StartLoginRequest, StartLoginResponse, WaitLoginRequest, WaitLoginResponse,
    login_service_server::LoginService,
};
use bowline_service_kit::Caller;
use serde_json::json;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::tailnet_id;
use crate::{Identity, domain::login, error::IdentityError, store};

/// How long one question is held.
const LONGEST_WAIT: Duration = Duration::from_secs(45);
/// How soon a decision made by another replica is noticed.
const LOOK: Duration = Duration::from_millis(500);
/// The most logins in one list.
const LONGEST_LIST: i64 = 1000;

impl Identity {
    async fn login(&self, id: &str) -> Result<Login, IdentityError> {
        let now = self.log.database().now().await?;
        let found = store::login(self.log.database().reader(), id).await?;
        found
            .map(|found| login::at(found, now))
            .ok_or(IdentityError::NotFound("login"))
    }

    /// Decides a login, and audits it in the tailnet whose administrator decides; a repeated decision is audited once.
    async fn decide(
        &self,
        (tailnet, actor): (TailnetId, String),
        id: String,
        decision: Decision,
    ) -> Result<Login, IdentityError> {
        let (decided, _) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let detail = decision.check(mutation).await?;
                    let (decided, is_new) = decide(mutation, &id, &decision).await?;
                    if is_new {
                        mutation.audit(decision.action(), id, &detail);
                    }
                    Ok::<_, IdentityError>(decided)
                })
            })
            .await?;
        self.decisions.send_modify(|count| *count += 1);
        Ok(decided)
    }
}

/// What an administrator decides about a login.
enum Decision {
    /// It becomes a node of a user.
    Approve { user_id: u64 },
    /// It is turned away.
    Deny { reason: String },
}

impl Decision {
    fn action(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "login.approve",
            Self::Deny { .. } => "login.deny",
        }
    }

    /// Checks what the decision needs beside the login; returns what the audit says of it.
    async fn check(&self, mutation: &mut Mutation) -> Result<serde_json::Value, IdentityError> {
        let tailnet = mutation.tailnet().get();
        match self {
            Self::Approve { user_id } => {
                let user = store::user(mutation.connection(), tailnet, *user_id).await?;
                let user = user.ok_or(IdentityError::NotFound("user"))?;
                if user.suspended {
                    return Err(IdentityError::Refused("the user is suspended"));
                }
                Ok(json!({ "user": user.login_name }))
            }
            Self::Deny { reason } => {
                let found = store::tailnet(mutation.connection(), tailnet).await?;
                found.ok_or(IdentityError::NotFound("tailnet"))?;
                Ok(json!({ "reason": reason }))
            }
        }
    }

    fn apply(&self, tailnet: TailnetId, login: &mut Login) -> Result<(), IdentityError> {
        match self {
            Self::Approve { user_id } => login::approve(login, tailnet.get(), *user_id),
            Self::Deny { reason } => login::deny(login, reason),
        }
    }
}

/// Decides a login once, whoever else decides about it in other transactions; says whether this decided it.
async fn decide(
    mutation: &mut Mutation,
    id: &str,
    decision: &Decision,
) -> Result<(Login, bool), IdentityError> {
    let (now, tailnet) = (mutation.now(), mutation.tailnet());
    loop {
        let found = store::login(mutation.connection(), id).await?;
        let before = login::at(found.ok_or(IdentityError::NotFound("login"))?, now);
        let mut decided = before.clone();
        decision.apply(tailnet, &mut decided)?;
        if decided == before {
            return Ok((decided, false));
        }
        if store::decide_login(mutation.connection(), &decided).await? {
            return Ok((decided, true));
        }
        // Decided by somebody else since it was read: the next look finds how.
    }
}

#[tonic::async_trait]
impl LoginService for Identity {
    async fn start_login(
        &self,
        request: Request<StartLoginRequest>,
    ) -> Result<Response<StartLoginResponse>, Status> {
        let StartLoginRequest {
            machine_key,
            node_key,
            device,
        } = request.into_inner();
        let id = LoginId::from_random(random_bytes()).to_string();
        let started = self
            .log
            .database()
            .write(|write| {
                Box::pin(async move {
                    let now = write.now();
                    let on = write.connection();
                    let waiting = store::pending_logins(
                        &mut *on,
                        Some(&machine_key),
                        now,
                        login::PER_MACHINE,
                    );
                    let waiting = waiting.await?;
                    if let Some(same) = waiting.iter().find(|login| login.node_key == node_key) {
                        return Ok(same.clone());
                    }
                    let made = login::new(id, machine_key, node_key, device, now)?;
                    let source = made.device.clone().unwrap_or_default().source_address;
                    let (of_source, all) = store::count_pending(&mut *on, &source, now).await?;
                    let waiting = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
                    if waiting >= login::PER_MACHINE
                        || of_source >= login::PER_SOURCE
                        || all >= login::IN_ALL
                    {
                        return Err(IdentityError::TooManyLogins);
                    }
                    store::put_login(on, &made).await?;
                    Ok(made)
                })
            })
            .await?;
        Ok(Response::new(StartLoginResponse {
            login: Some(started),
        }))
    }

    async fn get_login(
        &self,
        request: Request<GetLoginRequest>,
    ) -> Result<Response<GetLoginResponse>, Status> {
        let login = self.login(&request.into_inner().login_id).await?;
        Ok(Response::new(GetLoginResponse { login: Some(login) }))
    }

    async fn wait_login(
        &self,
        request: Request<WaitLoginRequest>,
    ) -> Result<Response<WaitLoginResponse>, Status> {
        let id = request.into_inner().login_id;
        let mut decisions = self.decisions.subscribe();
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            let login = self.login(&id).await?;
            if login.state() != LoginState::Pending || Instant::now() >= deadline {
                return Ok(Response::new(WaitLoginResponse { login: Some(login) }));
            }
            // Woken or not: what counts is what the next look finds.
            drop(tokio::time::timeout(LOOK, decisions.changed()).await);
        }
    }

    async fn list_logins(
        &self,
        _: Request<ListLoginsRequest>,
    ) -> Result<Response<ListLoginsResponse>, Status> {
        let database = self.log.database();
        let now = database.now().await.map_err(IdentityError::from)?;
        let logins = store::pending_logins(database.reader(), None, now, LONGEST_LIST)
            .await
            .map_err(IdentityError::from)?;
        Ok(Response::new(ListLoginsResponse { logins }))
    }

    async fn approve_login(
        &self,
        request: Request<ApproveLoginRequest>,
    ) -> Result<Response<ApproveLoginResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let ApproveLoginRequest {
            login_id,
            tailnet_id: tailnet,
            user_id,
        } = request.into_inner();
        let who = (tailnet_id(tailnet)?, actor);
        let login = self
            .decide(who, login_id, Decision::Approve { user_id })
            .await?;
        Ok(Response::new(ApproveLoginResponse { login: Some(login) }))
    }

    async fn deny_login(
        &self,
        request: Request<DenyLoginRequest>,
    ) -> Result<Response<DenyLoginResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let DenyLoginRequest {
            login_id,
            reason,
            tailnet_id: tailnet,
        } = request.into_inner();
        let who = (tailnet_id(tailnet)?, actor);
        let login = self
            .decide(who, login_id, Decision::Deny { reason })
            .await?;
        Ok(Response::new(DenyLoginResponse { login: Some(login) }))
    }
}
