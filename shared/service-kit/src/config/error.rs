//! What can be wrong with a configuration.

/// Why a configuration can not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A key and its `_file` twin are both there.
    #[error("{place}: \"{key}\" is given twice, directly and as \"{key}_file\"; remove one")]
    Both {
        /// Where.
        place: String,
        /// The key.
        key: String,
    },
    /// A file can not be read.
    #[error("configuration file {path} can not be read")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or a value does not fit.
    #[error("{place}: {message}")]
    Invalid {
        /// Where.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// The file of an `_file` key can not be read.
    #[error("{place}: the file of \"{key}\" can not be read")]
    SecretFile {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No part knows this key.
    #[error("{place}: unknown key \"{key}\"{}", suggest_name(nearest.as_deref()))]
    UnknownKey {
        /// Where.
        place: String,
        /// The key.
        key: String,
        /// A known key that looks like it.
        nearest: Option<String>,
    },
}

fn suggest_name(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
}
