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

use super::read_tailnet_id;
use crate::{
    Identity,
    domain::login::{
        self,
        limits::{self, SourceNetworks},
    },
    error::IdentityError,
    store,
};

/// How long one question is held.
const LONGEST_WAIT: Duration = Duration::from_secs(45);
/// The most logins in one list.
const LONGEST_LIST: i64 = 1000;

impl Identity {
    async fn read_time(&self) -> Result<DateTime<Utc>, IdentityError> {
        Ok(self.log.database().now().await?)
    }

    async fn find_login(&self, id: &str) -> Result<Login, IdentityError> {
        let now = self.read_time().await?;
        let found = store::find_login(self.log.database().reader(), id).await?;
        found
            .map(|found| login::with_state_at(found, now))
            .ok_or(IdentityError::NotFound("login"))
    }

    /// Decides a login, and audits it in the tailnet whose administrator decides; a repeated decision is audited once.
    async fn decide_login(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: String,
        decision: LoginDecision,
    ) -> Result<Login, IdentityError> {
        let (decided, _) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let mut detail = decision.check_decision(mutation).await?;
                    let (decided, is_new) = decide_once(mutation, &id, &decision).await?;
                    if is_new {
                        detail["device"] = login::describe_login(&decided);
                        mutation.record_audit(decision.audit_action(), id, &detail);
                    }
                    Ok::<_, IdentityError>(decided)
                })
            })
            .await?;
        self.waiters.announce_decision(&decided);
        Ok(decided)
    }
}

/// What an administrator decides about a login.
enum LoginDecision {
    /// It becomes a node of a user.
    Approve { user_id: u64 },
    /// It is turned away.
    Deny { reason: String },
}

impl LoginDecision {
    fn audit_action(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "login.approve",
            Self::Deny { .. } => "login.deny",
        }
    }

    /// Checks what the decision needs beside the login; returns what the audit says of it.
    async fn check_decision(
        &self,
        mutation: &mut Mutation,
    ) -> Result<serde_json::Value, IdentityError> {
        let tailnet = mutation.tailnet().get();
        match self {
            Self::Approve { user_id } => {
                let user = store::find_user(mutation.connection(), tailnet, *user_id).await?;
                let user = user.ok_or(IdentityError::NotFound("user"))?;
                if user.suspended {
                    return Err(IdentityError::Refused("the user is suspended"));
                }
                Ok(json!({ "user": user.login_name }))
            }
            Self::Deny { reason } => {
                let found = store::find_tailnet(mutation.connection(), tailnet).await?;
                found.ok_or(IdentityError::NotFound("tailnet"))?;
                Ok(json!({ "reason": reason }))
            }
        }
    }

    fn apply_decision(&self, tailnet: TailnetId, login: &mut Login) -> Result<(), IdentityError> {
        match self {
            Self::Approve { user_id } => login::approve_login(login, tailnet.get(), *user_id),
            Self::Deny { reason } => login::deny_login(login, reason),
        }
    }
}

/// Decides a login once, whoever else decides about it in other transactions; says whether this decided it.
async fn decide_once(
    mutation: &mut Mutation,
    id: &str,
    decision: &LoginDecision,
) -> Result<(Login, bool), IdentityError> {
    let (now, tailnet) = (mutation.now(), mutation.tailnet());
    loop {
        let found = store::find_login(mutation.connection(), id).await?;
        let before = login::with_state_at(found.ok_or(IdentityError::NotFound("login"))?, now);
        let mut decided = before.clone();
        decision.apply_decision(tailnet, &mut decided)?;
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
async fn insert_login(write: &mut WriteTransaction, made: Login) -> Result<Login, IdentityError> {
    let now = write.now();
    let on = write.connection();
    store::lock_logins(on).await?;
    let key = Some(&*made.machine_key);
    let same = store::list_pending_logins(&mut *on, key, now, limits::PER_MACHINE).await?;
    if let Some(same) = same.iter().find(|login| login.node_key == made.node_key) {
        return Ok(same.clone());
    }
    let source = made.device.clone().unwrap_or_default().source_address;
    limits::check_counts(limits::PendingCounts {
        machine: i64::try_from(same.len()).unwrap_or(i64::MAX),
        networks: store::count_pending_of(on, &SourceNetworks::from_address(&source), now).await?,
    })?;
    if store::count_pending(on, now).await? >= limits::IN_ALL {
        let [of_nobody, of_anybody] = limits::EvictionRule::in_turn(now);
        let mut gone = store::evict_logins(on, now, &of_nobody).await?;
        if gone == 0 {
            gone = store::evict_logins(on, now, &of_anybody).await?;
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
        let now = self.read_time().await?;
        let reader = self.log.database().reader();
        let same = store::list_pending_logins(reader, Some(&machine_key), now, limits::PER_MACHINE)
            .await
            .map_err(IdentityError::from)?;
        if let Some(same) = same.into_iter().find(|login| login.node_key == node_key) {
            return Ok(Response::new(StartLoginResponse { login: Some(same) }));
        }
        let source = device.clone().unwrap_or_default().source_address;
        self.pace.take_turn(&source, Instant::now().into_std())?;
        let id = LoginId::from_random(random_bytes()).to_string();
        let made = login::new(id, machine_key, node_key, device, now)?;
        let started = self
            .log
            .database()
            .write(|write| Box::pin(async move { insert_login(write, made).await }))
            .await?;
        Ok(Response::new(StartLoginResponse {
            login: Some(started),
        }))
    }

    async fn get_login(
        &self,
        request: Request<GetLoginRequest>,
    ) -> Result<Response<GetLoginResponse>, Status> {
        let login = self.find_login(&request.into_inner().login_id).await?;
        Ok(Response::new(GetLoginResponse { login: Some(login) }))
    }

    async fn wait_login(
        &self,
        request: Request<WaitLoginRequest>,
    ) -> Result<Response<WaitLoginResponse>, Status> {
        let id = request.into_inner().login_id;
        let deadline = Instant::now() + LONGEST_WAIT;
        // First a place, then a look: what is decided in between wakes.
        let mut wait = self.waiters.begin_wait(&id)?;
        let now = self.read_time().await?;
        let login = self.find_login(&id).await?;
        let ends = login
            .expires_at
            .map_or(0, |end| end.seconds - now.timestamp());
        let left = Duration::from_secs(u64::try_from(ends).unwrap_or(0));
        let login = if login.state() == LoginState::Pending {
            let end = deadline.min(Instant::now() + left);
            match wait.decided_until(end).await {
                Some(decided) => decided,
                None => self.find_login(&id).await?,
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
        let (now, reader) = (self.read_time().await?, self.log.database().reader());
        let logins = store::list_pending_logins(reader, None, now, LONGEST_LIST)
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
        let tailnet = read_tailnet_id(tailnet)?;
        let login = self
            .decide_login(tailnet, actor, login_id, LoginDecision::Approve { user_id })
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
        let tailnet = read_tailnet_id(tailnet)?;
        let login = self
            .decide_login(tailnet, actor, login_id, LoginDecision::Deny { reason })
            .await?;
        Ok(Response::new(DenyLoginResponse { login: Some(login) }))
    }
}
