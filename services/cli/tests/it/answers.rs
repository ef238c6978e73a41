//! The shape of what every command answers with `--output json`: names of fields, and kinds of their values.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Command};

use bowline_interface::{Shape, assert_unchanged};
use bowline_service_kit::SCHEMA_LEVEL;
use bowline_test_deployments::{Deployment as _, OneProcess};
use bowline_test_headscale::{HeadscaleRelease, HeadscaleState};
use bowline_upgrade::{Device, Fixture, Registered};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::help::leaf_commands;

/// Commands that are not asked here: two serve until they are stopped, one prints a script, one waits for a person, whom
/// `sign_in` has, two are about a server of another kind, which `deployment` and the containers of `tests/interop` have, and three
/// about one that does not run, which `backup` has.
const NOT_ASKED: [&str; 9] = [
    "serve",
    "relay",
    "completions",
    "sign-in",
    "health",
    "first-key",
    "restore",
    "migrate-deployment",
    "migrate",
];

/// Lets one part of the people reach another; a part of it is never met, which is warned of.
const POLICY: &str = r#"{
  "tagOwners": {"tag:web": ["owner@home"], "tag:db": ["owner@home"]},
  "postures": {"posture:mac": ["ip:country == 'DE'"]},
  "acls": [{"action": "accept", "src": ["amira@example.com"], "dst": ["tag:db:5432"]}],
}"#;

/// A SAML provider.
const SAML_METADATA: &str =
    include_str!("../../../../shared/saml/src/response/tests/pysaml2/metadata.xml");

/// A server with something of every kind in it, and the shapes of its answers.
struct Asked {
    server: OneProcess,
    place: TempDir,
    /// The commands there are.
    commands: Vec<String>,
    shapes: BTreeMap<String, Shape>,
}

/// Lets a state directory from before be used as one where no process of an earlier release was seen for a minute.
async fn use_newest_level(state_dir: &Path) {
    sqlx::any::install_default_drivers();
    for file in ["identity.db", "key-registry.db"] {
        let url = format!("sqlite://{}", state_dir.join(file).display());
        let database = sqlx::AnyPool::connect(&url).await.unwrap();
        let raise = "INSERT INTO schema_levels (level, raised_at) VALUES ($1, 0)";
        let raise = sqlx::query(raise).bind(i64::from(SCHEMA_LEVEL));
        raise.execute(&database).await.unwrap();
        database.close().await;
    }
}

impl Asked {
    async fn new(commands: Vec<String>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let fixture = Fixture::all().unwrap().remove(0);
        fixture.unpack_state(place.path()).unwrap();
        let server = OneProcess::start(place.path(), "http").unwrap();
        server.end().unwrap();
        use_newest_level(place.path()).await;
        let server = OneProcess::start(place.path(), "http").unwrap();
        let shapes = BTreeMap::new();
        Self {
            server,
            place,
            commands,
            shapes,
        }
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(Path::new(&path), text).unwrap();
        path
    }

    /// Runs a command about the tailnet "home" that succeeds, and adds the shape of its answer.
    fn home(&mut self, arguments: &[&str]) -> Value {
        self.any(&[arguments, &["--tailnet", "home"]].concat())
    }

    /// Runs a command that succeeds, and adds the shape of its answer.
    fn any(&mut self, arguments: &[&str]) -> Value {
        let command = self.server.command().unwrap();
        self.run(command, arguments, true)
    }

    fn run(&mut self, mut command: Command, arguments: &[&str], succeeds: bool) -> Value {
        let output = command.args(["--output", "json"]).args(arguments).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), succeeds, "{arguments:?}: {said}");
        let answer = serde_json::from_slice(&output.stdout);
        let answer = answer.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        let name = self.name_of(arguments);
        self.shapes.entry(name).or_default().add(&answer);
        answer
    }

    /// Returns the words that name a command, without its arguments.
    fn name_of(&self, arguments: &[&str]) -> String {
        let names = (1..=arguments.len()).map(|count| arguments[..count].join(" "));
        let mut names = names.filter(|name| self.commands.contains(name));
        names.next().unwrap()
    }

    /// Suspends somebody until the answer names a gateway: it does once the gateway's lease is on record.
    fn wait_for_gateway(&mut self) {
        for _ in 0..600 {
            let suspend = ["users", "suspend", "sam@example.com", "--tailnet", "home"];
            let answer = self.server.bowline(&suspend).unwrap();
            if answer["gateways"]
                .as_array()
                .is_some_and(|gateways| !gateways.is_empty())
            {
                return;
            }
        }
        panic!("no gateway is named");
    }

    fn ask_about_tailnets_and_people(&mut self) {
        self.any(&["status"]);
        let url = format!("http://{}", self.server.address());
        self.any(&["doctor", &url]);
        self.any(&["tailnets", "list"]);
        self.any(&["tailnets", "show", "home"]);
        self.any(&["tailnets", "create", "new"]);
        let change = ["--display-name", "New", "--auto-update", "true"];
        self.any(&[&["tailnets", "update", "--tailnet", "new"], &change[..]].concat());
        self.any(&["tailnets", "delete", "new"]);
        self.home(&["users", "list"]);
        self.home(&["users", "show", "kim@example.com"]);
        for user in ["lou@example.com", "max@example.com"] {
            self.home(&["users", "create", user]);
        }
        self.home(&["users", "set-role", "lou@example.com", "auditor"]);
        self.home(&["users", "suspend", "lou@example.com"]);
        self.home(&["users", "restore", "lou@example.com"]);
        self.home(&["users", "approve", "lou@example.com"]);
        self.home(&["users", "delete", "lou@example.com"]);
        self.home(&["users", "create", "moe@example.com"]);
        let merge = ["users", "merge", "moe@example.com", "max@example.com"];
        self.home(&[&merge[..], &["--dry-run"]].concat());
        self.home(&merge);
        self.home(&["users", "transfer-ownership", "max@example.com"]);
        self.home(&["users", "transfer-ownership", "owner@home"]);
        self.home(&["users", "delete", "max@example.com", "--with-tagged-nodes"]);
    }

    fn ask_about_invitations(&mut self) {
        self.home(&["connections", "create", "local", "a passkey"]);
        let create = ["invitations", "create", "kim@example.com"];
        let made = self.home(&create);
        self.home(&["invitations", "list"]);
        // Somebody presses the button of the page.
        let link = made["link"].as_str().unwrap();
        let pressed = Command::new("curl")
            .args(["--silent", "--fail", "--noproxy", "*", "--request", "POST"])
            .args(["--dump-header", "-", "--output", "/dev/null", link])
            .output();
        let pressed = String::from_utf8(pressed.unwrap().stdout).unwrap();
        let (_, cookie) = pressed.split_once("bowline-session=").unwrap();
        let token = cookie.split(';').next().unwrap();
        let origin = link.split_once("/invitation/").unwrap().0;
        let session = self.write("session", &format!("{token}\n{origin}\n"));
        self.any(&["sign-out", "--token-file", &session]);
        // Another one.
        let made = self.home(&create);
        let pressed = Command::new("curl")
            .args(["--silent", "--fail", "--noproxy", "*", "--request", "POST"])
            .arg(made["link"].as_str().unwrap())
            .status();
        assert!(pressed.unwrap().success());
        let sessions = self.home(&["sessions", "list"]);
        self.home(&["sessions", "end", sessions[0]["id"].as_str().unwrap()]);
        let made = self.home(&create);
        let id = made["invitation"]["id"].as_str().unwrap();
        self.home(&["invitations", "revoke", id]);
    }

    fn ask_about_groups(&mut self) {
        self.home(&["groups", "create", "on call"]);
        self.home(&["groups", "add-user", "on call", "kim@example.com"]);
        self.home(&["groups", "rename", "on call", "on-call"]);
        self.home(&["groups", "list"]);
        self.home(&["groups", "show", "group:on-call"]);
        self.home(&["groups", "remove-user", "on-call", "kim@example.com"]);
        self.home(&["groups", "delete", "on-call"]);
    }

    fn ask_about_nodes_and_keys(&mut self) {
        self.home(&["nodes", "list"]);
        self.home(&["nodes", "show", "router-1"]);
        self.home(&["nodes", "rename", "router-1", "router"]);
        self.home(&["nodes", "approve-routes", "router", "192.168.1.0/24"]);
        self.home(&["nodes", "tag", "by-admin", "tag:db"]);
        self.home(&["nodes", "expire", "laptop"]);
        self.home(&["nodes", "disable", "router"]);
        self.home(&["nodes", "enable", "router"]);
        self.home(&["nodes", "set-expiry", "router", "never"]);
        let set = [
            "attributes",
            "set",
            "router",
            "custom:tier=gold",
            "--expires",
            "90d",
        ];
        self.home(&[&set[..], &["--comment", "ticket 7"]].concat());
        self.home(&[
            "attributes",
            "set",
            "router",
            "custom:level=3",
            "custom:managed=true",
        ]);
        self.home(&["attributes", "list"]);
        self.home(&["attributes", "list", "router"]);
        self.home(&["nodes", "show", "router"]);
        self.home(&["attributes", "remove", "router", "custom:managed"]);
        self.home(&["nodes", "delete", "laptop-1"]);
        self.home(&["lock", "status"]);
        self.home(&["lock", "log"]);
        self.any(&["nodes", "deny", "waits", "--tailnet", "lab"]);
        self.any(&["nodes", "approve", "waits", "--tailnet", "lab"]);
        let key = self.home(&[
            "api-keys",
            "create",
            "--user",
            "owner@home",
            "--scope",
            "users:read",
        ]);
        self.home(&["api-keys", "list"]);
        self.home(&["api-keys", "revoke", key["key"]["id"].as_str().unwrap()]);
        let client = self.home(&[
            "oauth-clients",
            "create",
            "--scope",
            "auth_keys",
            "--tag",
            "tag:db",
        ]);
        self.home(&["oauth-clients", "list"]);
        self.home(&[
            "oauth-clients",
            "revoke",
            client["client"]["id"].as_str().unwrap(),
        ]);
        self.home(&["keys", "list"]);
        let made = self.home(&["keys", "create", "--user", "owner@home"]);
        let id = made["key"]["id"].as_str().unwrap();
        self.home(&["keys", "revoke", id]);
        self.home(&["keys", "revoke", id, "--with-nodes"]);
    }

    fn ask_about_logins(&mut self) {
        let logins = [(), ()].map(|()| {
            let device = Device::new();
            let host = json!({ "IPNVersion": "1.58.2", "OS": "linux", "Hostname": "new" });
            let answer = device.register(self.server.address(), &host, &json!({}));
            match answer.unwrap() {
                Registered::Login(login) => login,
                other => panic!("{other:?}"),
            }
        });
        self.any(&["logins", "list"]);
        self.any(&["logins", "show", &logins[0]]);
        let approve = ["logins", "approve", &logins[0], "--yes", "--user"];
        self.home(&[&approve[..], &["kim@example.com"]].concat());
        self.home(&["logins", "deny", &logins[1], "--reason", "not ours"]);
    }

    fn ask_about_connections(&mut self) {
        let secret = self.write("client-secret", "secret\n");
        let with_secret = ["--client-secret-file", &secret];
        let create = [
            "connections",
            "create",
            "oidc",
            "Example Corp",
            "--issuer",
            "https://login.example.com",
            "--client-id",
            "bowline",
        ];
        let with_domain = ["--domain", "corp.example.com"];
        let with_roles = ["--role-group", "netops=network-admin"];
        self.home(&[&create[..], &with_secret, &with_domain, &with_roles].concat());
        self.home(&["connections", "list"]);
        let set = ["connections", "set-secret", "Example Corp"];
        self.home(&[&set[..], &with_secret].concat());
        let set = ["connections", "set-logout", "Example Corp", "--on-logout"];
        self.home(&[&set[..], &["suspend"]].concat());
        let set = ["connections", "set-refresh", "Example Corp"];
        self.home(&[&set[..], &["--refresh-every", "1h"]].concat());
        self.home(&["connections", "refresh", "Example Corp"]);
        self.home(&[
            "connections",
            "link",
            "kim@example.com",
            "Example Corp",
            "subject-1",
        ]);
        self.home(&["users", "show", "kim@example.com"]);
        let unlink = ["connections", "unlink", "kim@example.com", "Example Corp"];
        self.home(&unlink);
        let create = ["scim-tokens", "create", "--connection", "Example Corp"];
        let token = self.home(&[&create[..], &["--description", "people"]].concat());
        self.home(&["scim-tokens", "list"]);
        let id = token["token"]["id"].as_str().unwrap();
        self.home(&["scim-tokens", "revoke", id]);
        // Nobody is asked: its address is not public.
        let oidc = [
            "connections",
            "create",
            "oidc",
            "Nobody",
            "--client-id",
            "bowline",
        ];
        let issuer = ["--issuer", "https://127.0.0.1:1"];
        self.home(&[&oidc[..], &issuer].concat());
        let command = self.server.command().unwrap();
        let test = ["connections", "test", "Nobody", "--tailnet", "home"];
        self.run(command, &test, false);
        self.home(&["connections", "delete", "Example Corp"]);
        let metadata = self.write("metadata.xml", SAML_METADATA);
        let from_file = ["--metadata-file", &metadata];
        let saml = ["connections", "create", "saml", "Example SAML"];
        self.home(&[&saml[..], &from_file, &["--groups-attribute", "groups"]].concat());
        let set = ["connections", "set-metadata", "Example SAML"];
        self.home(&[&set[..], &from_file].concat());
        let set = ["connections", "set-idp-initiated", "Example SAML"];
        self.home(&[&set[..], &["--idp-initiated"]].concat());
        let roll = ["connections", "roll-key", "Example SAML"];
        self.home(&roll);
        self.home(&[&roll[..], &["--finish"]].concat());
    }

    fn ask_about_conditions(&mut self) {
        let add = [
            "conditions",
            "add",
            "--role",
            "member",
            "--acr",
            "gold",
            "--max-age",
            "15m",
        ];
        let also = [
            "--amr",
            "otp",
            "--authn-context",
            "urn:x",
            "--network",
            "192.0.2.0/24",
        ];
        let made = self.home(&[&add[..], &also].concat());
        self.home(&["conditions", "list"]);
        self.home(&["conditions", "explain", "--user", "kim@example.com"]);
        self.home(&["conditions", "remove", &made["id"].to_string()]);
    }

    fn ask_about_dns(&mut self) {
        for arguments in [
            &["nameservers", "set", "1.1.1.1"][..],
            &["override", "on"],
            &["search", "set", "corp.example.com"],
            &["split", "set", "corp.example.com", "10.0.0.53"],
            &[
                "records",
                "add",
                "printer.corp.example.com",
                "a",
                "100.64.0.7",
            ],
            &["suffix", "home.example.com"],
            &["magic", "on"],
            &["show"],
            &["records", "remove", "printer.corp.example.com"],
            &["split", "remove", "corp.example.com"],
            &["search", "clear"],
            &["override", "off"],
            &["nameservers", "clear"],
        ] {
            self.home(&[&["dns"], arguments].concat());
        }
    }

    fn ask_about_policy(&mut self) {
        let file = self.write("policy.hujson", POLICY);
        let wrong = self.write("wrong.hujson", r#"{"acls": [{"action": "deny"}]}"#);
        self.any(&["policy", "get", "--tailnet", "empty"]);
        self.home(&["policy", "get"]);
        let rules = r#"{"users": {"max_nodes": 9}, "approval_rules": [{"name": "known", "groups": ["eng"]}]}"#;
        let rules = self.write("key-policy.json", rules);
        self.home(&["key-policy", "set", &rules]);
        self.home(&["key-policy", "show"]);
        self.home(&["policy", "history"]);
        let inventory = self.home(&["policy", "inventory"]);
        let inventory = self.write("inventory.json", &inventory.to_string());
        self.any(&["policy", "check", &file, "--inventory", &inventory]);
        let command = self.server.command().unwrap();
        self.run(command, &["policy", "check", &wrong], false);
        self.home(&["policy", "preview", &file]);
        self.home(&["policy", "set", &file]);
        for destination in ["by-admin", "by-key"] {
            self.home(&["policy", "explain", "chosen", destination]);
        }
        self.home(&["policy", "rollback", "1"]);
        let mut command = self.server.command().unwrap();
        command.env("VISUAL", format!("cp {file}"));
        self.run(command, &["policy", "edit", "--tailnet", "home"], true);
    }

    fn ask_about_imports(&mut self) {
        let state = HeadscaleState::restore(HeadscaleRelease::V28).unwrap();
        let config = state.as_ref().unwrap().config();
        let config = config.to_str().unwrap();
        self.any(&["import", "headscale", config, "--tailnet", "moved"]);
    }

    fn ask_without_a_server(&mut self) {
        let settings = self.path("bowline.toml");
        self.any(&["config", "check", &settings]);
        let backup = self.path("backup");
        self.any(&["backup", &backup]);
        let keys = self.path("new-control-keys");
        for what in ["create", "prepare", "drop-prepared", "prepare"] {
            self.any(&["control-keys", what, &keys]);
        }
        // Nothing runs with them.
        for what in ["activate", "retire", "roll"] {
            self.any(&["control-keys", what, &keys, "--without-checking"]);
        }
        for what in ["show", "export"] {
            self.any(&["control-keys", what, &keys]);
        }
        let audit_key = self.path("new-audit-key");
        for what in ["create", "show"] {
            self.any(&["audit-key", what, &audit_key]);
        }
        let sealing_key = self.path("new-sealing-key");
        for what in [
            "create",
            "prepare",
            "drop-prepared",
            "prepare",
            "activate",
            "show",
        ] {
            self.any(&["sealing-key", what, &sealing_key]);
        }
        for what in ["retire", "roll"] {
            self.any(&["sealing-key", what, &sealing_key]);
        }
        let deployment = self.path("deployment");
        self.any(&["deployment", "create", &deployment, "--host", "x.example"]);
        let certificates = self.path("certificates");
        for what in ["create", "renew"] {
            self.any(&["certificates", what, &certificates]);
        }
    }

    /// Events are sent nowhere: the address is not public.
    fn ask_about_webhooks(&mut self) {
        let create = ["webhooks", "create", "https://127.0.0.1:1/hook"];
        let made = self.home(&create);
        let id = made["webhook"]["id"].to_string();
        self.home(&["webhooks", "list"]);
        self.home(&["webhooks", "update", &id, "--event", "nodeCreated"]);
        self.home(&["webhooks", "test", &id]);
        self.home(&["webhooks", "rotate", &id]);
        self.home(&["webhooks", "show", &id]);
        self.home(&["webhooks", "undelivered", &id]);
        self.home(&["webhooks", "replay", &id]);
        self.home(&["webhooks", "delete", &id]);
    }

    /// Adds what the audit entries of the administrator say, each action by itself.
    fn ask_about_audit(&mut self) {
        self.home(&["audit", "verify"]);
        self.home(&["audit", "export", "--action", "webhook.delete"]);
        let listed = self.home(&["audit", "list", "--limit", "500"]);
        let mut shape = Shape::default();
        for entry in listed.as_array().unwrap() {
            let mut entry = entry.clone();
            let action = entry["action"].as_str().unwrap().to_owned();
            let detail = entry.as_object_mut().unwrap().remove("detail").unwrap();
            shape.add(&json!([entry]));
            if entry["actor"].as_str().unwrap().starts_with("admin") {
                let name = format!("audit list: detail of {action}");
                self.shapes.entry(name).or_default().add(&detail);
            }
        }
        self.shapes.insert("audit list".to_owned(), shape);
    }
}

#[tokio::test]
async fn interface_of_answers_is_unchanged() {
    let mut asked = Asked::new(leaf_commands().await).await;
    asked.wait_for_gateway();
    asked.ask_about_tailnets_and_people();
    asked.ask_about_invitations();
    asked.ask_about_groups();
    asked.ask_about_nodes_and_keys();
    asked.ask_about_logins();
    asked.ask_about_connections();
    asked.ask_about_conditions();
    asked.ask_about_dns();
    asked.ask_about_policy();
    asked.ask_about_imports();
    asked.ask_without_a_server();
    asked.ask_about_webhooks();
    asked.ask_about_audit();

    let is_left_out =
        |name: &&String| !asked.shapes.contains_key(*name) && !NOT_ASKED.contains(&name.as_str());
    let left_out: Vec<_> = asked.commands.iter().filter(is_left_out).collect();
    assert!(
        left_out.is_empty(),
        "ask these in this test, too: {left_out:?}"
    );
    let mut text = String::new();
    for (name, shape) in &asked.shapes {
        writeln!(text, "bowline {name}\n{shape}").unwrap();
    }
    assert_unchanged("answers", &text);
}
