//! A person's browser, without scripts: cookies, links and forms, by curl on the server's host.

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::Host;

/// A browser with cookies of its own.
#[derive(Debug)]
pub struct WebBrowser<'a> {
    host: &'a Host,
    origin: String,
    directory: TempDir,
}

impl<'a> WebBrowser<'a> {
    /// Opens a browser for the pages of one origin.
    ///
    /// # Errors
    ///
    /// When it has nowhere to keep its cookies.
    pub fn new(host: &'a Host, origin: &str) -> Result<Self> {
        Ok(Self {
            host,
            origin: origin.to_owned(),
            directory: TempDir::new()?,
        })
    }

    /// Opens an address, and returns the page that it leads to.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn open(&self, url: &str) -> Result<String> {
        self.send(url, &[])
    }

    /// Sends a form to an address, and returns the page that it leads to.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn submit(&self, url: &str, fields: &[(&str, &str)]) -> Result<String> {
        let mut arguments = vec![
            "-H".to_owned(),
            format!("Origin: {}", self.origin),
            "--data".to_owned(),
            String::new(),
        ];
        for (name, value) in fields {
            arguments.extend(["--data-urlencode".to_owned(), format!("{name}={value}")]);
        }
        self.send(url, &arguments)
    }

    /// Presses one of the two buttons of the page that asks for a decision.
    ///
    /// # Errors
    ///
    /// When the page has none.
    pub fn press(&self, page: &str, decision: &str) -> Result<String> {
        let action = find_attribute(page, "action=\"")?;
        let token = find_attribute(page, "name=\"token\" value=\"")?;
        let url = format!("{}{action}", self.origin);
        self.submit(&url, &[("token", token), ("decision", decision)])
    }

    fn send(&self, url: &str, arguments: &[String]) -> Result<String> {
        let jar = self.directory.path().join("cookies");
        let output = self
            .host
            .command("curl")
            .args(["--silent", "--show-error", "--location", "--max-time", "60"])
            .args(["--noproxy", "*"])
            .arg("--cookie")
            .arg(&jar)
            .arg("--cookie-jar")
            .arg(&jar)
            .args(arguments)
            .arg(url)
            .output()?;
        if !output.status.success() {
            bail!("{url}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn find_attribute<'p>(page: &'p str, begin: &str) -> Result<&'p str> {
    let (_, rest) = page
        .split_once(begin)
        .with_context(|| format!("no {begin} in {page}"))?;
    Ok(rest.split('"').next().unwrap_or_default())
}
