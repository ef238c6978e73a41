//! The containers of a file in `deploy/compose`, on a private engine.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{DockerEngine, docker, wait_for};

/// Running containers.
#[derive(Debug)]
pub struct ComposeStack {
    engine: DockerEngine,
    file: &'static str,
    overlay: Option<&'static str>,
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
            overlay: None,
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
            .args(["--project-name", "bowline", "--file"])
            .arg(format!("deploy/compose/{}", self.file))
            .args(self.overlay.iter().flat_map(|name| {
                let path = format!("deploy/compose/{name}");
                ["--file".to_owned(), path]
            }))
            .args(arguments)
            .env("BOWLINE_ADDRESS", &self.address)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Adds another file, in place of the one that was added before, and what it needs to be told.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub fn add(
        &mut self,
        overlay: &'static str,
        environment: &[(&'static str, &str)],
    ) -> Result<()> {
        let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        self.overlay = Some(overlay);
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
        let container = self.container(service)?;
        let format = "{{.State.StartedAt}} {{.State.Health.Status}}";
        let state = || {
            self.engine
                .run(&["inspect", "--format", format, &container])
        };
        let before = state()?;
        let began = before.split(' ').next().unwrap_or_default().to_owned();
        self.engine.crash(&container)?;
        let what = format!("{service} is healthy again");
        wait_for(&what, Duration::from_secs(120), || {
            let now = state().map_err(|error| error.to_string())?;
            let is_new = !now.starts_with(&began);
            match is_new && now.trim().ends_with(" healthy") {
                true => Ok(()),
                false => Err(now),
            }
        });
        Ok(())
    }

    /// Returns a figure of a service's metrics: the sum over all labels.
    ///
    /// # Errors
    ///
    /// When it can not be asked.
    pub fn metric(&self, service: &str, name: &str) -> Result<f64> {
        let container = self.container(service)?;
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let addresses = self
            .engine
            .run(&["inspect", "--format", format, &container])?;
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
