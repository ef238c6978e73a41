use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Option<CollectorAddress>, ExportError> {
    CollectorAddress::read(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn export_is_switched_on_by_an_address_alone() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    for off in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
        &[("OTEL_TRACES_SAMPLER", "always_on")],
        &[endpoint, ("OTEL_SDK_DISABLED", "true")],
    ] {
        assert_eq!(read(off).unwrap(), None, "{off:?}");
    }
    let plain = read(&[endpoint]).unwrap().expect("an address");
    assert_eq!((&*plain.endpoint, plain.authority), (endpoint.1, None));
    let of_traces = read(&[
        endpoint,
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4317"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/tls/ca.pem"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ]);
    let of_traces = of_traces.unwrap().expect("an address");
    assert_eq!(of_traces.endpoint, "https://traces:4317");
    assert_eq!(
        of_traces.authority.as_deref(),
        Some(Path::new("/tls/ca.pem"))
    );
}

#[tokio::test]
async fn what_can_not_be_spoken_is_refused_with_words() {
    let refusal = |variables: &[(&str, &str)]| read(variables).unwrap_err().to_string();
    for endpoint in ["collector:4317", "http://me:secret@collector:4317"] {
        let text = refusal(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        assert!(text.contains("http://HOST:4317"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let text = refusal(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]);
    assert!(text.contains("grpc"), "{text}");
    let nowhere = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
    ]);
    let refused = nowhere.unwrap().expect("an address").channel();
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("/nowhere/ca.pem"), "{text}");
}
