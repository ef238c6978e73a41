//! What a fixture holds: something of every kind there is.

use std::{fs, net::TcpStream, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use bowline_proto::identity::v1::{
    DnsSettings, ListTailnetsRequest, ListUsersRequest, SplitDns, Tailnet, UpdateTailnetRequest,
    UpdateUserRequest, User, tailnet_service_client::TailnetServiceClient,
    user_service_client::UserServiceClient,
};
use bowline_service_kit::{GrpcChannel, ServiceName};
use bowline_test_deployments::{Deployment, OneProcess, Separate, program};
use bowline_test_servers::PostgresServer;
use prost_types::FieldMask;
use serde_json::{Value, json};

use crate::{Device, Fixture, Record, Registered, record::DeviceRecord};

/// Longer than any fixture is in use.
const LONG: &str = "30000d";

/// The document of the tailnet "home": everybody reaches everybody, so that every node is a peer.
const HOME: &str = r#"{
  // Made for a fixture.
  "groups": {"group:eng": ["amira@example.com"]},
  "hosts": {"office": "10.20.0.0/16"},
  "tagOwners": {"tag:web": ["group:eng"], "tag:db": ["owner@home"]},
  "autoApprovers": {"routes": {"10.20.0.0/16": ["tag:web"]}, "exitNode": ["tag:web"]},
  "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
  "grants": [{"src": ["group:eng"], "dst": ["tag:db"], "app": {"example.com/cap/db": [{"role": "reader"}]}}],
  "ssh": [{"action": "accept", "src": ["group:eng"], "dst": ["tag:web"], "users": ["autogroup:nonroot"]}],
  "nodeAttrs": [{"target": ["tag:web"], "attr": ["funnel"]}],
  TESTS
}
"#;

/// The tests of that document, which want devices.
const TESTS: &str = r#""tests": [{"src": "amira@example.com", "accept": ["tag:db:5432"]}],"#;

/// An older version of it.
const HOME_BEFORE: &str = r#"{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"]}]}"#;

/// The document of the tailnet "work": relays of its own, with the number that how-tos use.
const WORK: &str = r#"{
  "tagOwners": {"tag:ci": ["autogroup:member"]},
  "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}],
  "derpMap": {"Regions": {"900": {"RegionID": 900, "RegionCode": "myderp",
    "Nodes": [{"Name": "1", "RegionID": 900, "HostName": "derp.example.com"}]}}},
}
"#;

/// Makes a fixture in a directory with the version that is built: one process, and separate services.
///
/// # Errors
///
/// What hinders it.
pub fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let fixture = Fixture::at(directory);
    let place = tempfile::tempdir()?;
    let state = place.path().join("state");
    // A first start with TLS makes the certificates.
    OneProcess::start(&state, "https")?.end()?;
    let server = OneProcess::start(&state, "http")?;
    let record = fill(&server)?;
    server.end()?;
    fixture.write_record("state.json", &record)?;
    let databases = ["identity.db", "key-registry.db", "policy.db"];
    for database in databases {
        // What the last start left in the log goes into the file, which is then all there is.
        let mut sqlite = Command::new("sqlite3");
        sqlite
            .arg(state.join(database))
            .arg("PRAGMA wal_checkpoint(TRUNCATE)");
        if !sqlite.status()?.success() {
            bail!("{database} has no checkpoint");
        }
    }
    let parts = [&databases[..], &["control-keys", "tls"]].concat();
    fixture.pack("state.tar.gz", &state, &parts)?;

    let postgres = PostgresServer::start()?.context("PostgreSQL is not installed")?;
    let database = postgres.new_database()?;
    let services = place.path().join("services");
    fs::create_dir_all(&services)?;
    let keys = services.join("control-keys").display().to_string();
    for what in [&["create"][..], &["roll", "--without-checking"]] {
        let mut command = Command::new(program("bowline")?);
        if !command
            .arg("control-keys")
            .args(what)
            .arg(&keys)
            .status()?
            .success()
        {
            bail!("no control keys");
        }
    }
    let server = Separate::start(&services, &database)?.context("Redis is not installed")?;
    let record = fill(&server)?;
    server.end()?;
    fixture.write_record("services.json", &record)?;
    fixture.pack(
        "services.tar.gz",
        &services,
        &["control-keys", "certificates"],
    )?;
    fixture.write_database(&postgres.dump(&database)?)
}

/// The deployment that is being filled.
struct Filling<'a> {
    server: &'a dyn Deployment,
    devices: Vec<DeviceRecord>,
    /// Nodes that are online until the end.
    online: Vec<TcpStream>,
}

/// Makes something of every kind, and returns what there is then.
fn fill(server: &dyn Deployment) -> Result<Record> {
    let mut filling = Filling {
        server,
        devices: Vec::new(),
        online: Vec::new(),
    };
    filling.make_tailnets()?;
    filling.fill_home()?;
    filling.fill_work()?;
    filling.fill_lab()?;
    let mut record = Record::of(server)?;
    for mut device in filling.devices {
        (device.name, device.peers) = device.told(server)?;
        record.devices.push(device);
    }
    Ok(record)
}

impl Filling<'_> {
    fn bowline(&self, arguments: &[&str]) -> Result<Value> {
        self.server.bowline(arguments)
    }

    /// Runs a command about the tailnet "home".
    fn home(&self, arguments: &[&str]) -> Result<Value> {
        self.bowline(&[arguments, &["--tailnet", "home"]].concat())
    }

    fn set_policy(&self, tailnet: &str, text: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), text)?;
        let name = file.path().display().to_string();
        self.bowline(&["policy", "set", &name, "--tailnet", tailnet])?;
        Ok(())
    }

    /// Makes a pre-auth key and returns its secret.
    fn key(&self, tailnet: &str, options: &[&str]) -> Result<String> {
        let arguments = [&["keys", "create", "--tailnet", tailnet], options].concat();
        let made = self.bowline(&arguments)?;
        let secret = made["secret"].as_str().context("a key without a secret")?;
        Ok(secret.to_owned())
    }

    /// Joins a device with a key, and lets it report what it says of its host.
    fn join(&mut self, tailnet: &str, key: &str, hostinfo: Value) -> Result<Device> {
        let device = Device::new();
        let auth = json!({ "Auth": { "AuthKey": key } });
        let address = self.server.address();
        let registered = device.register(address, &hostinfo, &auth)?;
        if registered == Registered::Node(true) {
            device.report(address, &hostinfo)?;
            self.keep(tailnet, &device, hostinfo);
        }
        Ok(device)
    }

    /// Notes a device that comes back.
    fn keep(&mut self, tailnet: &str, device: &Device, hostinfo: Value) {
        self.devices.push(DeviceRecord {
            tailnet: tailnet.to_owned(),
            machine: device.machine.expose_text().to_string(),
            node: device.node.expose_text().to_string(),
            hostinfo,
            name: String::new(),
            peers: Vec::new(),
        });
    }

    /// Forgets the last device: it does not come back.
    fn forget(&mut self) {
        self.devices.pop();
    }

    fn make_tailnets(&self) -> Result<()> {
        if self.bowline(&["tailnets", "list"])? == json!([]) {
            self.bowline(&["tailnets", "create", "home"])?;
            self.bowline(&["users", "create", "owner@home", "--role", "owner"])?;
        }
        for name in ["work", "lab", "empty"] {
            self.bowline(&["tailnets", "create", name])?;
        }
        for name in ["home", "work", "lab"] {
            let update = ["tailnets", "update", "--tailnet", name];
            self.bowline(&[&update[..], &["--key-lifetime", LONG]].concat())?;
        }
        let lab = ["tailnets", "update", "--tailnet", "lab"];
        let settings = ["--machine-approval", "true", "--require-key-proof", "true"];
        self.bowline(&[&lab[..], &settings].concat())?;
        let settings = ["--ipv4-pool", "100.80.0.0/16", "--display-name", "The lab"];
        self.bowline(&[&lab[..], &settings].concat())?;
        for (tailnet, user, role) in [
            ("home", "amira@example.com", "member"),
            ("home", "sam@example.com", "member"),
            ("home", "dana@example.com", "member"),
            ("home", "kim@example.com", "network-admin"),
            ("work", "noor@example.com", "owner"),
            ("work", "Noor@Example.com", "member"),
            ("work", "sam@example.com", "member"),
            ("lab", "lee@example.com", "owner"),
        ] {
            let who = [
                "users",
                "create",
                user,
                "--role",
                role,
                "--tailnet",
                tailnet,
            ];
            self.bowline(&who)?;
        }
        self.set_what_the_command_line_does_not()
    }

    /// Sets DNS and groups.
    fn set_what_the_command_line_does_not(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let channel = self.server.channel(ServiceName::Identity)?;
            set_dns_and_groups(channel).await
        })
    }

    fn fill_home(&mut self) -> Result<()> {
        let address = self.server.address();
        self.set_policy("home", HOME_BEFORE)?;
        self.set_policy("home", &HOME.replace("TESTS", ""))?;
        let owner = ["--user", "owner@home", "--reusable", "--expires", LONG];
        let amira = [
            "--user",
            "amira@example.com",
            "--reusable",
            "--expires",
            LONG,
        ];
        let (owner, amira) = (self.key("home", &owner)?, self.key("home", &amira)?);
        for hostname in [
            "Joe's Mac mini",
            "server-北京-01",
            "mail.server",
            "我的电脑",
            "My-PC!",
            "test_node",
            "laptop",
            "laptop",
        ] {
            self.join("home", &amira, host(hostname))?;
        }
        // Some are online until the end.
        for device in &self.devices[..3] {
            let stream = device.device()?.stay(address, &device.hostinfo)?;
            self.online.push(stream);
        }
        self.join_tagged()?;
        self.join_routers(&owner)?;

        self.join("home", &amira, host("first name"))?;
        self.home(&["nodes", "rename", "first-name", "chosen"])?;
        let ephemeral = [
            "--user",
            "owner@home",
            "--ephemeral",
            "--reusable",
            "--expires",
            LONG,
        ];
        let ephemeral = self.key("home", &ephemeral)?;
        self.join("home", &ephemeral, host("runner"))?;
        self.join_with_logins()?;

        self.end_and_replace_keys(&amira)?;
        self.lose_people()?;
        self.set_policy("home", &HOME.replace("TESTS", TESTS))?;
        self.make_unused_keys()
    }

    /// Joins nodes whose keys have ended, by an administrator and by logging out, or were replaced.
    fn end_and_replace_keys(&mut self, amira: &str) -> Result<()> {
        let address = self.server.address();
        self.join("home", amira, host("expired"))?;
        self.home(&["nodes", "expire", "expired"])?;
        self.forget();
        let device = self.join("home", amira, host("left"))?;
        let past = json!({ "Expiry": "2020-01-01T00:00:00Z" });
        if device.register(address, &host("left"), &past)? != Registered::Expired {
            bail!("the logout was not taken");
        }
        self.forget();
        // A key that was replaced.
        let before = self.join("home", amira, host("rotated"))?;
        self.forget();
        let device = Device {
            machine: before.machine.expose_text().parse()?,
            ..Device::new()
        };
        let old = json!({ "OldNodeKey": before.node_key(), "Auth": { "AuthKey": amira } });
        if device.register(address, &host("rotated"), &old)? != Registered::Node(true) {
            bail!("the key was not replaced");
        }
        self.keep("home", &device, host("rotated"));
        Ok(())
    }

    /// Joins nodes of people who are suspended or deleted then.
    fn lose_people(&mut self) -> Result<()> {
        let sam = self.key(
            "home",
            &["--user", "sam@example.com", "--reusable", "--expires", LONG],
        )?;
        self.join("home", &sam, host("sams-laptop"))?;
        self.forget();
        self.home(&["users", "suspend", "sam@example.com"])?;
        let dana = [
            "--user",
            "dana@example.com",
            "--reusable",
            "--expires",
            LONG,
        ];
        let dana = self.key("home", &dana)?;
        self.join("home", &dana, host("danas-laptop"))?;
        self.forget();
        self.home(&["users", "delete", "dana@example.com"])?;
        Ok(())
    }

    /// Joins nodes with tags, in each way there is.
    fn join_tagged(&mut self) -> Result<()> {
        let web = self.key(
            "home",
            &["--tag", "tag:web", "--tag", "tag:db", "--expires", LONG],
        )?;
        self.join("home", &web, host("by-key"))?;
        let dana = [
            "--user",
            "dana@example.com",
            "--tag",
            "tag:db",
            "--expires",
            LONG,
        ];
        let dana = self.key("home", &dana)?;
        self.join("home", &dana, host("by-key-of-somebody-gone"))?;
        let amira = self.key("home", &["--user", "amira@example.com", "--expires", LONG])?;
        let mut by_report = host("by-report");
        by_report["RequestTags"] = json!(["tag:web"]);
        let device = self.join("home", &amira, host("by-report"))?;
        device.report(self.server.address(), &by_report)?;
        self.forget();
        self.keep("home", &device, by_report);
        let amira = self.key("home", &["--user", "amira@example.com", "--expires", LONG])?;
        self.join("home", &amira, host("by-admin"))?;
        self.home(&["nodes", "tag", "by-admin", "tag:db"])?;
        // A tag that the policy does not define.
        let ghost = self.key("home", &["--tag", "tag:ghost", "--expires", LONG])?;
        self.join("home", &ghost, host("ghost"))?;
        Ok(())
    }

    /// Joins nodes with routes: approved, pending, approved by the policy, two of one route, exit nodes.
    fn join_routers(&mut self, owner: &str) -> Result<()> {
        let routes = |hostname: &str, routes: &[&str]| {
            let mut host = host(hostname);
            host["RoutableIPs"] = json!(routes);
            host
        };
        let exit = ["0.0.0.0/0", "::/0"];
        for (hostname, offered, approved) in [
            (
                "router-1",
                &["192.168.1.0/24", "192.168.2.0/24"][..],
                &["192.168.1.0/24"][..],
            ),
            ("router-2", &["192.168.1.0/24"], &["192.168.1.0/24"]),
            ("router-3", &["192.168.3.0/24"], &[]),
            ("exit-1", &exit, &exit),
            ("exit-2", &exit, &[]),
        ] {
            self.join("home", owner, routes(hostname, offered))?;
            if !approved.is_empty() {
                let approve = ["nodes", "approve-routes", hostname];
                self.home(&[&approve[..], approved].concat())?;
            }
        }
        let web = self.key("home", &["--tag", "tag:web", "--expires", LONG])?;
        self.join(
            "home",
            &web,
            routes("auto", &["10.20.1.0/24", "0.0.0.0/0", "::/0"]),
        )?;
        Ok(())
    }

    /// Begins logins: approved and taken up, approved and not, denied, pending.
    fn join_with_logins(&mut self) -> Result<()> {
        let address = self.server.address();
        let mut begun = Vec::new();
        for hostname in ["taken-up", "approved-only", "denied", "pending"] {
            let device = Device::new();
            let answer = device.register(address, &host(hostname), &json!({}))?;
            let Registered::Login(login) = answer else {
                bail!("{hostname}: no address was shown");
            };
            begun.push((device, login));
        }
        for (_, login) in &begun[..2] {
            self.home(&["logins", "approve", login, "--user", "kim@example.com"])?;
        }
        self.home(&["logins", "deny", &begun[2].1, "--reason", "not ours"])?;
        let (device, login) = &begun[0];
        let followup = json!({ "Followup": login });
        if device.register(address, &host("taken-up"), &followup)? != Registered::Node(true) {
            bail!("the approved login made no node");
        }
        device.report(address, &host("taken-up"))?;
        self.keep("home", device, host("taken-up"));
        Ok(())
    }

    fn make_unused_keys(&self) -> Result<()> {
        for options in [
            &["--user", "owner@home", "--expires", LONG][..],
            &[
                "--user",
                "owner@home",
                "--pre-approved",
                "--description",
                "a \"quoted\" one",
            ],
            &[
                "--user",
                "kim@example.com",
                "--reusable",
                "--ephemeral",
                "--tag",
                "tag:web",
            ],
            &["--tag", "tag:ghost", "--expires", LONG],
            &["--user", "owner@home", "--expires", "1s"],
        ] {
            self.key("home", options)?;
        }
        let made = self.home(&["keys", "create", "--user", "owner@home"])?;
        let id = made["key"]["id"].as_str().context("a key without id")?;
        self.home(&["keys", "revoke", id])?;
        Ok(())
    }

    fn fill_work(&mut self) -> Result<()> {
        self.set_policy("work", WORK)?;
        self.bowline(&["policy", "rollback", "1", "--tailnet", "work"])?;
        for (user, hostname) in [("noor@example.com", "desk"), ("Noor@Example.com", "shelf")] {
            let key = self.key("work", &["--user", user, "--expires", LONG])?;
            self.join("work", &key, host(hostname))?;
        }
        // Tagged by the report of somebody who was suspended afterwards.
        let sam = self.key(
            "work",
            &["--user", "sam@example.com", "--reusable", "--expires", LONG],
        )?;
        let mut hostinfo = host("sams-runner");
        let device = self.join("work", &sam, hostinfo.clone())?;
        hostinfo["RequestTags"] = json!(["tag:ci"]);
        device.report(self.server.address(), &hostinfo)?;
        self.forget();
        self.join("work", &sam, host("sams-laptop"))?;
        self.forget();
        self.bowline(&["users", "suspend", "sam@example.com", "--tailnet", "work"])?;
        // Whether others see what sam tagged is for the version that opens this to say.
        self.devices.retain(|device| device.tailnet != "work");
        Ok(())
    }

    fn fill_lab(&mut self) -> Result<()> {
        let lee = self.key(
            "lab",
            &["--user", "lee@example.com", "--reusable", "--expires", LONG],
        )?;
        self.join("lab", &lee, host("waits"))?;
        let approved = self.join("lab", &lee, host("approved"))?;
        self.bowline(&["nodes", "approve", "approved", "--tailnet", "lab"])?;
        approved.report(self.server.address(), &host("approved"))?;
        self.keep("lab", &approved, host("approved"));
        let lee = [
            "--user",
            "lee@example.com",
            "--pre-approved",
            "--expires",
            LONG,
        ];
        let lee = self.key("lab", &lee)?;
        self.join("lab", &lee, host("pre-approved"))?;
        Ok(())
    }
}

/// Returns what a Linux host says of itself.
fn host(hostname: &str) -> Value {
    json!({
        "IPNVersion": "1.58.2-t1", "OS": "linux", "OSVersion": "6.1", "Hostname": hostname,
        "NetInfo": { "PreferredDERP": 900, "WorkingUDP": true },
        "Services": [{ "Proto": "peerapi4", "Port": 4242 }],
    })
}

async fn set_dns_and_groups(channel: GrpcChannel) -> Result<()> {
    let mut tailnets = TailnetServiceClient::new(channel.clone());
    let known = tailnets.list_tailnets(ListTailnetsRequest {}).await?;
    let known = known.into_inner().tailnets;
    let home = known.into_iter().find(|tailnet| tailnet.name == "home");
    let home = home.context("no tailnet \"home\"")?;
    let dns = DnsSettings {
        magic_dns: true,
        nameservers: vec!["9.9.9.9".to_owned(), "2620:fe::fe".to_owned()],
        override_local: true,
        search_domains: vec!["corp.example.com".to_owned()],
        split: vec![SplitDns {
            suffix: "corp.example.com".to_owned(),
            nameservers: vec!["10.20.0.53".to_owned()],
        }],
        ..DnsSettings::default()
    };
    let update = UpdateTailnetRequest {
        tailnet: Some(Tailnet {
            dns: Some(dns),
            ..home.clone()
        }),
        update_mask: Some(mask("dns")),
    };
    tailnets.update_tailnet(update).await?;
    let mut users = UserServiceClient::new(channel);
    let tailnet_id = home.id;
    let known = users
        .list_users(ListUsersRequest {
            tailnet_id,
            ..ListUsersRequest::default()
        })
        .await?;
    let kim = known.into_inner().users.into_iter();
    let kim = kim
        .clone()
        .find(|user| user.login_name == "kim@example.com");
    let update = UpdateUserRequest {
        user: Some(User {
            groups: vec!["ops".to_owned(), "staff".to_owned()],
            ..kim.context("no user kim")?
        }),
        update_mask: Some(mask("groups")),
    };
    users.update_user(update).await?;
    Ok(())
}

fn mask(field: &str) -> FieldMask {
    FieldMask {
        paths: vec![field.to_owned()],
    }
}
