//! Files that an operator adds to the full stack.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use bowline_interop::{ComposeStack, wait_for};

use super::MINUTE;

/// Waits until a page is served.
fn answers(stack: &ComposeStack, url: &str, authority: Option<&Path>) {
    wait_for(url, MINUTE, || {
        let answer = stack.fetch(url, authority);
        answer.map_err(|error| error.to_string())
    });
}

/// The files that are added: a certificate of the operator's, a proxy in front, an authority that is not there, and Prometheus.
pub fn add_other_files(stack: &mut ComposeStack) {
    let place = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["10.77.0.1".to_owned()]).unwrap();
    let certificate = place.path().join("certificate.pem");
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(
        place.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let directory = place.path().display().to_string();
    stack
        .add(
            &["promoted.yml", "tls-files.yml"],
            &[("BOWLINE_TLS", &directory)],
        )
        .unwrap();
    answers(stack, "https://10.77.0.1:8443/health", Some(&certificate));

    let published = [
        ("BOWLINE_PORT", "10.77.0.1:8443"),
        ("BOWLINE_PROXY", "10.77.0.0/24"),
    ];
    stack
        .add(&["promoted.yml", "tls-proxy.yml"], &published)
        .unwrap();
    answers(stack, "http://10.77.0.1:8443/health", None);

    let ordering = [
        ("BOWLINE_ADDRESS", "vpn.example.com"),
        ("BOWLINE_ACME_AGREE_TO_TERMS", "true"),
        (
            "BOWLINE_ACME_DIRECTORY_URL",
            "https://10.77.0.1:1/directory",
        ),
    ];
    stack
        .add(&["promoted.yml", "tls-acme.yml"], &ordering)
        .unwrap();
    wait_for("a gateway has asked the authority", MINUTE, || {
        let log = stack.run(&["logs", "gateway-1", "gateway-2"]);
        match log.map_err(|error| error.to_string())? {
            log if log.contains("https://10.77.0.1:1/directory can not be asked") => Ok(()),
            log => Err(log),
        }
    });

    stack
        .add(&["promoted.yml", "observability.yml"], &[])
        .unwrap();
    wait_for("Prometheus reaches every process", MINUTE, || {
        let targets = stack.fetch("http://127.0.0.1:9090/api/v1/targets", None);
        let targets = targets.map_err(|error| error.to_string())?;
        match targets.matches("\"health\":\"up\"").count() {
            6 => Ok(()),
            _ => Err(targets),
        }
    });
}
