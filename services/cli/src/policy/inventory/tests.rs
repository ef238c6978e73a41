use std::io::Write as _;

use super::*;

const INVENTORY: &str = r#"{"users": [{"login_name": "Ana@corp.test", "role": "owner", "groups": ["ops@corp.test"]}],
        "groups": ["empty"],
        "nodes": [{"name": "a", "user": "ana@corp.test", "addresses": ["100.64.0.1"], "attributes": {"node:os": "linux"}},
                  {"name": "b", "tags": ["tag:Web"], "addresses": ["100.64.0.2"]}]}"#;

fn judged(document: &str) -> [Vec<String>; 2] {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(INVENTORY.as_bytes()).expect("a file");
    let known = load_inventory(file.path()).expect("an inventory");
    let verdict = judge_document(document, Some(&known));
    let messages = |problems: Vec<bowline_policy::Problem>| {
        let problems = problems.into_iter();
        problems.map(|problem| problem.message).collect()
    };
    [messages(verdict.problems), messages(verdict.warnings)]
}

#[test]
fn documents_are_judged_with_the_users_domains_and_groups_of_the_inventory() {
    let rule = r#""tagOwners": {"tag:web": ["group:ops@corp.test"]}, "postures": {"posture:p": ["node:os == 'linux'"]},
            "acls": [{"action": "accept", "src": ["ANA@corp.test"], "dst": ["tag:web:22"], "srcPosture": ["posture:p"]}]"#;
    let document =
        format!(r#"{{{rule}, "tests": [{{"src": "ana@Corp.test", "accept": ["tag:web:22"]}}]}}"#);
    assert_eq!(judged(&document), [const { Vec::<String>::new() }; 2]);
    let foreign =
        r#"{"acls": [{"action": "accept", "src": ["user:*@other.test"], "dst": ["*:*"]}]}"#;
    assert!(judged(foreign)[0][0].contains("other.test is not associated with this Tailnet"));
    let nobody = r#"{"acls": [{"action": "accept", "src": ["group:dev"], "dst": ["*:*"]}]}"#;
    assert_eq!(judged(nobody)[0], ["src=group not found: \"group:dev\""]);
    let empty = r#"{"acls": [{"action": "accept", "src": ["group:empty"], "dst": ["*:*"]}]}"#;
    assert_eq!(judged(empty), [const { Vec::<String>::new() }; 2]);
    let unknown = r#"{"postures": {"posture:p": ["ip:country == 'CH'"]}}"#;
    let [problems, warnings] = judged(unknown);
    assert!(problems.is_empty() && warnings[0].contains("is never set here"));
}
