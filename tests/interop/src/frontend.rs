//! Real proxies in front of a server, with the very lines that operators are given.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use bowline_test_servers::report_skipped;

use crate::{Host, Process, inside};

const OPERATORS: &str = include_str!("../../../deploy/README.md");

/// A proxy that operators are told how to set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frontend {
    /// TLS ends at nginx.
    Nginx,
    /// TLS ends at `HAProxy`.
    Haproxy,
    /// `HAProxy` passes bytes on, with a header before them.
    HaproxyTcp,
}

impl Frontend {
    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy | Self::HaproxyTcp => "haproxy",
        }
    }

    /// Does what [`inside`] does, where the proxy is installed; `None` where it is not, after that was said.
    ///
    /// # Panics
    ///
    /// When the test inside fails; and in CI, where the proxy has to be installed.
    #[must_use]
    pub fn inside(self, test: &str, clients: usize) -> Option<Vec<Host>> {
        if !self.is_installed() {
            let reason = format!("{} is not installed", self.program());
            report_skipped(&reason).expect("all proxies are there");
            return None;
        }
        inside(test, clients)
    }

    fn is_installed(self) -> bool {
        let found = Command::new("sh")
            .args([
                "-c",
                &format!("PATH=$PATH:/usr/sbin command -v {}", self.program()),
            ])
            .output();
        found.is_ok_and(|found| found.status.success())
    }

    /// Returns the lines that operators are given, for other ports and files.
    fn lines(self, directory: &Path) -> Result<String> {
        let fence = match self {
            Self::Nginx => "```nginx\n",
            Self::Haproxy => "```haproxy\n",
            Self::HaproxyTcp => "```haproxy-tcp\n",
        };
        let (_, rest) = OPERATORS.split_once(fence).context("no such lines")?;
        let (lines, _) = rest.split_once("```").context("no end")?;
        let file = |name: &str| directory.join(name).display().to_string();
        Ok(lines
            .replace("listen 443", "listen 8443")
            .replace("bind :443", "bind :8443")
            .replace("10.0.0.11:8443", "127.0.0.1:8080")
            .replace("/etc/haproxy/vpn.example.com.pem", &file("both.pem"))
            .replace("/etc/ssl/vpn.example.com.pem", &file("certificate.pem"))
            .replace("/etc/ssl/vpn.example.com.key", &file("key.pem")))
    }

    /// Starts the proxy at port 8443, in front of a server at 127.0.0.1:8080. The directory holds `certificate.pem` and
    /// `key.pem`.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(self, directory: &Path) -> Result<Process> {
        let path = |name: &str| directory.join(name).display().to_string();
        let both = [path("certificate.pem"), path("key.pem")].map(fs::read_to_string);
        let [certificate, key] = both;
        fs::write(path("both.pem"), certificate? + &key?)?;
        let lines = self.lines(directory)?;
        let settings = path("proxy.conf");
        let mut command = Command::new("sh");
        let around = match self {
            Self::Nginx => {
                let scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {};\n", path(name)))
                    .concat();
                command.args(["-c", "PATH=$PATH:/usr/sbin exec nginx -c \"$0\"", &settings]);
                format!(
                    "user root;\ndaemon off;\npid {};\nerror_log stderr;\nevents {{}}\n\
                     http {{\naccess_log off;\n{scratch}{lines}}}\n",
                    path("pid")
                )
            }
            Self::Haproxy | Self::HaproxyTcp => {
                command.args([
                    "-c",
                    "PATH=$PATH:/usr/sbin exec haproxy -db -f \"$0\"",
                    &settings,
                ]);
                lines
            }
        };
        fs::write(&settings, around)?;
        Process::start(&mut command, directory.join("proxy.log").as_path())
    }
}
