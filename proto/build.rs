//! Compiles the contracts without a system protoc, and turns what it declares of callers into a table.

use std::{env, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;
use protox::{
    Compiler,
    prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value},
};

const FILES: [&str; 6] = [
    "bowline/identity/v1/identity_service.proto",
    "bowline/identity/v1/scim_service.proto",
    "bowline/identity/v1/session_service.proto",
    "bowline/identity/v1/webhook_service.proto",
    "bowline/key_registry/v1/key_registry_service.proto",
    "bowline/policy/v1/policy_service.proto",
];

/// Messages that carry a secret: their `Debug` is written by hand, in `src/redacted.rs`.
const SECRETIVE: [&str; 45] = [
    "bowline.identity.v1.AcceptInvitationRequest",
    "bowline.identity.v1.AcceptInvitationResponse",
    "bowline.identity.v1.AuthenticateTokenRequest",
    "bowline.identity.v1.BeginLoginAttemptRequest",
    "bowline.identity.v1.BeginLoginAttemptResponse",
    "bowline.identity.v1.BeginPasskeyRequest",
    "bowline.identity.v1.CloseSessionRequest",
    "bowline.identity.v1.CloseSessionResponse",
    "bowline.identity.v1.CreateApiKeyResponse",
    "bowline.identity.v1.CreateConnectionRequest",
    "bowline.identity.v1.CreateInvitationResponse",
    "bowline.identity.v1.CreateOAuthClientResponse",
    "bowline.identity.v1.CreateScimResourceRequest",
    "bowline.identity.v1.CreateScimTokenResponse",
    "bowline.identity.v1.CreateWebhookResponse",
    "bowline.identity.v1.DeleteOwnPasskeyRequest",
    "bowline.identity.v1.DeleteScimResourceRequest",
    "bowline.identity.v1.EndOwnSessionRequest",
    "bowline.identity.v1.EndProviderLoginRequest",
    "bowline.identity.v1.FinishOidcLoginRequest",
    "bowline.identity.v1.FinishPasskeyRequest",
    "bowline.identity.v1.FormField",
    "bowline.identity.v1.GetInvitationRequest",
    "bowline.identity.v1.GetScimResourceRequest",
    "bowline.identity.v1.GetSessionRequest",
    "bowline.identity.v1.IssueAccessTokenRequest",
    "bowline.identity.v1.IssueAccessTokenResponse",
    "bowline.identity.v1.ListLoginChoicesRequest",
    "bowline.identity.v1.ListOwnPasskeysRequest",
    "bowline.identity.v1.ListOwnSessionsRequest",
    "bowline.identity.v1.ListScimResourcesRequest",
    "bowline.identity.v1.OpenProgramSessionRequest",
    "bowline.identity.v1.OpenProgramSessionResponse",
    "bowline.identity.v1.OpenSessionResponse",
    "bowline.identity.v1.PatchScimResourceRequest",
    "bowline.identity.v1.ReplaceScimResourceRequest",
    "bowline.identity.v1.RotateWebhookSecretResponse",
    "bowline.identity.v1.StartProgramLoginResponse",
    "bowline.identity.v1.TakeSamlResponseRequest",
    "bowline.identity.v1.UpdateConnectionRequest",
    "bowline.key_registry.v1.BootstrapLockResponse",
    "bowline.key_registry.v1.CreatePreAuthKeyResponse",
    "bowline.key_registry.v1.DisableLockRequest",
    "bowline.key_registry.v1.FinishLockRequest",
    "bowline.key_registry.v1.RegisterRequest",
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

/// Writes the rule of each RPC. One that says `idempotency_level = NO_SIDE_EFFECTS`, or whose tokens are all to read, changes
/// nothing.
fn access_table(pool: &DescriptorPool) -> Result<String, Box<dyn std::error::Error>> {
    let option = |name: &str| {
        let full_name = format!("bowline.access.v1.{name}");
        pool.get_extension_by_name(&full_name)
            .ok_or_else(|| format!("the option {full_name} is not declared"))
    };
    let (callers, tokens, operators) = (
        option("callers")?,
        option("tokens")?,
        option("operators_only")?,
    );
    let mut table = String::from("static RULES: &[RpcRule] = &[\n");
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
            .filter_map(Value::as_enum_number)
            .map(kind_name)
            .collect::<Result<_, _>>()?;
        let rules = options.get_extension(&tokens);
        let rules: Vec<_> = rules
            .as_list()
            .into_iter()
            .flatten()
            .filter_map(Value::as_message)
            .map(|rule| token_rule(&path, rule))
            .collect::<Result<_, _>>()?;
        let is_for_operators = options.get_extension(&operators).as_bool() == Some(true);
        let has_effects = options
            .get_field_by_name("idempotency_level")
            .is_none_or(|level| level.as_enum_number() != Some(NO_SIDE_EFFECTS));
        let only_reads = !rules.is_empty() && rules.iter().all(|rule| rule.contains("::to_read("));
        let changes_state = has_effects && !only_reads;
        let problem = match (kinds.contains(&ADMIN), rules.is_empty(), is_for_operators) {
            _ if kinds.is_empty() => "does not declare who may call it",
            (true, true, false) => {
                "does not declare which tokens may call it: none is `operators_only`"
            }
            (false, false, _) | (false, _, true) => "declares administrators who are no callers",
            (_, false, true) => "is for operators only, and for tokens",
            _ if !rules.is_empty() && method.is_client_streaming() => {
                "serves tokens and streams requests"
            }
            _ => "",
        };
        if !problem.is_empty() {
            return Err(format!("{path} {problem}").into());
        }
        let tailnet = match rules.is_empty() {
            true => "None".to_owned(),
            false => tailnet_reader(&path, &method.input())?,
        };
        writeln!(
            table,
            "    RpcRule {{ path: \"{path}\", callers: &[{}], tokens: &[{}], name_tailnet: {tailnet}, changes_state: {changes_state} }},",
            kinds.join(", "),
            rules.join(", ")
        )?;
    }
    table.push_str("];\n");
    Ok(table)
}

/// Writes which tokens may call an RPC.
fn token_rule(path: &str, rule: &DynamicMessage) -> Result<String, String> {
    let (scope, roles, own) = (
        rule.get_field_by_name("scope"),
        rule.get_field_by_name("roles"),
        rule.get_field_by_name("own"),
    );
    let scope = scope.as_deref().and_then(Value::as_str).unwrap_or_default();
    let scope = match scope {
        "any" => "None".to_owned(),
        other => {
            let (name, form) = match other.strip_suffix(":read") {
                Some(name) => (name, "to_read"),
                None => (other, "to_change"),
            };
            let area =
                area_name(name).ok_or_else(|| format!("{path}: scope {other:?} is not known"))?;
            format!("Some(Scope::{form}(Area::{area}))")
        }
    };
    let numbers = roles
        .as_deref()
        .and_then(Value::as_list)
        .into_iter()
        .flatten();
    let roles: Vec<_> = numbers
        .filter_map(Value::as_enum_number)
        .map(role_name)
        .collect::<Result<_, _>>()?;
    let own = own.as_deref().and_then(Value::as_bool) == Some(true);
    if roles.is_empty() {
        return Err(format!("{path} names no role for tokens"));
    }
    let roles = roles.join(", ");
    Ok(format!(
        "TokenRule {{ scope: {scope}, roles: &[{roles}], own: {own} }}"
    ))
}

/// Writes how the tailnet is found that a request names: in a field of its own, or of the object that the request carries.
fn tailnet_reader(path: &str, request: &MessageDescriptor) -> Result<String, String> {
    let place = match request.get_field_by_name("tailnet_id") {
        Some(_) => "tailnet_id".to_owned(),
        None => {
            let mut objects = request.fields().filter_map(|field| {
                let Kind::Message(object) = field.kind() else {
                    return None;
                };
                let id = match object.full_name() {
                    "bowline.identity.v1.Tailnet" => "id",
                    _ => object
                        .get_field_by_name("tailnet_id")
                        .map(|_| "tailnet_id")?,
                };
                (!field.is_list()).then(|| format!("{}.get_or_insert_default().{id}", field.name()))
            });
            match (objects.next(), objects.next()) {
                (Some(place), None) => place,
                _ => {
                    return Err(format!(
                        "{path} serves tokens, and its request names no tailnet"
                    ));
                }
            }
        }
    };
    let message = request
        .full_name()
        .trim_start_matches("bowline.")
        .replace('.', "::");
    Ok(format!(
        "Some(|bytes, own| fill_tailnet(bytes, own, |request: &mut crate::{message}| &mut request.{place}))"
    ))
}

fn area_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "auth_keys" => "AuthKeys",
        "oauth_keys" => "OAuthKeys",
        "api_access_tokens" => "ApiAccessTokens",
        "devices:core" => "DevicesCore",
        "devices:routes" => "DevicesRoutes",
        "devices:posture_attributes" => "DevicesPostureAttributes",
        "users" => "Users",
        "policy_file" => "PolicyFile",
        "dns" => "Dns",
        "feature_settings" => "FeatureSettings",
        "networking_settings" => "NetworkingSettings",
        "account_settings" => "AccountSettings",
        "logs:configuration" => "LogsConfiguration",
        "webhooks" => "Webhooks",
        _ => return None,
    })
}

fn role_name(number: i32) -> Result<&'static str, String> {
    Ok(match number {
        1 => "Role::Member",
        2 => "Role::Owner",
        3 => "Role::Admin",
        4 => "Role::ItAdmin",
        5 => "Role::NetworkAdmin",
        6 => "Role::BillingAdmin",
        7 => "Role::Auditor",
        other => return Err(format!("role {other} is not known")),
    })
}

/// The standard option of an RPC that only reads (`google.protobuf.MethodOptions.idempotency_level`).
const NO_SIDE_EFFECTS: i32 = 1;

/// What stands for an operator in the table.
const ADMIN: &str = "CallerKind::Admin";

fn kind_name(number: i32) -> Result<&'static str, String> {
    Ok(match number {
        1 => ADMIN,
        2 => "CallerKind::Gateway",
        3 => "CallerKind::KeyRegistry",
        4 => "CallerKind::Identity",
        5 => "CallerKind::PolicyCompiler",
        6 => "CallerKind::Relay",
        other => return Err(format!("kind of caller {other} is not known")),
    })
}
