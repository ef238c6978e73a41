//! A private Keycloak: an identity provider.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Process, mortal};
use crate::{port, report_skipped};

/// How long it takes to start, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Its administrator's name and password.
const ADMIN: &str = "admin";

/// A Keycloak of its own with one realm, which it keeps in memory.
#[derive(Debug)]
pub struct KeycloakServer {
    port: u16,
    realm: String,
    _process: Process,
    _directory: TempDir,
}

impl KeycloakServer {
    /// Starts a Keycloak with the realm that a file describes; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// `tests/run` puts it into the directory that `KEYCLOAK_DIR` names.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(realm_name: &str, realm: &str) -> Result<Option<Self>> {
        let Some(home) = installed() else {
            report_skipped("Keycloak is not installed, see tests/run")?;
            return Ok(None);
        };
        let (directory, port) = (TempDir::new()?, port::free()?);
        let import = directory.path().join("data/import");
        fs::create_dir_all(&import)?;
        fs::write(import.join(format!("{realm_name}.json")), realm)?;
        for part in ["bin", "conf", "lib", "providers", "themes"] {
            std::os::unix::fs::symlink(home.join(part), directory.path().join(part))?;
        }
        let mut command = mortal(Path::new("java"), None);
        command.envs([
            ("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN),
            ("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN),
        ]);
        let set = |name: &str, value: &Path| format!("-D{name}={}", value.display());
        command
            .arg(set("kc.home.dir", directory.path()))
            .arg(set("jboss.server.config.dir", &directory.path().join("conf")))
            .arg("-Djava.util.logging.manager=org.jboss.logmanager.LogManager")
            .arg("-Dquarkus-log-max-startup-records=10000")
            .arg("-Dkc.config.built=true")
            .arg("-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory")
            .args(["-XX:TieredStopAtLevel=1", "-Xmx768m", "-cp"])
            .arg(home.join("lib/quarkus-run.jar"))
            .arg("io.quarkus.bootstrap.runner.QuarkusEntryPoint")
            .args(["start", "--optimized", "--import-realm", "--http-enabled=true", "--hostname-strict=false"])
            .args(["--http-host=127.0.0.1", &format!("--http-port={port}")]);
        let log = directory.path().join("log");
        let path = format!("/realms/{realm_name}/.well-known/openid-configuration");
        let process = Process::start_within(PATIENCE, command, &log, || {
            port::answers(port, &path).unwrap_or(false)
        })?;
        Ok(Some(Self {
            port,
            realm: realm_name.to_owned(),
            _process: process,
            _directory: directory,
        }))
    }

    /// Returns where it is reached, without the realm.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the name of the realm.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Returns its administrator's name, which is the password, too.
    #[must_use]
    pub fn admin(&self) -> &'static str {
        ADMIN
    }

    /// Returns the issuer of the realm.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}/realms/{}", self.port, self.realm)
    }
}

fn installed() -> Option<PathBuf> {
    let home = env::var_os("KEYCLOAK_DIR")?;
    let home = PathBuf::from(home);
    home.join("lib/quarkus-run.jar").is_file().then_some(home)
}
