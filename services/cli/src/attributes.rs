//! `bowline attributes`: what postures of the policy ask of devices.

use bowline_policy::{AttributeValue, Attributes, ReportedDevice, device_attributes};
use bowline_proto::{
    key_registry::v1::{
        AttributeToSet, CustomAttribute, CustomValue, ListNodeAttributesRequest, NodeAttributes,
        NodeAttributesUpdate, SetNodeAttributesRequest, attribute_to_set::Expiry,
        custom_value::Kind, node_service_client::NodeServiceClient,
    },
    time::to_timestamp,
};
use bowline_service_kit::GrpcChannel;
use chrono::DateTime;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::{
    administer::{self, TailnetArg},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::{Printer, Row},
    time,
};

/// What to do with attributes.
#[derive(Debug, Subcommand)]
pub enum AttributesCommand {
    /// Set custom attributes of a device, all or none; what was said of them before is replaced.
    Set(SetArgs),
    /// Remove custom attributes of a device.
    Remove {
        /// The device's name or number.
        node: String,
        /// Such as custom:tier.
        #[arg(required = true)]
        attributes: Vec<String>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
    /// List the custom attributes of all devices; of one device also what its client reports.
    List {
        /// The device's name or number.
        node: Option<String>,
        #[command(flatten)]
        tailnet: TailnetArg,
    },
}

/// What to set.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The device's name or number.
    node: String,
    /// Such as custom:tier=gold; true and false are of type bool, numbers of type number, all else is of type string.
    #[arg(required = true, value_name = "ATTRIBUTE=VALUE", value_parser = parse_assignment)]
    attributes: Vec<(String, String)>,
    /// When they end: a duration from now such as 10m, or a time such as 2030-01-31T12:00:00Z; never when not given.
    #[arg(long, value_parser = parse_end)]
    expires: Option<Expiry>,
    /// Why they are set.
    #[arg(long, default_value = "")]
    comment: String,
    /// The type of the values, where it is not to be guessed.
    #[arg(long = "type", value_enum)]
    kind: Option<ValueType>,
    #[command(flatten)]
    tailnet: TailnetArg,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ValueType {
    /// A text.
    String,
    /// A number.
    Number,
    /// true or false.
    Bool,
}

/// An attribute as shown.
#[derive(Debug, Serialize)]
struct AttributeRow {
    node_id: u64,
    node: String,
    #[serde(flatten)]
    attribute: AttributeView,
}

/// An attribute without its device, as shown.
#[derive(Debug, Serialize)]
pub struct AttributeView {
    name: String,
    value: Value,
    expires_at: Option<String>,
    comment: String,
}

impl AttributeView {
    /// Returns a custom attribute as shown.
    pub fn new(attribute: CustomAttribute) -> Self {
        let value = read_value(attribute.value.as_ref());
        Self {
            value: value.map_or(Value::Null, attribute_json),
            name: attribute.name,
            expires_at: time::time_text(attribute.expires_at),
            comment: attribute.comment,
        }
    }

    /// Returns it as it is set.
    pub fn assignment(&self) -> String {
        format!("{}={}", self.name, self.value_text())
    }

    fn value_text(&self) -> String {
        match &self.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl Row for AttributeRow {
    const HEADS: &'static [&'static str] = &["node", "attribute", "value", "ends", "comment"];

    fn table_cells(&self) -> Vec<String> {
        let AttributeView {
            name,
            expires_at,
            comment,
            ..
        } = &self.attribute;
        vec![
            self.node.clone(),
            name.clone(),
            self.attribute.value_text(),
            expires_at.clone().unwrap_or_default(),
            comment.clone(),
        ]
    }
}

fn read_value(value: Option<&CustomValue>) -> Option<AttributeValue> {
    Some(match value?.kind.as_ref()? {
        Kind::Text(text) => AttributeValue::Text(text.clone()),
        Kind::Number(number) => AttributeValue::Number(*number),
        Kind::Flag(flag) => AttributeValue::Bool(*flag),
    })
}

/// Returns a value in JSON; a whole number without a fraction.
pub fn attribute_json(value: AttributeValue) -> Value {
    /// Up to here each whole number is one of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        AttributeValue::Text(text) => Value::from(text),
        AttributeValue::Number(number) if number.fract() == 0.0 && number.abs() < EXACT => {
            // It is whole, and within the range.
            format!("{number:.0}")
                .parse::<i64>()
                .map_or(Value::Null, Value::from)
        }
        AttributeValue::Number(number) => Value::from(number),
        AttributeValue::Bool(flag) => Value::from(flag),
    }
}

/// Returns all that postures can ask of a device.
pub fn known_attributes(device: ReportedDevice<'_>, custom: &[CustomAttribute]) -> Attributes {
    let mut known = device_attributes(device);
    known.extend(custom.iter().filter_map(|attribute| {
        let value = read_value(attribute.value.as_ref())?;
        Some((attribute.name.clone(), value))
    }));
    known
}

fn parse_assignment(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = parts.ok_or_else(|| {
        format!("\"{text}\" is no attribute with a value, such as custom:tier=gold")
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_end(text: &str) -> Result<Expiry, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Expiry::ExpiresAt(to_timestamp(time.to_utc())));
    }
    let after = time::parse_duration(text)
        .map_err(|problem| format!("{problem}, nor a time such as 2030-01-31T12:00:00Z"))?;
    Ok(Expiry::ExpiresAfter(time::whole_seconds(after)))
}

/// Reads a value, of the type that is given or that it looks like.
fn parse_value(text: &str, kind: Option<ValueType>) -> Result<Kind, Failure> {
    let flag = text.parse::<bool>().ok().map(Kind::Flag);
    // Words such as "nan" and "infinity" are read as numbers, too, and are none here.
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    let number = number.map(Kind::Number);
    let wrong = |what: &str| {
        let text = format!("\"{text}\" is {what}");
        Failure::new(FailureKind::Failed, text)
    };
    match kind {
        None => Ok(flag
            .or(number)
            .unwrap_or_else(|| Kind::Text(text.to_owned()))),
        Some(ValueType::String) => Ok(Kind::Text(text.to_owned())),
        Some(ValueType::Number) => number.ok_or_else(|| wrong("no number")),
        Some(ValueType::Bool) => flag.ok_or_else(|| wrong("neither true nor false")),
    }
}

/// Runs a command.
pub async fn run(
    command: AttributesCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    match command {
        AttributesCommand::Set(args) => {
            let mut set = Vec::with_capacity(args.attributes.len());
            for (name, text) in args.attributes {
                let kind = Some(parse_value(&text, args.kind)?);
                set.push(AttributeToSet {
                    name,
                    value: Some(CustomValue { kind }),
                    expiry: args.expires,
                    comment: args.comment.clone(),
                });
            }
            let update = NodeAttributesUpdate {
                set,
                ..NodeAttributesUpdate::default()
            };
            change_attributes(connection, printer, &args.tailnet, &args.node, update).await
        }
        AttributesCommand::Remove {
            node,
            attributes,
            tailnet,
        } => {
            let update = NodeAttributesUpdate {
                remove: attributes,
                ..NodeAttributesUpdate::default()
            };
            change_attributes(connection, printer, &tailnet, &node, update).await
        }
        AttributesCommand::List { node, tailnet } => {
            let tailnet_id = tailnet.find_id(connection).await?;
            let nodes = list_attributes(connection, tailnet_id).await?;
            let rows: Vec<_> = match node {
                Some(name) => reported_rows(find_node(&nodes, &name)?),
                None => nodes.into_iter().flat_map(custom_rows).collect(),
            };
            printer.print_rows(&rows);
            Ok(())
        }
    }
}

/// Changes a device's attributes, and shows those that it has then.
async fn change_attributes(
    connection: &ConnectionArgs,
    printer: &Printer,
    tailnet: &TailnetArg,
    node: &str,
    update: NodeAttributesUpdate,
) -> Result<(), Failure> {
    let tailnet_id = tailnet.find_id(connection).await?;
    let nodes = list_attributes(connection, tailnet_id).await?;
    let node = find_node(&nodes, node)?;
    let request = SetNodeAttributesRequest {
        tailnet_id,
        updates: vec![NodeAttributesUpdate {
            node_id: node.node_id,
            ..update
        }],
    };
    let answer = node_service(connection)?
        .set_node_attributes(request)
        .await?;
    let nodes = answer.into_inner().nodes.into_iter();
    printer.print_rows(&nodes.flat_map(custom_rows).collect::<Vec<_>>());
    Ok(())
}

fn node_service(connection: &ConnectionArgs) -> Result<NodeServiceClient<GrpcChannel>, Failure> {
    let client = NodeServiceClient::new(connection.connect_to_registry()?);
    Ok(client.max_decoding_message_size(1 << 30))
}

async fn list_attributes(
    connection: &ConnectionArgs,
    tailnet_id: u64,
) -> Result<Vec<NodeAttributes>, Failure> {
    let request = ListNodeAttributesRequest {
        tailnet_id,
        node_id: 0,
    };
    let listed = node_service(connection)?
        .list_node_attributes(request)
        .await?;
    Ok(listed.into_inner().nodes)
}

fn find_node(nodes: &[NodeAttributes], name: &str) -> Result<NodeAttributes, Failure> {
    let called = nodes
        .iter()
        .map(|node| (node.name.as_str(), node.node_id, node));
    let found = administer::pick_one("node", name, called)?;
    found.cloned().ok_or_else(|| {
        let text = format!("there is no node \"{name}\": bowline nodes list");
        Failure::new(FailureKind::NotFound, text)
    })
}

fn custom_rows(node: NodeAttributes) -> Vec<AttributeRow> {
    let (node_id, name) = (node.node_id, node.name);
    let row = |attribute| AttributeRow {
        node_id,
        node: name.clone(),
        attribute: AttributeView::new(attribute),
    };
    node.attributes.into_iter().map(row).collect()
}

/// Returns the custom attributes of a device, and what its client reports.
fn reported_rows(node: NodeAttributes) -> Vec<AttributeRow> {
    let device = ReportedDevice {
        os: &node.os,
        os_version: &node.os_version,
        client_version: &node.client_version,
        auto_update: node.auto_update,
        state_encrypted: node.state_encrypted,
    };
    let reported = device_attributes(device)
        .into_iter()
        .map(|(name, value)| AttributeRow {
            node_id: node.node_id,
            node: node.name.clone(),
            attribute: AttributeView {
                name,
                value: attribute_json(value),
                expires_at: None,
                comment: String::new(),
            },
        });
    let reported: Vec<_> = reported.collect();
    let mut rows = custom_rows(node);
    rows.extend(reported);
    rows
}

#[cfg(test)]
mod tests;
