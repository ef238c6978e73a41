//! A private Docker engine on a host of a test network: its images, containers, bridges and packet filters are in
//! namespaces and a directory of its own, and go with it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bowline_test_servers::report_skipped;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Host, Process, server::program, wait_for};

/// What an engine needs from the machine.
const PROGRAMS: [&str; 7] = [
    "dockerd",
    "docker",
    "docker-compose",
    "iptables",
    "nsenter",
    "busybox",
    "prometheus",
];

/// What a container uses.
#[derive(Clone, Copy, Debug)]
pub struct ContainerUsage {
    /// Of the processor since its start, in seconds.
    pub cpu_seconds: f64,
    /// Its memory without the page cache, in MiB.
    pub mebibytes: f64,
}

/// A running engine.
#[derive(Debug)]
pub struct DockerEngine {
    // Before the directory, which holds all that the engine has.
    process: Process,
    cgroup: String,
    directory: TempDir,
}

impl DockerEngine {
    /// Starts an engine whose containers publish their ports on `host`; `None` where its programs are not installed.
    ///
    /// # Errors
    ///
    /// What hinders it; and in CI, where it has to run.
    pub fn start(host: &Host) -> Result<Option<Self>> {
        for program in PROGRAMS {
            let found = Command::new("sh")
                .args(["-c", "PATH=$PATH:/usr/sbin command -v \"$0\"", program])
                .output()?;
            if !found.status.success() {
                report_skipped(&format!("{program} is not installed"))?;
                return Ok(None);
            }
        }
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let cgroup = format!("bowline-test-{}", std::process::id());
        // Its processes, containers included, end with the first process of their namespace.
        let mut command = host.command_in_network("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["docker-init", "--", "dockerd"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--host", &format!("unix://{}", path("socket"))])
            .args(["--pidfile", &path("pid"), "--cgroup-parent", &cgroup]);
        let process = Process::start(&mut command, &directory.path().join("dockerd.log"))?;
        let engine = Self {
            process,
            cgroup,
            directory,
        };
        wait_for("the engine answers", Duration::from_secs(60), || {
            engine.run(&["version"]).map_err(|error| error.to_string())
        });
        Ok(Some(engine))
    }

    /// Returns the file of a name in the engine's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns a command that calls the engine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(repository()).env(
            "DOCKER_HOST",
            format!("unix://{}", self.path("socket").display()),
        );
        command
    }

    /// Runs `docker` and returns what it printed.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run(self.command("docker").args(arguments))
    }

    /// Makes the image of Bowline from the binaries beside this test, and stand-ins for the images of others.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn make_images(&self) -> Result<()> {
        let binaries = program("bowline")?;
        self.load_image(binaries.parent().context("no target directory")?)?;
        run(&mut self.command("tests/local-images")).map(drop)
    }

    /// Makes the image of Bowline from the binaries in a directory.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn load_image(&self, binaries: &Path) -> Result<()> {
        let archive = self.path("bowline.tar");
        run(self
            .command("deploy/image/build-local")
            .arg(binaries)
            .arg(&archive))?;
        run(self
            .command("docker")
            .args(["load", "--input"])
            .arg(&archive))?;
        fs::remove_file(archive)?;
        Ok(())
    }

    /// Fetches a page that a container serves, from the machine that the containers are on, trusting an authority.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn fetch(&self, url: &str, authority: Option<&Path>) -> Result<String> {
        let engine = self.first_process()?;
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &engine,
                "--net",
                "curl",
                "--silent",
                "--show-error",
            ])
            .args(["--fail", "--max-time", "5"]);
        if let Some(authority) = authority {
            command.arg("--cacert").arg(authority);
        }
        run(command.arg(url))
    }

    /// Returns what a container uses.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn usage(&self, container: &str) -> Result<ContainerUsage> {
        let url = format!("http://engine/containers/{container}/stats?stream=false&one-shot=true");
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--unix-socket"]);
        let text = run(command.arg(self.path("socket")).arg(url))?;
        let stats: Value = serde_json::from_str(&text)?;
        let figure = |path: &str| stats.pointer(path).and_then(Value::as_f64);
        let nanoseconds = figure("/cpu_stats/cpu_usage/total_usage").context("no CPU time")?;
        let memory = figure("/memory_stats/usage").context("no memory")?;
        // Of the first and the second version of control groups.
        let inactive = figure("/memory_stats/stats/total_inactive_file");
        let inactive = inactive.or_else(|| figure("/memory_stats/stats/inactive_file"));
        let bytes = memory - inactive.unwrap_or_default();
        Ok(ContainerUsage {
            cpu_seconds: nanoseconds / 1e9,
            mebibytes: bytes / f64::from(1 << 20),
        })
    }

    /// Ends the first process of a container as `kill -9` does: for the engine, it has crashed.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn crash(&self, container: &str) -> Result<()> {
        let number = self.run(&["inspect", "--format", "{{.State.Pid}}", container])?;
        let engine = self.first_process()?;
        run(Command::new("nsenter")
            .args(["--target", &engine, "--pid", "--mount", "kill", "-9"])
            .arg(number.trim()))
        .map(drop)
    }

    /// Returns the first process of the engine's namespace, by its number outside.
    fn first_process(&self) -> Result<String> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let first = children.split_whitespace().next();
        Ok(first.context("the engine does not run")?.to_owned())
    }
}

impl Drop for DockerEngine {
    fn drop(&mut self) {
        if let Ok(first) = self.first_process() {
            drop(Command::new("kill").args(["-9", &first]).status());
            // The process around ends when all in the namespace have.
            let mut is_there = true;
            for _ in 0..500 {
                is_there = self.process.has_ended().is_none();
                if !is_there {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            if is_there {
                println!("the engine does not end");
            }
        }
        let script = "find /sys/fs/cgroup -depth -type d -path \"*/$0*\" -exec rmdir {} +";
        drop(
            Command::new("sh")
                .args(["-c", script, &self.cgroup])
                .output(),
        );
    }
}

/// Returns the root of the repository.
fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?}: {}", String::from_utf8_lossy(&said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
