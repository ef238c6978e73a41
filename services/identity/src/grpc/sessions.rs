//! Sessions, for gateways and administrators.

use bowline_proto::identity::v1::{
    CloseSessionRequest, CloseSessionResponse, EndOwnSessionRequest, EndOwnSessionResponse,
    EndProviderLoginRequest, EndProviderLoginResponse, EndSessionRequest, EndSessionResponse,
    FindProgramLoginRequest, FindProgramLoginResponse, GetSessionRequest, GetSessionResponse,
    ListOwnSessionsRequest, ListOwnSessionsResponse, ListSessionsRequest, ListSessionsResponse,
    OpenProgramSessionRequest, OpenProgramSessionResponse, OpenSessionRequest, OpenSessionResponse,
    StartProgramLoginRequest, StartProgramLoginResponse, StartSessionLoginRequest,
    StartSessionLoginResponse, session_service_server::SessionService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::{fields::read_tailnet_id, sessions::BrowserSessions};

#[tonic::async_trait]
impl SessionService for BrowserSessions {
    async fn start_session_login(
        &self,
        request: Request<StartSessionLoginRequest>,
    ) -> Result<Response<StartSessionLoginResponse>, Status> {
        let request = request.into_inner();
        let description = request.description.unwrap_or_default();
        let login = Some(self.start_login(request.browser, description).await?);
        Ok(Response::new(StartSessionLoginResponse { login }))
    }

    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let opened = BrowserSessions::open_session(self, request.into_inner()).await?;
        Ok(Response::new(OpenSessionResponse {
            session: Some(opened.session),
            secret: opened.secret.to_string(),
        }))
    }

    async fn start_program_login(
        &self,
        request: Request<StartProgramLoginRequest>,
    ) -> Result<Response<StartProgramLoginResponse>, Status> {
        let started = BrowserSessions::start_program_login(self, request.into_inner());
        Ok(Response::new(started.await?))
    }

    async fn find_program_login(
        &self,
        request: Request<FindProgramLoginRequest>,
    ) -> Result<Response<FindProgramLoginResponse>, Status> {
        let user_code = request.into_inner().user_code;
        let login_id = BrowserSessions::find_program_login(self, &user_code).await?;
        Ok(Response::new(FindProgramLoginResponse { login_id }))
    }

    async fn open_program_session(
        &self,
        request: Request<OpenProgramSessionRequest>,
    ) -> Result<Response<OpenProgramSessionResponse>, Status> {
        let code = Zeroizing::new(request.into_inner().device_code);
        let opened = BrowserSessions::open_program_session(self, &code).await?;
        Ok(Response::new(opened))
    }

    async fn get_session(
        &self,
        request: Request<GetSessionRequest>,
    ) -> Result<Response<GetSessionResponse>, Status> {
        let secret = Zeroizing::new(request.into_inner().secret);
        Ok(Response::new(self.find_session(&secret).await?))
    }

    async fn close_session(
        &self,
        request: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionResponse>, Status> {
        let CloseSessionRequest {
            secret,
            callback_url,
        } = request.into_inner();
        let secret = Zeroizing::new(secret);
        let closed = BrowserSessions::close_session(self, &secret, &callback_url);
        Ok(Response::new(closed.await?))
    }

    async fn end_provider_login(
        &self,
        request: Request<EndProviderLoginRequest>,
    ) -> Result<Response<EndProviderLoginResponse>, Status> {
        BrowserSessions::end_provider_login(self, request.into_inner()).await?;
        Ok(Response::new(EndProviderLoginResponse {}))
    }

    async fn list_own_sessions(
        &self,
        request: Request<ListOwnSessionsRequest>,
    ) -> Result<Response<ListOwnSessionsResponse>, Status> {
        let secret = Zeroizing::new(request.into_inner().session_secret);
        let sessions = self.list_own(&secret).await?;
        Ok(Response::new(ListOwnSessionsResponse { sessions }))
    }

    async fn end_own_session(
        &self,
        request: Request<EndOwnSessionRequest>,
    ) -> Result<Response<EndOwnSessionResponse>, Status> {
        let EndOwnSessionRequest {
            session_secret,
            session_id,
        } = request.into_inner();
        let secret = Zeroizing::new(session_secret);
        self.end_own(&secret, session_id).await?;
        Ok(Response::new(EndOwnSessionResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let sessions = BrowserSessions::list_sessions(self, tailnet, request.user_id).await?;
        Ok(Response::new(ListSessionsResponse { sessions }))
    }

    async fn end_session(
        &self,
        request: Request<EndSessionRequest>,
    ) -> Result<Response<EndSessionResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let EndSessionRequest {
            tailnet_id,
            session_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        BrowserSessions::end_session(self, tailnet, actor, session_id).await?;
        Ok(Response::new(EndSessionResponse {}))
    }
}
