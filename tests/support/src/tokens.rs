//! People and programs that call by tokens.

use bowline_proto::identity::v1::{
    CreateApiKeyRequest, CreateOAuthClientRequest, CreateUserRequest, IssueAccessTokenRequest,
    OAuthClient, Role, User, api_key_service_client::ApiKeyServiceClient,
    o_auth_client_service_client::OAuthClientServiceClient,
    token_service_client::TokenServiceClient, user_service_client::UserServiceClient,
};
use bowline_service_kit::GrpcChannel;
use tonic::{Request, Status, metadata::MetadataValue, service::interceptor::InterceptedService};

use crate::TestServices;

/// A channel on which a gateway passes on a token.
pub type TokenChannel = InterceptedService<GrpcChannel, TokenInterceptor>;

/// Puts a token into each call.
#[derive(Clone, Debug)]
pub struct TokenInterceptor(String);

impl tonic::service::Interceptor for TokenInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = format!("Bearer {}", self.0);
        let value = MetadataValue::try_from(value).unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

impl TestServices {
    /// Makes a user with a role.
    pub async fn new_user(&self, tailnet_id: u64, login_name: &str, role: Role) -> User {
        let request = CreateUserRequest {
            tailnet_id,
            login_name: login_name.to_owned(),
            role: role.into(),
            ..CreateUserRequest::default()
        };
        let mut users = UserServiceClient::new(self.admin());
        let made = users.create_user(request).await.unwrap();
        made.into_inner().user.unwrap()
    }

    /// Makes an API key, and returns its id and text.
    pub async fn new_api_key(&self, user: &User, scopes: &[&str]) -> (String, String) {
        let request = CreateApiKeyRequest {
            tailnet_id: user.tailnet_id,
            user_id: user.id,
            scopes: scopes.iter().map(ToString::to_string).collect(),
            ..CreateApiKeyRequest::default()
        };
        let mut keys = ApiKeyServiceClient::new(self.admin());
        let made = keys.create_api_key(request).await.unwrap().into_inner();
        (made.key.unwrap().id, made.secret)
    }

    /// Makes an OAuth client, and returns it with its secret.
    pub async fn new_client(&self, scopes: &[&str], tags: &[&str]) -> (OAuthClient, String) {
        let request = CreateOAuthClientRequest {
            tailnet_id: self.tailnet,
            scopes: scopes.iter().map(ToString::to_string).collect(),
            tags: tags.iter().map(ToString::to_string).collect(),
            ..CreateOAuthClientRequest::default()
        };
        let mut clients = OAuthClientServiceClient::new(self.admin());
        let made = clients.create_o_auth_client(request).await.unwrap();
        let made = made.into_inner();
        (made.client.unwrap(), made.secret)
    }

    /// Gets an access token with the secret of an OAuth client.
    pub async fn new_access_token(&self, client_secret: &str) -> Result<String, Status> {
        let request = IssueAccessTokenRequest {
            client_secret: client_secret.to_owned(),
            ..IssueAccessTokenRequest::default()
        };
        let mut tokens = TokenServiceClient::new(self.gateway());
        let issued = tokens.issue_access_token(request).await?;
        Ok(issued.into_inner().access_token)
    }

    /// Returns a channel on which a gateway passes on a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> TokenChannel {
        InterceptedService::new(self.gateway(), TokenInterceptor(token.to_owned()))
    }
}
