//! Puts objects into a store that speaks S3, signed by version 4 of AWS' signatures.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_service_kit::config::Secret;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use http::{Request, Uri, header};
use sha2::{Digest as _, Sha256};

/// A bucket, and how it is reached.
#[derive(Debug)]
pub(crate) struct S3Store {
    /// Scheme and host, without a path.
    pub(crate) endpoint: Uri,
    pub(crate) region: String,
    pub(crate) bucket: String,
    /// What the names of objects begin with.
    pub(crate) prefix: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Secret,
}

impl S3Store {
    /// Returns the request that puts an object. Names have letters, digits and `/-_.~` only, so that nothing is escaped.
    pub(crate) fn put_request(
        &self,
        name: &str,
        body: Bytes,
        now: DateTime<Utc>,
    ) -> Result<Request<Bytes>, http::Error> {
        let path = format!("/{}/{}{name}", self.bucket, self.prefix);
        let host = self.host();
        let time = now.format("%Y%m%dT%H%M%SZ").to_string();
        let digest = Sha256::digest(&body);
        // A bucket whose objects are locked takes none without a checksum of this form.
        let (hash, checksum) = (hex::encode(digest), STANDARD.encode(digest));
        let signed = "host;x-amz-checksum-sha256;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "PUT\n{path}\n\nhost:{host}\nx-amz-checksum-sha256:{checksum}\nx-amz-content-sha256:{hash}\nx-amz-date:{time}\n\n{signed}\n{hash}"
        );
        let (day, region) = (time.split_at(8).0, &self.region);
        let scope = format!("{day}/{region}/s3/aws4_request");
        let canonical = hex::encode(Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let signature = hex::encode(hmac(&self.signing_key(day), text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.access_key_id
        );
        let scheme = self.endpoint.scheme_str().unwrap_or("https");
        Request::put(format!("{scheme}://{host}{path}"))
            .header("x-amz-checksum-sha256", checksum)
            .header("x-amz-content-sha256", hash)
            .header("x-amz-date", time)
            .header(header::AUTHORIZATION, authorization)
            .body(body)
    }

    /// Returns the header `host` as the client sends it: without a port that is the usual one.
    fn host(&self) -> String {
        let host = self.endpoint.host().unwrap_or_default();
        match (self.endpoint.scheme_str(), self.endpoint.port_u16()) {
            (_, None) | (Some("https"), Some(443)) | (Some("http"), Some(80)) => host.to_owned(),
            (_, Some(port)) => format!("{host}:{port}"),
        }
    }

    fn signing_key(&self, day: &str) -> Vec<u8> {
        let secret = format!("AWS4{}", self.secret_access_key.expose());
        [day, &self.region, "s3", "aws4_request"]
            .into_iter()
            .fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key may have any length.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mac| mac.chain_update(text).finalize().into_bytes().to_vec(),
    )
}

#[cfg(test)]
mod tests;
