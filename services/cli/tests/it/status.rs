//! What `bowline status` shows of a deployment.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bowline_service_kit::SCHEMA_LEVEL;
use bowline_test_deployments::{Deployment, Launch, OneProcess, Separate};
use bowline_test_servers::PostgresServer;
use serde_json::Value;

use crate::bowline::SOON;

/// Asks until the status is as it is to be.
fn wait_for_status(server: &impl Deployment, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let status = server.bowline(&["status"]).unwrap();
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn services(status: &Value) -> Vec<&str> {
    let processes = status["processes"].as_array().unwrap().iter();
    processes
        .map(|process| process["service"].as_str().unwrap())
        .collect()
}

/// Checks what is the same of one process and of several.
fn check_everyone(status: &Value) {
    for process in status["processes"].as_array().unwrap() {
        assert_eq!(process["release"], env!("CARGO_PKG_VERSION"), "{process}");
        assert_eq!(process["schema_level"], SCHEMA_LEVEL, "{process}");
    }
    let databases = status["databases"].as_array().unwrap();
    let names = ["identity", "key-registry", "policy-compiler"];
    for (database, name) in databases.iter().zip(names) {
        assert_eq!(
            (database["service"].as_str(), &database["epoch"]),
            (Some(name), &0.into())
        );
        assert!(database["epoch_began_at"].is_string() && database["error"].is_null());
        assert!(database["epoch_reason"].is_null(), "it is the first");
    }
}

#[test]
fn each_process_of_a_deployment_is_shown_with_its_certificate_and_each_gateway_with_its_lease() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    let (place, database) = (tempfile::tempdir().unwrap(), postgres.new_database());
    let launch = Launch {
        gateways: 2,
        ..Launch::default()
    };
    let server = Separate::start_with(place.path(), &database.unwrap(), &launch).unwrap();
    let Some(server) = server else {
        return;
    };
    let expected = [
        "identity",
        "key-registry",
        "netmap-gateway",
        "netmap-gateway",
        "policy-compiler",
    ];
    let is_whole = |status: &Value| {
        services(status) == expected && status["gateways"].as_array().unwrap().len() == 2
    };
    let status = wait_for_status(&server, is_whole);
    check_everyone(&status);
    for process in status["processes"].as_array().unwrap() {
        assert!(
            process["services_certificate_ends_at"].is_string(),
            "{process}"
        );
        assert!(
            process["clients_certificate_ends_at"].is_null(),
            "{process}"
        );
    }
    for (gateway, address) in status["gateways"].as_array().unwrap().iter().zip([0, 1]) {
        assert_eq!(gateway["lease"], "live", "{gateway}");
        assert_eq!(gateway["revisions_behind"], 0, "{address}: {gateway}");
    }
    let mut addresses: Vec<_> = server.addresses().iter().map(ToString::to_string).collect();
    addresses.sort();
    let shown = status["gateways"].as_array().unwrap().iter();
    let mut shown: Vec<_> = shown
        .map(|gateway| gateway["address"].as_str().unwrap().to_owned())
        .collect();
    shown.sort();
    assert_eq!(shown, addresses);

    // What can not be asked is named, and hides nothing else.
    let whole = server.command().unwrap();
    let mut arguments: Vec<_> = whole.get_args().collect();
    let compiler = arguments.iter().position(|one| *one == "--policy-compiler");
    arguments[compiler.unwrap() + 1] = "127.0.0.1:1".as_ref();
    let mut command = Command::new(whole.get_program());
    command.args(arguments).args(["--output", "json", "status"]);
    let output = command.output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = status["databases"][2]["error"].as_str().unwrap();
    assert!(error.contains("can not be reached"), "{error}");
    assert_eq!(services(&status)[..4], expected[..4]);
    let table = server.command().unwrap().arg("status").output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    for part in ["PROCESS", "CERTIFICATE ENDS", "LEASE", "DATABASE"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    server.end().unwrap();
}

#[test]
fn one_process_tells_when_the_certificate_for_clients_ends() {
    let place = tempfile::tempdir().unwrap();
    let server = OneProcess::start(place.path(), "https").unwrap();
    let is_whole = |status: &Value| {
        services(status).len() == 3 && status["gateways"].as_array().unwrap().len() == 1
    };
    let status = wait_for_status(&server, is_whole);
    check_everyone(&status);
    let ends = clients_certificate_end(place.path());
    for process in status["processes"].as_array().unwrap() {
        assert_eq!(process["clients_certificate_ends_at"], *ends, "{process}");
        assert!(
            process["services_certificate_ends_at"].is_null(),
            "{process}"
        );
    }
    server.end().unwrap();
}

/// Returns the end of the clients' certificate in a state directory, as OpenSSL reads it.
fn clients_certificate_end(state_dir: &Path) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"])
        .arg(state_dir.join("tls/127.0.0.1.pem"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let end = said.trim().strip_prefix("notAfter=").unwrap();
    end.replace(' ', "T")
}
