//! One request is followed through all services by its id.

use std::collections::BTreeSet;

use bowline_test_deployments::{Deployment, OneProcess, Separate};
use bowline_test_servers::PostgresServer;
use bowline_upgrade::FORGED_REQUEST_ID;
use serde_json::Value;

use super::joined_device::{join, prepare_tailnet};

/// The calls that a registration with a key leads to, each of another service.
const CALLS: [&str; 3] = [
    "/bowline.key_registry.v1.RegistrationService/Register",
    "/bowline.identity.v1.IdentityService/ResolveUsers",
    "/bowline.policy.v1.PolicyCompilerService/JudgeNodes",
];

/// Joins a device, and asks for its netmap.
fn join_and_map(server: &impl Deployment) {
    prepare_tailnet(server);
    let joined = join(server, server.address(), "laptop");
    let netmap = joined.device.map(server.address()).unwrap();
    assert!(netmap.node.is_some());
}

/// A line of a log, with the fields of its spans.
struct Line {
    fields: Value,
    spans: Vec<Value>,
}

fn lines(log: &str) -> Vec<Line> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let parsed = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed
        .map(|fields| Line {
            spans: fields["spans"].as_array().cloned().unwrap_or_default(),
            fields,
        })
        .collect()
}

impl Line {
    fn ids(&self) -> BTreeSet<&str> {
        let ids = self.spans.iter().map(|span| span["request_id"].as_str());
        ids.flatten().collect()
    }
}

/// Returns the ids of calls of an RPC.
fn ids_of_call<'l>(lines: &'l [Line], path: &str) -> BTreeSet<&'l str> {
    let calls = lines.iter().filter(|line| line.fields["path"] == path);
    calls.flat_map(Line::ids).collect()
}

/// Returns the ids of registrations that devices asked for, whose span says which node it is.
fn ids_of_registrations(lines: &[Line]) -> BTreeSet<&str> {
    let spans = lines.iter().flat_map(|line| &line.spans);
    let asked = spans.filter(|span| {
        span["name"] == "request"
            && span["endpoint"] == "register"
            && span["tailnet"].is_u64()
            && span["node"].is_u64()
    });
    asked
        .filter_map(|span| span["request_id"].as_str())
        .collect()
}

#[test]
fn registration_has_one_id_in_the_logs_of_all_four_services() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    let (place, database) = (tempfile::tempdir().unwrap(), postgres.new_database());
    let Some(server) = Separate::start(place.path(), &database.unwrap()).unwrap() else {
        return;
    };
    join_and_map(&server);
    let log = |service| lines(&server.log(service).unwrap());
    let gateway = log("netmap-gateway");
    let ids = ids_of_registrations(&gateway);
    assert_eq!(ids.len(), 1, "{ids:?}");
    for (service, path) in ["key-registry", "identity", "policy-compiler"]
        .into_iter()
        .zip(CALLS)
    {
        let log = log(service);
        assert!(ids_of_call(&log, path).is_superset(&ids), "{service}");
        assert!(
            !log.iter()
                .any(|line| line.ids().contains(FORGED_REQUEST_ID))
        );
    }
    assert!(
        !gateway
            .iter()
            .any(|line| line.ids().contains(FORGED_REQUEST_ID))
    );
    // A command has an id of its own.
    let created = "/bowline.key_registry.v1.PreAuthKeyService/CreatePreAuthKey";
    let registry = log("key-registry");
    let commands = ids_of_call(&registry, created);
    assert!(
        commands.len() == 1 && commands.is_disjoint(&ids),
        "{commands:?}"
    );
    server.end().unwrap();
}

#[test]
fn registration_has_one_id_within_one_process() {
    let place = tempfile::tempdir().unwrap();
    let server = OneProcess::start(place.path(), "http").unwrap();
    join_and_map(&server);
    let log = lines(&server.log().unwrap());
    let ids = ids_of_registrations(&log);
    assert_eq!(ids.len(), 1, "{ids:?}");
    for path in CALLS {
        assert!(ids_of_call(&log, path).is_superset(&ids), "{path}");
    }
    assert!(
        !log.iter()
            .any(|line| line.ids().contains(FORGED_REQUEST_ID))
    );
    let begun = log
        .iter()
        .find(|line| line.fields["message"] == "request answered");
    assert!(begun.is_some_and(|line| line.ids().len() == 1));
    server.end().unwrap();
}
