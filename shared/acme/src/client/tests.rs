use bowline_clock::ManualClock;

use super::*;

fn told(status: u16, retry_after: &str) -> Option<Duration> {
    bowline_service_kit::install_crypto_provider();
    let start = DateTime::parse_from_rfc3339("2026-11-27T12:00:00Z").unwrap();
    let clock = Arc::new(ManualClock::new(start.to_utc()));
    let client = AuthorityClient::new(None, clock).unwrap();
    let answer = Response::builder()
        .status(status)
        .header(RETRY_AFTER, retry_after)
        .body(Bytes::new());
    client.note_refusal(&answer.unwrap());
    client.retry_after()
}

#[test]
fn authority_that_refuses_says_when_to_come_again() {
    let hour = Duration::from_secs(3600);
    assert_eq!(told(429, "3600"), Some(hour));
    assert_eq!(told(503, "Fri, 27 Nov 2026 13:00:00 GMT"), Some(hour));
    // Of an order that is under way: it is to be asked again, and refuses nothing.
    assert_eq!(told(200, "3600"), None);
    assert_eq!(told(429, "soon"), None);
    assert_eq!(told(429, "Fri, 27 Nov 2026 11:00:00 GMT"), None);
}
