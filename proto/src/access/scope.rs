//! What tokens are for: an area, to read or to change.

use std::{fmt, str::FromStr};

/// A part of the administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Every area, those that come later included.
    All,
    /// Pre-auth keys.
    AuthKeys,
    /// OAuth clients.
    OAuthKeys,
    /// API keys.
    ApiAccessTokens,
    /// Devices, but for changes of their routes and attributes.
    DevicesCore,
    /// Routes of devices.
    DevicesRoutes,
    /// What postures ask of devices.
    DevicesPostureAttributes,
    /// Users, groups and logins.
    Users,
    /// The policy.
    PolicyFile,
    /// DNS.
    Dns,
    /// Settings of the tailnet.
    FeatureSettings,
    /// Settings of the tailnet's addresses.
    NetworkingSettings,
    /// How people log in.
    AccountSettings,
    /// The audit trails.
    LogsConfiguration,
    /// Addresses that are told what happens.
    Webhooks,
}

impl Area {
    /// All areas.
    pub const ALL: [Self; 15] = [
        Self::All,
        Self::AuthKeys,
        Self::OAuthKeys,
        Self::ApiAccessTokens,
        Self::DevicesCore,
        Self::DevicesRoutes,
        Self::DevicesPostureAttributes,
        Self::Users,
        Self::PolicyFile,
        Self::Dns,
        Self::FeatureSettings,
        Self::NetworkingSettings,
        Self::AccountSettings,
        Self::LogsConfiguration,
        Self::Webhooks,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::AuthKeys => "auth_keys",
            Self::OAuthKeys => "oauth_keys",
            Self::ApiAccessTokens => "api_access_tokens",
            Self::DevicesCore => "devices:core",
            Self::DevicesRoutes => "devices:routes",
            Self::DevicesPostureAttributes => "devices:posture_attributes",
            Self::Users => "users",
            Self::PolicyFile => "policy_file",
            Self::Dns => "dns",
            Self::FeatureSettings => "feature_settings",
            Self::NetworkingSettings => "networking_settings",
            Self::AccountSettings => "account_settings",
            Self::LogsConfiguration => "logs:configuration",
            Self::Webhooks => "webhooks",
        }
    }
}

/// What a token is for: `devices:core`, or `devices:core:read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    area: Area,
    only_reads: bool,
}

/// A text that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope \"{0}\"; there are: {list}, each also with :read behind it", list = list_areas())]
pub struct UnknownScope(pub String);

fn list_areas() -> String {
    Area::ALL.map(Area::as_str).join(", ")
}

impl Scope {
    /// Returns the scope to change and to read.
    #[must_use]
    pub const fn to_change(area: Area) -> Self {
        Self {
            area,
            only_reads: false,
        }
    }

    /// Returns the scope to read.
    #[must_use]
    pub const fn to_read(area: Area) -> Self {
        Self {
            area,
            only_reads: true,
        }
    }

    /// Says whether who has this scope also has the other.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        let has_area = self.area == Area::All || self.area == other.area;
        has_area && (other.only_reads || !self.only_reads)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.only_reads { ":read" } else { "" };
        write!(formatter, "{}{end}", self.area.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let (name, only_reads) = match text.strip_suffix(":read") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let area = Area::ALL.into_iter().find(|area| area.as_str() == name);
        let area = area.ok_or_else(|| UnknownScope(text.to_owned()))?;
        Ok(Self { area, only_reads })
    }
}

/// The scopes of a token, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Returns these scopes.
    #[must_use]
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        Self(scopes)
    }

    /// Reads scopes.
    ///
    /// # Errors
    ///
    /// The first text that is none.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownScope> {
        let scopes = texts.into_iter().map(str::parse);
        Ok(Self::new(scopes.collect::<Result<Vec<_>, _>>()?))
    }

    /// Returns the scope for everything.
    #[must_use]
    pub fn everything() -> Self {
        Self(vec![Scope::to_change(Area::All)])
    }

    /// Says whether there is one that includes this.
    #[must_use]
    pub fn include(&self, scope: Scope) -> bool {
        self.0.iter().any(|own| own.includes(scope))
    }

    /// Returns those that are included in none of these.
    #[must_use]
    pub fn without(&self, granted: &Self) -> Self {
        let missing = self.0.iter().copied();
        Self(missing.filter(|scope| !granted.include(*scope)).collect())
    }

    /// Says whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns each.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// Returns their texts.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_texts().join(" "))
    }
}

#[cfg(test)]
mod tests;
