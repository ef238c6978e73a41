//! Those who administer the separate services, by token through either gateway, and by certificate.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};
use bowline_interop::{Client, Process, Split, program, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use super::{MINUTE, SECOND, SOON, split};

/// What speaks TLS in front of both gateways' administration addresses, and a token.
struct TokenAdministrator {
    directory: TempDir,
    _proxy: Process,
}

impl TokenAdministrator {
    fn start(split: &Split, token: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
        fs::write(path("both.pem"), format!("{certificate}{key}")).unwrap();
        fs::write(path("certificate.pem"), certificate).unwrap();
        fs::write(path("token"), token).unwrap();
        let mut lines =
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n"
                .to_owned();
        for gateway in [1, 2] {
            let (port, behind) = (admin_port(gateway), split.admin_address(gateway));
            let both = path("both.pem");
            lines += &format!(
                "listen gateway-{gateway}\n bind 127.0.0.1:{port} ssl crt {} alpn h2\n server one {behind}\n",
                both.display()
            );
        }
        fs::write(path("proxy.conf"), lines).unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", "PATH=$PATH:/usr/sbin exec haproxy -db -f \"$0\""])
            .arg(path("proxy.conf"));
        let proxy = Process::start(&mut command, &path("proxy.log")).unwrap();
        Self {
            directory,
            _proxy: proxy,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the command line with the token, by way of a gateway, 1 or 2.
    fn bowline(&self, gateway: usize, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(program("bowline")?)
            .args(["--address", &format!("127.0.0.1:{}", admin_port(gateway))])
            .args(["--output", "json", "--ca"])
            .arg(self.path("certificate.pem"))
            .arg("--token-file")
            .arg(self.path("token"))
            .args(arguments)
            .output()?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        serde_json::from_slice(&output.stdout).context("no JSON")
    }
}

/// Returns the port where TLS ends in front of a gateway.
fn admin_port(gateway: usize) -> usize {
    8445 + gateway
}

#[test]
fn tokens_administer_by_either_gateway_and_certificates_without_identity() {
    let name =
        "administration::tokens_administer_by_either_gateway_and_certificates_without_identity";
    let Some((mut split, clients)) = split(name, 2) else {
        return;
    };
    let key = split.key().unwrap();
    for (number, client) in (1..).zip(&clients) {
        let node = format!("c{number}");
        client.join(&split.url(number), &key, &node).unwrap();
    }
    tokens_administer_until_they_are_revoked(&split, &clients);
    certificates_administer_without_identity(&mut split, &clients);
}

fn tokens_administer_until_they_are_revoked(split: &Split, clients: &[Client]) {
    let create = [
        "api-keys",
        "create",
        "--user",
        "owner@home",
        "--scope",
        "all",
    ];
    let made = split.bowline(&create).unwrap();
    let administrator = TokenAdministrator::start(split, made["secret"].as_str().unwrap());
    for gateway in [1, 2] {
        let (nodes, _) = wait_for("nodes by token", SOON, || {
            let nodes = administrator.bowline(gateway, &["nodes", "list"]);
            nodes.map_err(|error| error.to_string())
        });
        assert_eq!(nodes.as_array().unwrap().len(), 2);
    }
    clients[0].wait_for_peers(&["c2"], SOON);
    administrator
        .bowline(1, &["nodes", "expire", "c2"])
        .unwrap();
    clients[1].wait_for_state("NeedsLogin", SOON);

    // Both gateways have seen the key work; a second later it works at neither.
    let id = made["key"]["id"].as_str().unwrap();
    split.bowline(&["api-keys", "revoke", id]).unwrap();
    for gateway in [1, 2] {
        let (refused, _) = wait_for("the key works no more", SECOND, || {
            match administrator.bowline(gateway, &["nodes", "list"]) {
                Ok(_) => Err("it works".to_owned()),
                Err(error) => Ok(error.to_string()),
            }
        });
        assert!(refused.contains("has ended"), "{refused}");
    }
}

fn certificates_administer_without_identity(split: &mut Split, clients: &[Client]) {
    split.kill9("identity");
    let expire = ["nodes", "expire", "c1", "--tailnet", "1"];
    split.bowline(&expire).unwrap();
    clients[0].wait_for_state("NeedsLogin", SOON);
    split.bowline(&["policy", "get", "--tailnet", "1"]).unwrap();
    // A name has to be looked up.
    let unknown = split.bowline(&["nodes", "expire", "c2", "--tailnet", "home"]);
    let said = unknown.unwrap_err().to_string();
    assert!(said.contains("can not be reached"), "{said}");
    split.start_service("identity").unwrap();
    wait_for("identity answers again", MINUTE, || {
        let users = split.bowline(&["users", "list"]);
        users.map_err(|error| error.to_string())
    });
}
