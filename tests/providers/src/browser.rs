//! A browser without scripts: cookies, links and forms, by curl.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A browser with cookies of its own.
#[derive(Debug)]
pub struct TestBrowser {
    directory: TempDir,
    /// The certificate authority that it trusts, when that is none of the machine's.
    authority: Option<PathBuf>,
}

/// What a browser was answered.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Where it is redirected to; empty when it is not.
    pub location: String,
    /// The text.
    pub body: String,
}

impl TestBrowser {
    /// Opens a browser that knows no cookies.
    #[must_use]
    pub fn open() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            authority: None,
        }
    }

    /// Opens a browser that trusts a certificate authority.
    #[must_use]
    pub fn open_trusting(authority: PathBuf) -> Self {
        Self {
            authority: Some(authority),
            ..Self::open()
        }
    }

    /// Gets an address, and follows no redirect.
    #[must_use]
    pub fn get(&self, url: &str) -> Page {
        self.send(&[url])
    }

    /// Sends a form as a page of this origin does.
    #[must_use]
    pub fn post(&self, url: &str, origin: &str, fields: &[(&str, &str)]) -> Page {
        let origin = format!("Origin: {origin}");
        // Also without a field it is a form.
        let mut arguments = ["-H", &origin, "--data", ""].map(str::to_owned).to_vec();
        for (number, (name, value)) in fields.iter().enumerate() {
            // Longer than a command line takes.
            let file = self.directory.path().join(format!("field-{number}"));
            std::fs::write(&file, value).unwrap();
            let field = format!("{name}@{}", file.display());
            arguments.extend(["--data-urlencode".to_owned(), field]);
        }
        arguments.push(url.to_owned());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.send(&arguments)
    }

    /// Posts a text as a program does.
    #[must_use]
    pub fn post_text(&self, url: &str, text: &str) -> Page {
        self.send(&["--data-raw", text, url])
    }

    fn send(&self, arguments: &[&str]) -> Page {
        let jar = self.directory.path().join("cookies");
        let output = Command::new("curl")
            .args([
                "--silent",
                "--include",
                "--max-time",
                "60",
                "--noproxy",
                "*",
                "--cookie",
            ])
            .arg(&jar)
            .arg("--cookie-jar")
            .arg(&jar)
            .args(
                self.authority
                    .iter()
                    .flat_map(|path| [Path::new("--cacert"), path]),
            )
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{arguments:?}: {output:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_location = |line: &&str| line.to_ascii_lowercase().starts_with("location:");
        let location = head
            .lines()
            .find(is_location)
            .map_or("", |line| line["location:".len()..].trim());
        Page {
            status,
            location: location.to_owned(),
            body: body.to_owned(),
        }
    }
}

impl Page {
    /// Returns the value of the first attribute that begins so, such as `action="`.
    #[must_use]
    pub fn attribute(&self, begin: &str) -> String {
        let (_, rest) = self
            .body
            .split_once(begin)
            .unwrap_or_else(|| panic!("no {begin} in {}", self.body));
        let (value, _) = rest.split_once('"').unwrap();
        let mut value = value.to_owned();
        for (entity, character) in [
            ("&#38;", "&"),
            ("&amp;", "&"),
            ("&#x3D;", "="),
            ("&#61;", "="),
        ] {
            value = value.replace(entity, character);
        }
        value
    }

    /// Asserts what is shown.
    pub fn assert_shows(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(text), "{text} is not in {}", self.body);
    }
}
