use super::*;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn id_survives_its_header_and_each_call_has_a_span_of_its_own() {
    let id = RequestId::random();
    let [first, second] = [(); 2].map(|()| id.to_traceparent().expect("a header"));
    assert_ne!(first, second);
    for header in [first, second] {
        assert_eq!(RequestId::from_traceparent(header.as_bytes()), Some(id));
    }
    assert_ne!(RequestId::random(), id);
}

#[test]
fn whatever_is_not_exactly_a_traceparent_is_no_id() {
    let good = format!("00-{ID}-00f067aa0ba902b7-01");
    let read = RequestId::from_traceparent(good.as_bytes());
    assert_eq!(read.map(|id| id.to_string()).as_deref(), Some(ID));
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
        assert_eq!(
            RequestId::from_traceparent(bad.as_bytes()),
            None,
            "{bad:.80}"
        );
    }
    let mut headers = HeaderMap::new();
    for value in [&good, &good] {
        headers.append(TRACEPARENT, value.parse().expect("a value"));
    }
    assert_eq!(read_header(&headers), None, "which of them?");
}
