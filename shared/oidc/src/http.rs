//! Lets the library ask through our client.

use bowline_http_client::{HttpClient, HttpError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse, http::StatusCode};

/// Our client in the library's terms.
#[derive(Clone)]
pub(crate) struct ProviderHttp(pub(crate) HttpClient);

impl<'c> AsyncHttpClient<'c> for ProviderHttp {
    type Error = HttpError;
    type Future = BoxFuture<'c, Result<HttpResponse, HttpError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.0.send(request.map(Bytes::from)).await?;
            let status = answer.status();
            // The library looks at the body alone, and a provider that fails, or is asked too often, may say anything there.
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(HttpError::Failed(status.as_u16()));
            }
            Ok(answer.map(|body| body.to_vec()))
        })
    }
}
