use super::*;

#[test]
fn text_form_of_a_span_is_a_traceparent() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let parent = TraceParent::parse(text).expect("a recorded span");
    assert_eq!(parent.to_string(), text);
    assert_eq!(parent.trace().to_string(), text[3..35]);
    for other in [&text[..53], "", &text.replace("-01", "-00")] {
        assert_eq!(TraceParent::parse(other), None, "{other}");
    }
}

#[tokio::test]
async fn without_an_export_nothing_is_recorded() {
    let work = TracedWork::begin("register");
    let id = work.id();
    let inside = async {
        note_node(1, 2);
        note_http_status(200);
        (RequestId::current(), TraceParent::current())
    };
    assert_eq!(work.scope(inside).await, (Some(id), None));
    let given = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert!(!WorkSpan::begin_under(given, "apply change").is_recorded());
}
