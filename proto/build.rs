//! Compiles the contracts without a system protoc, and turns the declared callers into a table.

use std::{env, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;
use protox::{Compiler, prost_reflect::DescriptorPool};

const FILES: [&str; 3] = [
    "bowline/identity/v1/identity_service.proto",
    "bowline/key_registry/v1/key_registry_service.proto",
    "bowline/policy/v1/policy_service.proto",
];

/// Messages that carry a secret: their `Debug` is written by hand, in `src/redacted.rs`.
const SECRETIVE: [&str; 8] = [
    "bowline.identity.v1.BeginLoginAttemptResponse",
    "bowline.identity.v1.CreateConnectionRequest",
    "bowline.identity.v1.FinishOidcLoginRequest",
    "bowline.identity.v1.FormField",
    "bowline.identity.v1.TakeSamlResponseRequest",
    "bowline.identity.v1.UpdateConnectionRequest",
    "bowline.key_registry.v1.RegisterRequest",
    "bowline.key_registry.v1.CreatePreAuthKeyResponse",
];

#[expect(
    clippy::disallowed_methods,
    reason = "this is how cargo tells where to"
)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=bowline");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = Compiler::new(["."])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    fs::write(
        out.join("access.rs"),
        access_table(&compiler.descriptor_pool())?,
    )?;
    tonic_prost_build::configure()
        .build_transport(false)
        .skip_debug(SECRETIVE)
        .compile_fds(descriptors)?;
    Ok(())
}

/// Writes one line for each RPC: its path and who may call it.
fn access_table(pool: &DescriptorPool) -> Result<String, Box<dyn std::error::Error>> {
    let callers = pool
        .get_extension_by_name("bowline.access.v1.callers")
        .ok_or("the callers option is not declared")?;
    let mut table = String::from("static RULES: &[(&str, &[CallerKind])] = &[\n");
    for method in pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let options = method.options();
        let kinds = options.get_extension(&callers);
        let kinds: Vec<_> = kinds
            .as_list()
            .into_iter()
            .flatten()
            .filter_map(protox::prost_reflect::Value::as_enum_number)
            .map(kind_name)
            .collect::<Result<_, _>>()?;
        if kinds.is_empty() {
            return Err(format!("{path} does not declare who may call it").into());
        }
        writeln!(table, "    (\"{path}\", &[{}]),", kinds.join(", "))?;
    }
    table.push_str("];\n");
    Ok(table)
}

fn kind_name(number: i32) -> Result<&'static str, String> {
    Ok(match number {
        1 => "CallerKind::Admin",
        2 => "CallerKind::Gateway",
        3 => "CallerKind::KeyRegistry",
        4 => "CallerKind::Identity",
        5 => "CallerKind::PolicyCompiler",
        6 => "CallerKind::Relay",
        other => return Err(format!("kind of caller {other} is not known")),
    })
}
