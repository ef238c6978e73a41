//! `bowline doctor`, in front of real servers and real proxies.

use std::{
    fs,
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bowline_test_deployments::{Deployment as _, OneProcess};
use bowline_test_servers::{mortal, report_skipped, spawn_mortal};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::Value;

use crate::bowline::{SOON, TestInstallation, command};

/// What the command has said.
struct Examined {
    code: Option<i32>,
    findings: Vec<Value>,
    error: String,
}

impl Examined {
    /// Returns the finding of a check.
    #[track_caller]
    fn of(&self, check: &str) -> &Value {
        let found = self.findings.iter().find(|one| one["check"] == check);
        found.unwrap_or_else(|| panic!("no {check}: {:?}", self.findings))
    }

    /// Checks that one check failed, alone, and what was said.
    #[track_caller]
    fn failed(&self, check: &str, part: &str) {
        let bad = self.findings.iter().filter(|one| one["level"] == "failed");
        let bad: Vec<_> = bad.map(|one| one["check"].as_str().unwrap()).collect();
        assert_eq!(bad, [check], "{:#?}", self.findings);
        let text = self.of(check)["text"].as_str().unwrap();
        assert!(text.contains(part), "{text}");
        assert_eq!(self.code, Some(1));
        assert!(self.error.contains("checks failed"), "{}", self.error);
    }

    #[track_caller]
    fn is_well(&self) {
        let not_ok = self.findings.iter().filter(|one| one["level"] != "ok");
        assert_eq!(not_ok.collect::<Vec<_>>(), Vec::<&Value>::new());
        assert_eq!((self.code, &*self.error), (Some(0), ""));
    }
}

/// Examines a URL, trusting an authority.
fn examine(url: &str, authority: &Path, more: &[&str]) -> Examined {
    let place = tempfile::tempdir().unwrap();
    let mut doctor = command(place.path()).into_std();
    doctor.args(["--output", "json", "doctor", url, "--ca"]);
    let output = doctor.arg(authority).args(more).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    Examined {
        code: output.status.code(),
        findings: serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}")),
        error,
    }
}

#[test]
fn server_that_is_well_is_found_well() {
    let place = tempfile::tempdir().unwrap();
    let server = OneProcess::start(place.path(), "https").unwrap();
    let (url, authority) = (
        format!("https://{}", server.address()),
        place.path().join("tls/ca.pem"),
    );
    let examined = examine(&url, &authority, &[]);
    examined.is_well();
    let checks: Vec<_> = examined
        .findings
        .iter()
        .map(|one| one["check"].as_str().unwrap())
        .collect();
    let expected = [
        "tcp",
        "certificate",
        "clock",
        "control-key",
        "upgrade",
        "relay-map",
        "relay-certificate",
        "relay-upgrade",
        "stun",
    ];
    assert_eq!(checks, expected);
    for check in ["tcp", "control-key", "upgrade", "relay-upgrade", "stun"] {
        assert!(examined.of(check)["milliseconds"].is_u64(), "{check}");
    }
    // Without the server's own authority nobody knows it.
    let other = write_certificate(place.path(), "other.example.com", 2096);
    examine(&url, &other, &[]).failed("certificate", "does not trust who issued");
    server.end().unwrap();
    let examined = examine(&url, &authority, &[]);
    examined.failed("tcp", "nothing listens");
}

#[test]
fn relay_whose_stun_port_is_closed_is_named() {
    let place = tempfile::tempdir().unwrap();
    let server = OneProcess::start(&place.path().join("state"), "https").unwrap();
    let authority = place.path().join("state/tls/ca.pem");
    let told = Command::new("curl")
        .args(["--silent", "--fail", "--noproxy", "*", "--cacert"])
        .arg(&authority)
        .arg(format!("https://{}/derpmap/default", server.address()))
        .output()
        .unwrap();
    let mut map: Value = serde_json::from_slice(&told.stdout).unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let region = map["Regions"].as_object_mut().unwrap().values_mut().next();
    region.unwrap()["Nodes"][0]["STUNPort"] = closed.port().into();
    let file = place.path().join("derp.json");
    fs::write(&file, map.to_string()).unwrap();
    let installation = TestInstallation::new();
    let address = free_address();
    let settings = format!(
        "drain_seconds = 1\n[gateway]\nlisten = \"{address}\"\npublic_url = \"https://{address}\"\n\
         derp_map_file = \"{}\"\n[relay]\nenabled = false\n[telemetry]\nlisten = \"127.0.0.1:0\"\n",
        file.display()
    );
    serving(&installation, &settings, || {
        let examined = examine(
            &format!("https://{address}"),
            &installation.path("tls/ca.pem"),
            &[],
        );
        examined.failed("stun", "let UDP through");
        assert_eq!(examined.of("relay-upgrade")["level"], "ok");
    });
    server.end().unwrap();
}

#[test]
fn certificate_that_has_ended_or_is_for_another_name_is_said_to_be() {
    for (name, year, part) in [
        (
            "127.0.0.1",
            2020,
            "has ended, the server's own at 2020-01-01",
        ),
        (
            "old.example.com",
            2096,
            "is for old.example.com, and not for 127.0.0.1",
        ),
    ] {
        let installation = TestInstallation::new();
        let certificate = write_certificate(installation.directory(), name, year);
        let (address, metrics) = (free_address(), free_address());
        let settings = format!(
            "drain_seconds = 1\n[gateway]\nlisten = \"{address}\"\npublic_url = \"https://{address}\"\n\
             certificate_file = \"{}\"\nkey_file = \"{}\"\n\
             [relay]\nlisten = \"127.0.0.1:0\"\nstun_listen = \"127.0.0.1:0\"\n[telemetry]\nlisten = \"{metrics}\"\n",
            certificate.display(),
            installation.path("key.pem").display(),
        );
        serving(&installation, &settings, || {
            let examined = examine(&format!("https://{address}"), &certificate, &[]);
            examined.failed("certificate", part);
            assert_eq!(examined.of("upgrade")["level"], "ok");
            check_metrics(metrics, year);
        });
    }
}

#[test]
fn proxy_that_passes_no_upgrade_on_is_told_of() {
    let place = tempfile::tempdir().unwrap();
    let server = OneProcess::start(&place.path().join("state"), "http").unwrap();
    let certificate = write_certificate(place.path(), "127.0.0.1", 2096);
    let backend = server.address();
    let passes_on = "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection upgrade;";
    let nginx = |lines: &str| {
        let front = free_address();
        let proxy = start_nginx(place.path(), front, backend, lines)?;
        let examined = examine(&format!("https://{front}"), &certificate, &[]);
        proxy.end();
        Some(examined)
    };
    let Some(examined) = nginx(passes_on) else {
        return;
    };
    examined.is_well();
    let examined = nginx("").unwrap();
    examined.failed("upgrade", "without its Upgrade header");
    // A proxy that answers by itself is not the server.
    let examined = nginx("return 200 'welcome';").unwrap();
    let bad = examined
        .findings
        .iter()
        .filter(|one| one["level"] == "failed");
    assert_eq!(bad.count(), 2, "{:?}", examined.findings);
    let text = examined.of("control-key")["text"].as_str().unwrap();
    assert!(text.contains("no Bowline"), "{text}");

    let front = free_address();
    let deleting = "http-request del-header upgrade\nhttp-request del-header connection";
    let Some(proxy) = start_haproxy(place.path(), front, backend, deleting) else {
        return;
    };
    let examined = examine(&format!("https://{front}"), &certificate, &[]);
    examined.failed("upgrade", "without its Upgrade header");
    proxy.end();
    let front = free_address();
    let proxy = start_haproxy(place.path(), front, free_address(), "").unwrap();
    let examined = examine(&format!("https://{front}"), &certificate, &[]);
    let text = examined.of("control-key")["text"].as_str().unwrap();
    assert!(
        text.contains("503") && text.contains("can not reach the server"),
        "{text}"
    );
    proxy.end();
    server.end().unwrap();
}

#[test]
fn administration_address_is_asked_with_the_token() {
    let installation = TestInstallation::new();
    let (address, admin) = (free_address(), free_address());
    let settings = format!(
        "drain_seconds = 1\n[gateway]\nlisten = \"{address}\"\npublic_url = \"https://{address}\"\n[admin]\nlisten = \"{admin}\"\n\
         [relay]\nlisten = \"127.0.0.1:0\"\nstun_listen = \"127.0.0.1:0\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n"
    );
    serving(&installation, &settings, || {
        let create = [
            "api-keys",
            "create",
            "--user",
            "owner@home",
            "--scope",
            "users:read",
        ];
        let made = command(installation.directory())
            .into_std()
            .args(create)
            .output()
            .unwrap();
        let (good, bad) = (installation.path("good"), installation.path("bad"));
        fs::write(&good, made.stdout).unwrap();
        fs::write(&bad, "bowline-api-nobody-has-this").unwrap();
        let (url, authority) = (
            format!("https://{address}"),
            installation.path("tls/ca.pem"),
        );
        let admin = admin.to_string();
        let ask = |file: &Path| {
            let file = file.to_str().unwrap();
            examine(
                &url,
                &authority,
                &["--address", &admin, "--token-file", file],
            )
        };
        let examined = ask(&good);
        examined.is_well();
        assert_eq!(examined.of("administration")["text"], "it takes the token");
        ask(&bad).failed("administration", "does not take the token");
    });
}

#[test]
fn what_is_no_url_and_a_name_that_leads_nowhere_are_told_of() {
    let place = tempfile::tempdir().unwrap();
    let certificate = write_certificate(place.path(), "vpn.example.com", 2096);
    let examined = examine("https://vpn.invalid", &certificate, &[]);
    examined.failed("dns", "leads nowhere");
    let wrong = command(place.path())
        .into_std()
        .args(["doctor", "vpn.example.com"])
        .output();
    let said = String::from_utf8(wrong.unwrap().stderr).unwrap();
    assert!(said.contains("such as https://vpn.example.com"), "{said}");
}

/// Checks that the process tells by its metrics when the clients' certificate ends, that it serves, and how old is what it
/// knows of others.
fn check_metrics(address: SocketAddr, year: i32) {
    let url = format!("http://{address}/metrics");
    let told = Command::new("curl")
        .args(["--silent", "--fail", "--noproxy", "*", &url])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("no {name}: {told}"));
        value.trim().parse::<f64>().unwrap()
    };
    let expected = date_time_ymd(year, 1, 1).unix_timestamp() as f64;
    let certificate = "bowline_certificate_expiry_timestamp_seconds{shown_to=\"clients\"}";
    assert!((value(certificate) - expected).abs() < 1.0, "{told}");
    assert!(value("bowline_process_ready") > 0.5, "{told}");
    for name in ["seconds", "revisions"] {
        let followed = "{follower=\"netmap-gateway\",owner=\"identity\"}";
        let lag = value(&format!("bowline_change_feed_lag_{name}{followed}"));
        assert!(lag < SOON.as_secs_f64(), "{told}");
    }
}

/// Serves by these settings while something is done.
fn serving(installation: &TestInstallation, settings: &str, act: impl FnOnce()) {
    fs::write(installation.path("bowline.toml"), settings).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(installation.serve());
    act();
    runtime.block_on(served.kill());
}

/// Writes `certificate.pem` and `key.pem` into a directory, for a name and until a year; returns the first.
fn write_certificate(directory: &Path, name: &str, year: i32) -> PathBuf {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    params.not_before = date_time_ymd(2019, 1, 1);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let file = directory.join("certificate.pem");
    fs::write(&file, made.pem()).unwrap();
    fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    file
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A proxy that runs.
struct Proxy(Child);

impl Proxy {
    fn end(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts a program of `/usr/sbin` that takes connections; `None`, after that was said, where it is not installed.
fn start_proxy(program: &str, arguments: &[&str], front: SocketAddr) -> Option<Proxy> {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"]
        .map(|place| Path::new(place).join(program))
        .into_iter()
        .find(|path| path.is_file());
    let Some(found) = found else {
        report_skipped(&format!("{program} is not installed")).unwrap();
        return None;
    };
    let mut proxy = mortal(&found, None);
    proxy
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let proxy = Proxy(spawn_mortal(proxy).unwrap());
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(front).is_err() {
        assert!(Instant::now() < deadline, "{program} takes no connections");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(proxy)
}

fn start_nginx(
    directory: &Path,
    front: SocketAddr,
    backend: SocketAddr,
    lines: &str,
) -> Option<Proxy> {
    let path = directory.display();
    let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {path}/{name};\n"))
        .concat();
    let settings = format!(
        "daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log {path}/proxy.log;\nevents {{}}\nhttp {{\naccess_log off;\n{scratch}\
         server {{\nlisten {front} ssl;\nssl_certificate {path}/certificate.pem;\nssl_certificate_key {path}/key.pem;\n\
         location / {{\nproxy_pass http://{backend};\nproxy_set_header Host $http_host;\n{lines}\n}}\n}}\n}}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, settings).unwrap();
    start_proxy("nginx", &["-c", file.to_str().unwrap()], front)
}

fn start_haproxy(
    directory: &Path,
    front: SocketAddr,
    backend: SocketAddr,
    lines: &str,
) -> Option<Proxy> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let both = directory.join("both.pem");
    fs::write(&both, read("certificate.pem") + &read("key.pem")).unwrap();
    let settings = format!(
        "defaults\nmode http\ntimeout connect 5s\ntimeout client 1h\ntimeout server 1h\n\
         frontend front\nbind {front} ssl crt {}\n{lines}\ndefault_backend back\nbackend back\nserver bowline {backend}\n",
        both.display()
    );
    let file = directory.join("haproxy.cfg");
    fs::write(&file, settings).unwrap();
    start_proxy(
        "haproxy",
        &["-q", "-db", "-f", file.to_str().unwrap()],
        front,
    )
}
