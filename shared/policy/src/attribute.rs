//! What is known of devices, for postures (policy section 18).

use std::collections::BTreeMap;

/// What is known of a device, by attribute: `node:os`, `node:tsVersion`, `custom:tier`.
pub type Attributes = BTreeMap<String, AttributeValue>;

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A text or a version.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// Texts.
    Text,
    /// Numbers.
    Number,
    /// True or false.
    Bool,
}

impl AttributeKind {
    const NAMES: [(&str, Self); 3] = [
        ("string", Self::Text),
        ("number", Self::Number),
        ("bool", Self::Bool),
    ];

    /// Reads a type as `attrConfig` names it.
    pub(crate) fn with_name(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        Some(names.find(|(known, _)| *known == name)?.1)
    }

    /// Returns its name in `attrConfig`.
    pub(crate) fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

impl AttributeValue {
    pub(crate) fn kind(&self) -> AttributeKind {
        match self {
            Self::Text(_) => AttributeKind::Text,
            Self::Number(_) => AttributeKind::Number,
            Self::Bool(_) => AttributeKind::Bool,
        }
    }
}

/// What a policy says of a custom attribute (policy section 18.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredAttribute {
    /// The type of its values, if the policy fixes it.
    pub kind: Option<AttributeKind>,
    /// Whether nodes may set it for themselves.
    pub is_set_by_node: bool,
}

/// The attributes that [`device_attributes`] can return. Clients report more of themselves, but policies are not told.
pub(crate) const KNOWN: [&str; 6] = [
    "node:os",
    "node:osVersion",
    "node:tsVersion",
    "node:tsReleaseTrack",
    "node:tsAutoUpdate",
    "node:tsStateEncrypted",
];

/// What a client reports of its device that postures ask about.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportedDevice<'d> {
    /// The operating system.
    pub os: &'d str,
    /// The version of the operating system.
    pub os_version: &'d str,
    /// The client's version.
    pub client_version: &'d str,
    /// Whether the client lets itself be updated; `None` where it is not known.
    pub auto_update: Option<bool>,
    /// Whether the client keeps its keys encrypted; `None` where it is not known.
    pub state_encrypted: Option<bool>,
}

/// Returns the attributes that postures ask about (policy section 18.3), from what a client reports.
#[must_use]
pub fn device_attributes(device: ReportedDevice<'_>) -> Attributes {
    let text = |text: &str| (!text.is_empty()).then(|| AttributeValue::Text(text.to_owned()));
    // Clients append the build to the number: "1.102.5-tabcdef".
    let version = device.client_version.split('-').next().unwrap_or_default();
    let minor = version.split('.').nth(1);
    let minor = minor.and_then(|minor| minor.parse::<u32>().ok());
    let track = minor.map_or("", |minor| match minor % 2 {
        0 => "stable",
        _ => "unstable",
    });
    let [
        os,
        os_version,
        ts_version,
        release_track,
        auto_update,
        state_encrypted,
    ] = KNOWN;
    let found = [
        (os, text(&device.os.to_lowercase())),
        (os_version, text(device.os_version)),
        (ts_version, text(version)),
        (release_track, text(track)),
        (auto_update, device.auto_update.map(AttributeValue::Bool)),
        (
            state_encrypted,
            device.state_encrypted.map(AttributeValue::Bool),
        ),
    ];
    found
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

#[cfg(test)]
mod tests;
