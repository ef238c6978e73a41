//! The gRPC contracts, as servers and clients of other releases have them.

use bowline_interface::assert_unchanged;
use bowline_proto::{DESCRIPTOR_SET, access};
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

#[test]
fn interface_of_contracts_is_unchanged() {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    let mut lines = Vec::new();
    for file in &set.file {
        if file.package().starts_with("bowline.") {
            write_file(&mut lines, file);
        }
    }
    assert_unchanged("contracts", &lines.join("\n"));
}

fn write_file(lines: &mut Vec<String>, file: &FileDescriptorProto) {
    lines.push(format!("file {} of {}", file.name(), file.package()));
    for extension in &file.extension {
        let line = field_line(extension, "");
        lines.push(format!("  extends {}: {line}", extension.extendee()));
    }
    for service in &file.service {
        write_service(lines, file.package(), service);
    }
    for message in &file.message_type {
        write_message(lines, "  ", message);
    }
    for names in &file.enum_type {
        write_enum(lines, "  ", names);
    }
    lines.push(String::new());
}

fn write_service(lines: &mut Vec<String>, package: &str, service: &ServiceDescriptorProto) {
    lines.push(format!("  service {}", service.name()));
    for method in &service.method {
        let path = format!("/{package}.{}/{}", service.name(), method.name());
        let rule = access::find_rule(&path).unwrap();
        let mut callers = format!("{:?}", rule.callers);
        for token in rule.tokens {
            let scope = token
                .scope
                .map_or("any".to_owned(), |scope| scope.to_string());
            let own = if token.own { ", else own" } else { "" };
            callers += &format!(", tokens for {scope} of {:?}{own}", token.roles);
        }
        let stream = |is_stream| if is_stream { "stream of " } else { "" };
        lines.push(format!(
            "    {}: {}{} -> {}{} for {callers}{}",
            method.name(),
            stream(method.client_streaming()),
            method.input_type(),
            stream(method.server_streaming()),
            method.output_type(),
            deprecated(
                method
                    .options
                    .as_ref()
                    .is_some_and(|options| options.deprecated())
            ),
        ));
    }
}

fn write_message(lines: &mut Vec<String>, indent: &str, message: &DescriptorProto) {
    lines.push(format!("{indent}message {}", message.name()));
    let inner = format!("{indent}  ");
    for field in &message.field {
        let oneof = field.oneof_index.filter(|_| !field.proto3_optional());
        let oneof = oneof.map(|index| &message.oneof_decl[usize::try_from(index).unwrap()]);
        let oneof = oneof.map_or(String::new(), |oneof| format!(" one of {}", oneof.name()));
        lines.push(format!("{inner}{}", field_line(field, &oneof)));
    }
    for range in &message.reserved_range {
        // The end is not in the range.
        lines.push(format!(
            "{inner}reserved {} to {}",
            range.start(),
            range.end() - 1
        ));
    }
    for name in &message.reserved_name {
        lines.push(format!("{inner}reserved {name}"));
    }
    for nested in &message.nested_type {
        write_message(lines, &inner, nested);
    }
    for names in &message.enum_type {
        write_enum(lines, &inner, names);
    }
}

fn field_line(field: &FieldDescriptorProto, oneof: &str) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    let kind = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().to_owned(),
        plain => plain
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    };
    let is_deprecated = field
        .options
        .as_ref()
        .is_some_and(|options| options.deprecated());
    let (number, name) = (field.number(), field.name());
    format!(
        "{number} {name}: {label}{kind}{oneof}{}",
        deprecated(is_deprecated)
    )
}

fn write_enum(lines: &mut Vec<String>, indent: &str, names: &EnumDescriptorProto) {
    lines.push(format!("{indent}enum {}", names.name()));
    for value in &names.value {
        lines.push(format!("{indent}  {} {}", value.number(), value.name()));
    }
}

fn deprecated(is_deprecated: bool) -> &'static str {
    if is_deprecated { " (deprecated)" } else { "" }
}
