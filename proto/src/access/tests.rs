use super::*;
use crate::identity::v1::{ListUsersRequest, UpdateTailnetRequest, UpdateUserRequest, User};

fn user(role: Role, scopes: &str) -> Principal {
    Principal {
        tailnet_id: 7,
        holder: TokenBearer::User {
            id: 3,
            login_name: "amira@example.com".to_owned(),
            role,
        },
        scopes: Scopes::parse(scopes.split(' ')).expect("scopes"),
        credential: CredentialKind::ApiKey,
        credential_id: "0123456789ab".to_owned(),
    }
}

fn rule(path: &str) -> &'static RpcRule {
    find_rule(path).expect("a rule")
}

const LIST_NODES: &str = "/bowline.key_registry.v1.NodeService/ListNodes";
const EXPIRE_NODE: &str = "/bowline.key_registry.v1.NodeService/ExpireNode";
const UPDATE_TAILNET: &str = "/bowline.identity.v1.TailnetService/UpdateTailnet";
const CREATE_TAILNET: &str = "/bowline.identity.v1.TailnetService/CreateTailnet";
const RESOLVE_TAILNET: &str = "/bowline.identity.v1.IdentityService/ResolveTailnet";

#[test]
fn role_and_scope_decide_together() {
    let check = |role, scopes: &str, path| user(role, scopes).check_call(rule(path));
    assert_eq!(check(Role::Admin, "all", EXPIRE_NODE), Ok(Reach::Tailnet));
    assert_eq!(
        check(Role::ItAdmin, "devices:core", EXPIRE_NODE),
        Ok(Reach::Tailnet)
    );
    assert_eq!(check(Role::Auditor, "all", LIST_NODES), Ok(Reach::Tailnet));
    assert_eq!(check(Role::Auditor, "all", EXPIRE_NODE), Ok(Reach::Own));
    assert_eq!(check(Role::Member, "all", LIST_NODES), Ok(Reach::Own));
    assert_eq!(
        check(Role::Member, "dns", RESOLVE_TAILNET),
        Ok(Reach::Tailnet)
    );
    let refused = check(Role::Admin, "devices:core:read", EXPIRE_NODE).expect_err("a refusal");
    assert_eq!(
        refused.to_string(),
        "the token is for devices:core:read, and this needs devices:core"
    );
    assert_eq!(
        check(Role::Member, "all", UPDATE_TAILNET),
        Err(Denial::Role("member"))
    );
    assert_eq!(
        check(Role::Owner, "all", CREATE_TAILNET),
        Err(Denial::OperatorsOnly)
    );
    // One of several rules is enough, and it must be one rule that fits whole.
    assert_eq!(
        check(Role::NetworkAdmin, "dns", UPDATE_TAILNET),
        Ok(Reach::Tailnet)
    );
    assert_eq!(
        check(Role::ItAdmin, "dns", UPDATE_TAILNET),
        Err(Denial::Role("it-admin"))
    );
}

#[test]
fn request_names_the_own_tailnet_or_gets_it() {
    let read = |path: &str, request: Vec<u8>| {
        let name_tailnet = rule(path).name_tailnet.expect("a reader");
        name_tailnet(&request, 7)
    };
    let list = "/bowline.identity.v1.UserService/ListUsers";
    let other = ListUsersRequest {
        tailnet_id: 8,
        ..ListUsersRequest::default()
    }
    .encode_to_vec();
    assert_eq!(read(list, other), Ok((8, None)));
    let own = ListUsersRequest {
        tailnet_id: 7,
        ..ListUsersRequest::default()
    }
    .encode_to_vec();
    assert_eq!(read(list, own.clone()), Ok((7, None)));
    assert_eq!(read(list, Vec::new()), Ok((7, Some(own))));
    // Within the object that is changed, where the last of several counts, as it does for the handler.
    let change = "/bowline.identity.v1.UserService/UpdateUser";
    let of = |tailnet_id| {
        let user = User {
            tailnet_id,
            ..User::default()
        };
        UpdateUserRequest {
            user: Some(user),
            update_mask: None,
        }
        .encode_to_vec()
    };
    assert_eq!(
        read(change, [of(7), of(8)].concat()).expect("a request").0,
        8
    );
    assert_eq!(read(change, Vec::new()).expect("a request").1, Some(of(7)));
    let empty = UpdateTailnetRequest::default().encode_to_vec();
    assert_eq!(read(UPDATE_TAILNET, empty).expect("a request").0, 7);
    assert!(read(list, vec![0xFF]).is_err(), "no message");
}

#[test]
fn each_rpc_for_tokens_has_a_reader_of_its_tailnet() {
    for rule in rules() {
        assert_eq!(
            rule.tokens.is_empty(),
            rule.name_tailnet.is_none(),
            "{}",
            rule.path
        );
        assert!(
            rule.tokens.is_empty() || rule.callers.contains(&CallerKind::Admin),
            "{}",
            rule.path
        );
    }
}

/// The tests of these owners send each such call twice.
#[test]
fn every_change_of_an_administrator_takes_an_idempotency_key() {
    let for_administrators = rules()
        .iter()
        .filter(|rule| rule.callers.contains(&CallerKind::Admin));
    for rule in for_administrators {
        let (package, method) = rule.path.rsplit_once('/').expect("a method");
        let reads = [
            "Await", "Check", "Describe", "Explain", "Get", "List", "Preview", "Resolve", "Test",
            "Verify",
        ];
        let is_read = method != "TestWebhook" && reads.iter().any(|verb| method.starts_with(verb));
        assert_eq!(rule.takes_idempotency_key(), !is_read, "{}", rule.path);
        let owners = ["identity", "key_registry", "policy"];
        let is_of = |owner| package.starts_with(&format!("/bowline.{owner}.v1."));
        assert!(is_read || owners.into_iter().any(is_of), "{}", rule.path);
    }
}

#[test]
fn audit_trail_names_user_and_key() {
    let by = user(Role::Admin, "all");
    assert_eq!(
        by.to_string(),
        "user:amira@example.com/api-key:0123456789ab"
    );
    let by = Principal {
        holder: TokenBearer::Client { tags: Vec::new() },
        credential: CredentialKind::AccessToken,
        ..by
    };
    assert_eq!(by.to_string(), "oauth-client:0123456789ab");
}
