//! Logins in flight.

use std::time::Duration;

use bowline_clock::random_bytes;
use bowline_ids::LoginId;
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

    /// Changes a login by `decide` and audits it where it belongs.
    async fn decide(
        &self,
        id: String,
        decide: impl FnOnce(&mut Login) -> Result<(), IdentityError> + Send + 'static,
    ) -> Result<Login, IdentityError> {
        let decided = self
            .log
            .database()
            .write(|write| {
                Box::pin(async move {
                    let found = store::login(write.connection(), &id).await?;
                    let mut decided =
                        login::at(found.ok_or(IdentityError::NotFound("login"))?, write.now());
                    decide(&mut decided)?;
                    store::put_login(write.connection(), &decided).await?;
                    Ok::<_, IdentityError>(decided)
                })
            })
            .await?;
        self.decisions.send_modify(|count| *count += 1);
        Ok(decided)
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
        let tailnet = tailnet_id(tailnet)?;
        let user = store::user(self.log.database().reader(), tailnet.get(), user_id)
            .await
            .map_err(IdentityError::from)?
            .ok_or(IdentityError::NotFound("user"))?;
        if user.suspended {
            return Err(IdentityError::Refused("the user is suspended").into());
        }
        let login = self
            .decide(login_id.clone(), move |login| {
                login::approve(login, tailnet.get(), user_id)
            })
            .await?;
        let detail = json!({ "user": user.login_name });
        self.log
            .mutate(tailnet, actor, move |mutation| {
                mutation.audit("login.approve", login_id, &detail);
                Box::pin(async { Ok::<_, IdentityError>(()) })
            })
            .await?;
        Ok(Response::new(ApproveLoginResponse { login: Some(login) }))
    }

    async fn deny_login(
        &self,
        request: Request<DenyLoginRequest>,
    ) -> Result<Response<DenyLoginResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let DenyLoginRequest { login_id, reason } = request.into_inner();
        let login = self
            .decide(login_id, |login| login::deny(login, reason))
            .await?;
        tracing::info!(login = login.id, actor, "login denied");
        Ok(Response::new(DenyLoginResponse { login: Some(login) }))
    }
}
