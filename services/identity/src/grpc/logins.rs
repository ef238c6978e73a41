//! Logins in flight, for gateways and administrators.

use bowline_proto::identity::v1::{
    ApproveLoginRequest, ApproveLoginResponse, CheckSshRequest, CheckSshResponse, DenyLoginRequest,
    DenyLoginResponse, GetLoginRequest, GetLoginResponse, ListLoginsRequest, ListLoginsResponse,
    StartLoginRequest, StartLoginResponse, WaitLoginRequest, WaitLoginResponse,
    login_service_server::LoginService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    fields::{read_tailnet_id, require_field},
    logins::{LoginDecision, Logins},
};

#[tonic::async_trait]
impl LoginService for Logins {
    async fn start_login(
        &self,
        request: Request<StartLoginRequest>,
    ) -> Result<Response<StartLoginResponse>, Status> {
        let StartLoginRequest {
            machine_key,
            node_key,
            device,
        } = request.into_inner();
        let device = require_field("device", device)?;
        let login = Logins::start_login(self, machine_key, node_key, device).await?;
        Ok(Response::new(StartLoginResponse { login: Some(login) }))
    }

    async fn check_ssh(
        &self,
        request: Request<CheckSshRequest>,
    ) -> Result<Response<CheckSshResponse>, Status> {
        let login = Logins::check_ssh(self, request.into_inner()).await?;
        Ok(Response::new(CheckSshResponse { login }))
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
        let login = self.await_decision(&request.into_inner().login_id).await?;
        Ok(Response::new(WaitLoginResponse { login: Some(login) }))
    }

    async fn list_logins(
        &self,
        request: Request<ListLoginsRequest>,
    ) -> Result<Response<ListLoginsResponse>, Status> {
        let ListLoginsRequest {
            tailnet_id,
            login_id,
        } = request.into_inner();
        let logins = match (tailnet_id, login_id.as_str()) {
            (0, _) => self.list_pending().await?,
            (id, "") => self.list_pending_of(read_tailnet_id(id)?).await?,
            (id, login) => {
                let found = self.find_pending_of(read_tailnet_id(id)?, login).await?;
                found.into_iter().collect()
            }
        };
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
        let answer = |login| ApproveLoginResponse { login: Some(login) };
        let decision = LoginDecision::Approve { user_id };
        let decided = self
            .decide_login(tailnet, actor, login_id, decision, answer)
            .await?;
        if let Some(login) = &decided.login {
            self.announce_decision(login);
        }
        Ok(Response::new(decided))
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
        let answer = |login| DenyLoginResponse { login: Some(login) };
        let decision = LoginDecision::Deny { reason };
        let decided = self
            .decide_login(tailnet, actor, login_id, decision, answer)
            .await?;
        if let Some(login) = &decided.login {
            self.announce_decision(login);
        }
        Ok(Response::new(decided))
    }
}
