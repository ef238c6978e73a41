//! Attempts to log in by a provider, for gateways.

use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, BeginLoginAttemptResponse, DecideLoginAttemptRequest,
    DecideLoginAttemptResponse, FinishOidcLoginRequest, FinishOidcLoginResponse,
    FinishPasskeyLoginRequest, FinishPasskeyLoginResponse, FinishSamlLoginRequest,
    FinishSamlLoginResponse, GetLoginAttemptRequest, GetLoginAttemptResponse,
    GetSamlMetadataRequest, GetSamlMetadataResponse, ListLoginChoicesRequest,
    ListLoginChoicesResponse, StepUpLoginAttemptRequest, StepUpLoginAttemptResponse,
    TakeSamlResponseRequest, TakeSamlResponseResponse,
    login_attempt_service_server::LoginAttemptService,
};
use tonic::{Request, Response, Status};

use crate::login_attempts::LoginAttempts;

#[tonic::async_trait]
impl LoginAttemptService for LoginAttempts {
    async fn list_login_choices(
        &self,
        request: Request<ListLoginChoicesRequest>,
    ) -> Result<Response<ListLoginChoicesResponse>, Status> {
        Ok(Response::new(
            self.list_choices(request.into_inner()).await?,
        ))
    }

    async fn begin_login_attempt(
        &self,
        request: Request<BeginLoginAttemptRequest>,
    ) -> Result<Response<BeginLoginAttemptResponse>, Status> {
        Ok(Response::new(
            self.begin_attempt(request.into_inner()).await?,
        ))
    }

    async fn finish_oidc_login(
        &self,
        request: Request<FinishOidcLoginRequest>,
    ) -> Result<Response<FinishOidcLoginResponse>, Status> {
        let attempt = Some(self.finish_oidc(request.into_inner()).await?);
        Ok(Response::new(FinishOidcLoginResponse { attempt }))
    }

    async fn take_saml_response(
        &self,
        request: Request<TakeSamlResponseRequest>,
    ) -> Result<Response<TakeSamlResponseResponse>, Status> {
        let taken = LoginAttempts::take_saml_response(self, request.into_inner());
        Ok(Response::new(taken.await?))
    }

    async fn finish_saml_login(
        &self,
        request: Request<FinishSamlLoginRequest>,
    ) -> Result<Response<FinishSamlLoginResponse>, Status> {
        let attempt = Some(self.finish_saml(request.into_inner()).await?);
        Ok(Response::new(FinishSamlLoginResponse { attempt }))
    }

    async fn get_saml_metadata(
        &self,
        request: Request<GetSamlMetadataRequest>,
    ) -> Result<Response<GetSamlMetadataResponse>, Status> {
        let xml = self.write_saml_metadata(request.into_inner()).await?;
        Ok(Response::new(GetSamlMetadataResponse { xml }))
    }

    async fn step_up_login_attempt(
        &self,
        request: Request<StepUpLoginAttemptRequest>,
    ) -> Result<Response<StepUpLoginAttemptResponse>, Status> {
        let way = Some(self.step_up(request.into_inner()).await?);
        Ok(Response::new(StepUpLoginAttemptResponse { way }))
    }

    async fn finish_passkey_login(
        &self,
        request: Request<FinishPasskeyLoginRequest>,
    ) -> Result<Response<FinishPasskeyLoginResponse>, Status> {
        let attempt = Some(self.finish_passkey(request.into_inner()).await?);
        Ok(Response::new(FinishPasskeyLoginResponse { attempt }))
    }

    async fn get_login_attempt(
        &self,
        request: Request<GetLoginAttemptRequest>,
    ) -> Result<Response<GetLoginAttemptResponse>, Status> {
        let attempt = Some(self.find_own_attempt(request.into_inner()).await?);
        Ok(Response::new(GetLoginAttemptResponse { attempt }))
    }

    async fn decide_login_attempt(
        &self,
        request: Request<DecideLoginAttemptRequest>,
    ) -> Result<Response<DecideLoginAttemptResponse>, Status> {
        let attempt = Some(self.decide_attempt(request.into_inner()).await?);
        Ok(Response::new(DecideLoginAttemptResponse { attempt }))
    }
}
