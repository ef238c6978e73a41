use std::sync::{Arc, Mutex};

use super::*;

/// Returns the line that an event within a call becomes.
fn line(format: LogFormat, is_terminal: bool) -> String {
    let written = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&written);
    let logs = build_log_layer(format, is_terminal, move || Shared(Arc::clone(&writer)));
    let subscriber = tracing_subscriber::registry().with(logs);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("rpc", request_id = "4bf92f3577b34da6");
        span.in_scope(|| tracing::warn!(node = 7, "it is away"));
    });
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_are_plain_for_people_and_json_for_programs_unless_said_otherwise() {
    for (format, is_terminal, is_plain) in [
        (LogFormat::Auto, true, true),
        (LogFormat::Auto, false, false),
        (LogFormat::Plain, false, true),
        (LogFormat::Plain, true, true),
        (LogFormat::Json, true, false),
    ] {
        let line = line(format, is_terminal);
        assert_eq!(!line.starts_with('{'), is_plain, "{format:?}: {line}");
        assert_eq!(line.contains('\u{1b}'), is_plain && is_terminal, "{line:?}");
        assert!(
            line.contains("WARN") && line.contains("it is away"),
            "{line}"
        );
        assert!(line.contains("4bf92f3577b34da6"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}

#[test]
fn every_format_has_a_name() {
    #[derive(serde::Deserialize)]
    struct Named {
        format: LogFormat,
    }
    for (name, format) in [
        ("auto", LogFormat::Auto),
        ("plain", LogFormat::Plain),
        ("pretty", LogFormat::Plain),
        ("json", LogFormat::Json),
    ] {
        let named: Named = toml::from_str(&format!("format = \"{name}\"")).unwrap();
        assert_eq!(named.format, format);
    }
}
