//! The sample settings in `deploy/` name every setting there is, and no other.

use std::{fs, path::PathBuf};

use bowline_identity::IdentityConfig;
use bowline_key_registry::RegistryConfig;
use bowline_netmap_gateway::GatewayConfig;
use bowline_service_kit::{
    AuditConfig, AuditStoreConfig,
    certificates::CertificateFiles,
    config,
    process::{AdminConfig, NoSettings, ProcessConfig},
    telemetry::TelemetryConfig,
};
use bowline_standalone::{AcmeConfig, Config, RelayConfig};
use serde::{
    Deserialize, Deserializer, de::DeserializeOwned, de::Visitor, de::value::Error,
    forward_to_deserialize_any,
};

/// A sample, as it is and with the settings that are commented out.
struct Sample {
    name: &'static str,
    text: String,
}

impl Sample {
    fn read(name: &'static str) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let text = fs::read_to_string(path.join(name)).expect("a sample");
        Self { name, text }
    }

    /// Returns the text with the settings that are commented out.
    fn with_optional_settings(&self) -> String {
        let lines = self.text.lines().map(|line| match line.strip_prefix("# ") {
            Some(setting) if is_setting(setting) => setting,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Reads the sample as a process does.
    fn parse<T: DeserializeOwned>(&self) {
        for text in [self.text.clone(), self.with_optional_settings()] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            fs::write(file.path(), text).expect("the file is written");
            let problem = config::load::<T>(Some(file.path()), []).err();
            let problem = problem.map(|error| bowline_service_kit::error_text(&error));
            assert_eq!(problem, None, "deploy/{}", self.name);
        }
    }

    /// Asserts that a table of the sample has each setting of a type, but for some.
    fn names_all<T: for<'de> Deserialize<'de>>(&self, table: &str, but: &[&str]) {
        let settings = self.with_optional_settings();
        let mut current = "";
        let mut named = Vec::new();
        for line in settings.lines() {
            if let Some(rest) = line.strip_prefix('[') {
                current = rest.split(']').next().expect("a part before it");
            } else if current == table && is_setting(line) {
                named.push(line.split(' ').next().expect("a name"));
            }
        }
        for field in fields::<T>() {
            let is_there = named.contains(field) || but.contains(field);
            assert!(is_there, "deploy/{}: [{table}] lacks {field}", self.name);
        }
    }
}

fn is_setting(line: &str) -> bool {
    let name = line.split_once(" = ").map_or("", |(name, _)| name);
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Returns the names of a struct's fields, as `serde` has them.
fn fields<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Ask<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Ask<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("it is no struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            Err(serde::de::Error::custom("only the names were asked for"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut found: &'static [&'static str] = &[];
    assert!(
        T::deserialize(Ask(&mut found)).is_err(),
        "nothing was given"
    );
    assert!(!found.is_empty(), "it is a struct");
    found
}

/// What every process has; `but` are the settings at the top that this one does without.
fn check_process<S: DeserializeOwned + Default>(sample: &Sample, but: &[&str]) {
    sample.parse::<ProcessConfig<S>>();
    let tables = ["admin", "audit", "certificates", "service", "telemetry"];
    sample.names_all::<ProcessConfig<S>>("", &[but, &tables].concat());
    sample.names_all::<CertificateFiles>("certificates", &[]);
    sample.names_all::<TelemetryConfig>("telemetry", &[]);
}

/// What every owner exports.
fn check_audit(sample: &Sample) {
    sample.names_all::<AuditConfig>("audit", &["s3"]);
    sample.names_all::<AuditStoreConfig>("audit.s3", &[]);
}

#[test]
fn sample_of_identity_is_complete() {
    let own = ["identity"];
    let sample = Sample::read("identity.toml");
    check_process::<IdentityConfig>(&sample, &own);
    sample.names_all::<IdentityConfig>("service", &[]);
    check_audit(&sample);
}

#[test]
fn sample_of_the_key_registry_is_complete() {
    let sample = Sample::read("key-registry.toml");
    check_process::<RegistryConfig>(&sample, &["key_registry"]);
    sample.names_all::<RegistryConfig>("service", &[]);
    check_audit(&sample);
}

#[test]
fn sample_of_the_policy_compiler_is_complete() {
    let sample = Sample::read("policy-compiler.toml");
    check_process::<NoSettings>(&sample, &["policy_compiler"]);
    check_audit(&sample);
}

#[test]
fn sample_of_a_gateway_is_complete() {
    let sample = Sample::read("netmap-gateway.toml");
    check_process::<GatewayConfig>(&sample, &["database"]);
    sample.names_all::<AdminConfig>("admin", &[]);
    sample.names_all::<GatewayConfig>("service", &["acme"]);
    sample.names_all::<AcmeConfig>("service.acme", &[]);
}

#[test]
fn sample_of_one_process_is_complete() {
    let sample = Sample::read("bowline.toml");
    sample.parse::<Config>();
    check_audit(&sample);
    let tables = [
        "admin",
        "audit",
        "gateway",
        "identity",
        "registry",
        "relay",
        "telemetry",
    ];
    sample.names_all::<Config>("", &tables);
    sample.names_all::<AdminConfig>("admin", &[]);
    sample.names_all::<GatewayConfig>("gateway", &["acme"]);
    sample.names_all::<AcmeConfig>("gateway.acme", &[]);
    sample.names_all::<IdentityConfig>("identity", &[]);
    sample.names_all::<RegistryConfig>("registry", &[]);
    sample.names_all::<RelayConfig>("relay", &[]);
    sample.names_all::<TelemetryConfig>("telemetry", &[]);
}
