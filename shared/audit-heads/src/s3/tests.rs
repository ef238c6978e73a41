use super::*;

#[test]
fn an_object_has_a_signed_checksum() {
    let store = S3Store {
        endpoint: Uri::from_static("https://store.example.com"),
        region: "us-east-1".to_owned(),
        bucket: "heads".to_owned(),
        prefix: String::new(),
        access_key_id: "id".to_owned(),
        secret_access_key: Secret::new("secret".to_owned()),
    };
    let body = Bytes::from_static(b"a line\n");
    let request = store.put_request("a", body, DateTime::UNIX_EPOCH).unwrap();
    // printf 'a line\n' | openssl dgst -sha256 -binary | base64
    let checksum = "eG4YSSfsndrDB5wkmZrEYbfLiYiPae/AU4SPLW3ufdY=";
    assert_eq!(request.headers()["x-amz-checksum-sha256"], checksum);
    let authorization = request.headers()[header::AUTHORIZATION].to_str().unwrap();
    assert!(
        authorization.contains("host;x-amz-checksum-sha256;"),
        "{authorization}"
    );
}
