//! Lets the library ask through our client.

use bowline_http_client::{HttpClient, HttpError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

/// Our client in the library's terms.
#[derive(Clone)]
pub(crate) struct ProviderHttp(pub(crate) HttpClient);

impl<'c> AsyncHttpClient<'c> for ProviderHttp {
    type Error = HttpError;
    type Future = BoxFuture<'c, Result<HttpResponse, HttpError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.0.send(request.map(Bytes::from)).await?;
            // The library looks at the body alone, and a provider that fails may say anything there.
            if answer.status().is_server_error() {
                return Err(HttpError::Failed(answer.status().as_u16()));
            }
            Ok(answer.map(|body| body.to_vec()))
        })
    }
}
