//! Logins in flight.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_db::{Mutation, WriteTransaction};
use bowline_ids::{LoginId, TailnetId};
use bowline_proto::identity::v1::{
    ApproveLoginRequest, ApproveLoginResponse, DenyLoginRequest, DenyLoginResponse,
    GetLoginRequest, GetLoginResponse, ListLoginsRequest, ListLoginsResponse, Login, LoginState,
    StartLoginRequest, StartLoginResponse, WaitLoginRequest, WaitLoginResponse,
    login_service_server::LoginService,
};
use bowline_service_kit::Caller;
use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::tailnet_id;
use crate::{
    Identity,
    domain::login::{
        self,
        room::{self, Networks},
    },
    error::IdentityError,
    store,
};

/// How long one question is held.
const LONGEST_WAIT: Duration = Duration::from_secs(45);
/// The most logins in one list.
const LONGEST_LIST: i64 = 1000;

impl Identity {
    async fn now(&self) -> Result<DateTime<Utc>, IdentityError> {
        Ok(self.log.database().now().await?)
    }

    async fn login(&self, id: &str) -> Result<Login, IdentityError> {
        let now = self.now().await?;
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
                    let mut detail = decision.check(mutation).await?;
                    let (decided, is_new) = decide(mutation, &id, &decision).await?;
                    if is_new {
                        detail["device"] = login::audited(&decided);
                        mutation.record_audit(decision.action(), id, &detail);
                    }
                    Ok::<_, IdentityError>(decided)
                })
            })
            .await?;
        self.waiters.tell(&decided);
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

/// Begins a login, unless the device has one that is pending or there is no room.
async fn start(write: &mut WriteTransaction, made: Login) -> Result<Login, IdentityError> {
    let now = write.now();
    let on = write.connection();
    store::lock_logins(on).await?;
    let key = Some(&*made.machine_key);
    let same = store::pending_logins(&mut *on, key, now, room::PER_MACHINE).await?;
    if let Some(same) = same.iter().find(|login| login.node_key == made.node_key) {
        return Ok(same.clone());
    }
    let source = made.device.clone().unwrap_or_default().source_address;
    room::check(room::Waiting {
        machine: i64::try_from(same.len()).unwrap_or(i64::MAX),
        networks: store::count_pending_of(on, &Networks::of(&source), now).await?,
    })?;
    if store::count_pending(on, now).await? >= room::IN_ALL {
        let [of_nobody, of_anybody] = room::MayGo::in_turn(now);
        let mut gone = store::make_room(on, now, &of_nobody).await?;
        if gone == 0 {
            gone = store::make_room(on, now, &of_anybody).await?;
        }
        metrics::counter!("bowline_identity_logins_let_go_total").increment(gone);
        tracing::warn!(
            gone,
            "too many logins wait: some of the networks that have most are let go"
        );
    }
    store::put_login(on, &made).await?;
    Ok(made)
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
        let now = self.now().await?;
        let reader = self.log.database().reader();
        let same = store::pending_logins(reader, Some(&machine_key), now, room::PER_MACHINE)
            .await
            .map_err(IdentityError::from)?;
        if let Some(same) = same.into_iter().find(|login| login.node_key == node_key) {
            return Ok(Response::new(StartLoginResponse { login: Some(same) }));
        }
        let source = device.clone().unwrap_or_default().source_address;
        self.pace.take(&source, Instant::now().into_std())?;
        let id = LoginId::from_random(random_bytes()).to_string();
        let made = login::new(id, machine_key, node_key, device, now)?;
        let started = self
            .log
            .database()
            .write(|write| Box::pin(async move { start(write, made).await }))
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
        let deadline = Instant::now() + LONGEST_WAIT;
        // First a place, then a look: what is decided in between wakes.
        let mut wait = self.waiters.join(&id)?;
        let now = self.now().await?;
        let login = self.login(&id).await?;
        let ends = login
            .expires_at
            .map_or(0, |end| end.seconds - now.timestamp());
        let left = Duration::from_secs(u64::try_from(ends).unwrap_or(0));
        let login = if login.state() == LoginState::Pending {
            let end = deadline.min(Instant::now() + left);
            match wait.decided_until(end).await {
                Some(decided) => decided,
                None => self.login(&id).await?,
            }
        } else {
            login
        };
        Ok(Response::new(WaitLoginResponse { login: Some(login) }))
    }

    async fn list_logins(
        &self,
        _: Request<ListLoginsRequest>,
    ) -> Result<Response<ListLoginsResponse>, Status> {
        let (now, reader) = (self.now().await?, self.log.database().reader());
        let logins = store::pending_logins(reader, None, now, LONGEST_LIST)
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
