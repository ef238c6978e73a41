//! The containers of a file in `deploy/compose`, on a private engine.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{ContainerUsage, DockerEngine, Process, docker, server::program, wait_for};

/// The names of volumes and networks begin with it.
pub(crate) const PROJECT: &str = "bowline";
/// How long a container may take until it is healthy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Running containers.
#[derive(Debug)]
pub struct ComposeStack {
    engine: DockerEngine,
    file: &'static str,
    overlays: Vec<&'static str>,
    environment: Vec<(&'static str, String)>,
    address: String,
}

impl ComposeStack {
    /// Makes the images and starts the containers of a file, as an operator does for clients that come by `address`.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn start(engine: DockerEngine, file: &'static str, address: &str) -> Result<Self> {
        engine.make_images()?;
        let address = address.to_owned();
        let stack = Self {
            engine,
            file,
            overlays: Vec::new(),
            environment: Vec::new(),
            address,
        };
        stack.run(&["up", "-d"])?;
        Ok(stack)
    }

    /// Returns the URL that clients are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:8443", self.address)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.engine.command("docker-compose");
        command
            .args(["--project-name", PROJECT, "--file"])
            .arg(format!("deploy/compose/{}", self.file))
            .args(self.overlays.iter().flat_map(|name| {
                let path = format!("deploy/compose/{name}");
                ["--file".to_owned(), path]
            }))
            .args(arguments)
            .env("BOWLINE_ADDRESS", &self.address)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Adds other files, in place of those that were added before, and what they need to be told.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn add(
        &mut self,
        overlays: &[&'static str],
        environment: &[(&'static str, &str)],
    ) -> Result<()> {
        let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        self.overlays = overlays.to_vec();
        self.environment = environment.iter().map(owned).collect();
        self.run(&["up", "-d", "--remove-orphans"]).map(drop)
    }

    /// Fetches a page from the machine that the containers are on, trusting an authority.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn fetch(&self, url: &str, authority: Option<&Path>) -> Result<String> {
        self.engine.fetch(url, authority)
    }

    /// Runs `docker-compose` and returns what it printed.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        docker::run(&mut self.command(arguments))
    }

    /// Runs `docker-compose` and writes what it prints to a file.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn run_into(&self, arguments: &[&str], file: &Path) -> Result<()> {
        let output = self
            .command(arguments)
            .stdout(std::fs::File::create(file)?)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(())
    }

    /// Makes the image from the programs of another release: services run it when they are started by `up` from here on.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn change_image(&self, binaries: &Path) -> Result<()> {
        self.engine.load_image(binaries)
    }

    /// Gives the image a further name, by which it can be used again.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn keep_image(&self, name: &str) -> Result<()> {
        let kept = format!("bowline:{name}");
        self.engine.run(&["tag", "bowline:latest", &kept]).map(drop)
    }

    /// Uses an image that was kept, as `change_image` does.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn use_image(&self, name: &str) -> Result<()> {
        let kept = format!("bowline:{name}");
        self.engine.run(&["tag", &kept, "bowline:latest"]).map(drop)
    }

    /// Deletes a volume that no container uses.
    ///
    /// # Errors
    ///
    /// When one uses it.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let volume = format!("{PROJECT}_{name}");
        self.engine.run(&["volume", "rm", &volume]).map(drop)
    }

    /// Takes a service off a network: it runs on, and hears of nobody there.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn disconnect(&self, service: &str, network: &str) -> Result<()> {
        let (container, network) = (self.container(service)?, format!("{PROJECT}_{network}"));
        let disconnect = ["network", "disconnect", &network, &container];
        self.engine.run(&disconnect).map(drop)
    }

    /// Runs the command line in a container, as the files say, and returns its JSON.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn bowline(&self, arguments: &[&str]) -> Result<Value> {
        let begin: &[&str] = match self.file {
            "single.yml" => &["exec", "-T", "bowline", "/usr/local/bin/bowline"],
            _ => &["run", "--rm", "-T", "bowline"],
        };
        let text = self.run(&[begin, &["--output", "json"], arguments].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Copies the certificate that clients have to trust out of a container.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn authority(&self, service: &str, path: &str) -> Result<PathBuf> {
        let copy = self.engine.path("clients-ca.pem");
        let from = format!("{}:{path}", self.container(service)?);
        self.engine
            .run(&["cp", &from, &copy.display().to_string()])?;
        Ok(copy)
    }

    /// Returns a service's container.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn container(&self, service: &str) -> Result<String> {
        let text = self.run(&["ps", "-q", service])?;
        let first = text.split_whitespace().next();
        Ok(first
            .with_context(|| format!("no container of {service}"))?
            .to_owned())
    }

    /// Returns all containers as the engine describes them.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub fn containers(&self) -> Result<Vec<Value>> {
        let names = self.engine.run(&["ps", "--all", "--quiet"])?;
        let names: Vec<_> = names.split_whitespace().collect();
        let text = self.engine.run(&[&["inspect"], &names[..]].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Ends the process of a service at once and waits until the engine has started it again and it is healthy.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn crash(&self, service: &str) -> Result<()> {
        let before = self.started_at(service)?;
        self.engine.crash(&self.container(service)?)?;
        wait_for(&format!("{service} runs again"), PATIENCE, || {
            let now = self.started_at(service);
            match now.map_err(|error| error.to_string())? {
                now if now == before => Err(now),
                _ => Ok(()),
            }
        });
        self.wait_until_healthy(service);
        Ok(())
    }

    /// Returns when the engine started a service's container.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn started_at(&self, service: &str) -> Result<String> {
        self.inspect(service, "{{.Id}} {{.State.StartedAt}}")
    }

    /// Waits until a service is healthy.
    pub fn wait_until_healthy(&self, service: &str) {
        wait_for(&format!("{service} is healthy"), PATIENCE, || {
            let health = self.inspect(service, "{{.State.Health.Status}}");
            match health.map_err(|error| error.to_string())?.trim() {
                "healthy" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
    }

    /// Returns what the engine says of a service's container.
    fn inspect(&self, service: &str, format: &str) -> Result<String> {
        let container = self.container(service)?;
        self.engine
            .run(&["inspect", "--format", format, &container])
    }

    /// Returns what a service's container uses.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn usage(&self, service: &str) -> Result<ContainerUsage> {
        self.engine.usage(&self.container(service)?)
    }

    /// Starts `bowline-load` in a container that is the balancer's neighbour on its loopback interface, and reaches the services
    /// as an administrator. What it says goes to a file of the engine.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn start_load(&self, arguments: &[&str]) -> Result<Process> {
        let balancer = self.container("balancer")?;
        self.engine.run(&[
            "network",
            "connect",
            &format!("{PROJECT}_services"),
            &balancer,
        ])?;
        let authority = self.authority("gateway-1", "/etc/bowline/tls/ca.pem")?;
        let mount = |path: &Path, at: &str| format!("{}:{at}:ro", path.display());
        let mut command = self.engine.command("docker");
        command
            .args(["run", "--rm", "--network", &format!("container:{balancer}")])
            .args(["--volume", &mount(&program("bowline-load")?, "/load")])
            .args(["--volume", &mount(&authority, "/ca.pem")])
            .args(["--volume", &format!("{PROJECT}_admin:/etc/bowline:ro")])
            .args(["--entrypoint", "/load", "bowline:latest"])
            .args(["--gateway", &self.url(), "--gateway-ca", "/ca.pem"])
            .args(["--certificates", "/etc/bowline/certificates", "--owners"])
            .arg("identity.internal:7101,key-registry.internal:7102,policy-compiler.internal:7103")
            .args(arguments);
        Process::start(&mut command, &self.engine.path("load.log"))
    }

    /// Returns a figure of a service's metrics: the sum over all labels.
    ///
    /// # Errors
    ///
    /// When it can not be asked.
    pub fn metric(&self, service: &str, name: &str) -> Result<f64> {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let addresses = self.inspect(service, format)?;
        let address = addresses.split_whitespace().next().context("no address")?;
        let text = self
            .engine
            .fetch(&format!("http://{address}:9090/metrics"), None)?;
        let figures = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let values = figures.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }
}
