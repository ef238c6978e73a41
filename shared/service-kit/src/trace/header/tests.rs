use super::*;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Returns the header of a call that is made within a request.
async fn header_of_call(id: RequestId) -> HeaderValue {
    let call = async {
        let mut request = http::Request::new(());
        assert!(!write_header(&mut request).is_recorded());
        request.headers()[TRACEPARENT].clone()
    };
    id.scope(call).await
}

#[tokio::test]
async fn id_survives_its_header_and_each_call_has_a_span_of_its_own() {
    let id = RequestId::random();
    let (first, second) = (header_of_call(id).await, header_of_call(id).await);
    assert_ne!(first, second);
    for header in [first, second] {
        let carried = CarriedTrace::parse(header.as_bytes());
        // Nothing is exported here: whoever is called records nothing under a span that nobody gets to see.
        assert_eq!(carried, Some(CarriedTrace { id, parent: None }));
    }
    assert_ne!(RequestId::random(), id);
}

#[test]
fn whatever_is_not_exactly_a_traceparent_is_no_id() {
    let good = format!("00-{ID}-00f067aa0ba902b7-01");
    let read = CarriedTrace::parse(good.as_bytes());
    assert_eq!(
        read.map(|carried| carried.id.to_string()).as_deref(),
        Some(ID)
    );
    for bad in [
        String::new(),
        "x".repeat(1 << 16),
        format!("{good}-"),
        format!("{good} "),
        format!("01-{ID}-00f067aa0ba902b7-01"),
        format!("ff-{ID}-00f067aa0ba902b7-01"),
        format!("00-{ID}-0000000000000000-01"),
        format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
        format!("00-+{}-00f067aa0ba902b7-01", &ID[1..]),
        format!("00-{ID}00f067aa0ba902b7--01"),
        format!("00-{}-00f067aa0ba902b7-01-1", &ID[2..]),
    ] {
        assert_eq!(CarriedTrace::parse(bad.as_bytes()), None, "{bad:.80}");
    }
    let mut headers = HeaderMap::new();
    for value in [&good, &good] {
        headers.append(TRACEPARENT, value.parse().expect("a value"));
    }
    assert_eq!(CarriedTrace::read(&headers), None, "which of them?");
}

#[test]
fn flags_say_whether_the_caller_records_its_span() {
    for (flags, is_recorded) in [("00", false), ("01", true), ("02", false), ("03", true)] {
        let text = format!("00-{ID}-00f067aa0ba902b7-{flags}");
        let carried = CarriedTrace::parse(text.as_bytes()).expect("a traceparent");
        assert_eq!(carried.parent.is_some(), is_recorded, "{flags}");
    }
}
