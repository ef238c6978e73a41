//! Documents and their versions.

use bowline_proto::{
    key_registry::v1::RegisterRequest,
    policy::v1::{
        CheckPolicyRequest, GetPolicyRequest, JudgeNodeRequest, ListPolicyVersionsRequest,
        PreviewPolicyRequest, SetPolicyResponse,
        policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use bowline_service_kit::GrpcChannel;
use bowline_test_support::on_both;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::compiler::{DEADLINE, TestCompiler};

on_both!(TestCompiler::start =>
    lost_race_is_refused_and_nothing_is_overwritten,
    refused_document_leaves_the_last_good_one_in_force,
    failing_tests_refuse_the_save_and_say_which,
    warnings_come_with_what_is_stored_and_refuse_where_they_are_to,
    groups_that_there_are_may_be_named_and_others_may_not,
    what_an_older_release_stored_stays_in_force,
    each_version_is_audited_and_nothing_else,
    texts_that_are_not_utf8_are_refused,
    hostile_documents_are_refused_by_name,
);

async fn lost_race_is_refused_and_nothing_is_overwritten(compiler: TestCompiler) {
    let first = compiler
        .try_set_policy(r#"{"acls": []} // one"#, Some(0))
        .await
        .unwrap();
    assert_eq!(first.version.unwrap().version, 1);
    let lost = compiler
        .try_set_policy(r#"{"acls": []} // two"#, Some(0))
        .await
        .unwrap_err();
    assert_eq!(lost.code(), Code::FailedPrecondition);
    assert!(
        lost.message().contains("version 1 is in force, not 0"),
        "{lost:?}"
    );
    let tries = (0..8).map(|number| {
        let compiler = &compiler;
        async move {
            compiler
                .try_set_policy(&format!(r#"{{"acls": []}} // try {number}"#), Some(1))
                .await
        }
    });
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let list = async |before| {
        let request = ListPolicyVersionsRequest {
            tailnet_id: compiler.tailnet,
            before,
        };
        let answer = compiler.policies().list_policy_versions(request).await;
        answer.unwrap().into_inner().versions
    };
    let older = list(2).await;
    assert_eq!((older.len(), older[0].version), (1, 1));
    let versions = list(0).await;
    assert_eq!(
        versions
            .iter()
            .map(|version| version.version)
            .collect::<Vec<_>>(),
        [2, 1]
    );
    assert!(
        versions
            .iter()
            .all(|version| version.author.contains("test") && version.created_at.is_some())
    );
    let first = GetPolicyRequest {
        tailnet_id: compiler.tailnet,
        version: 1,
    };
    let kept = compiler
        .policies()
        .get_policy(first)
        .await
        .unwrap()
        .into_inner()
        .version
        .unwrap();
    assert_eq!(kept.text, r#"{"acls": []} // one"#);
}

async fn refused_document_leaves_the_last_good_one_in_force(compiler: TestCompiler) {
    compiler
        .try_set_policy(r#"{"acls": []}"#, None)
        .await
        .unwrap();
    let answer = compiler
        .try_set_policy("{\n  \"aclz\": []}", None)
        .await
        .unwrap();
    assert!(answer.version.is_none());
    let problem = &answer.problems[0];
    assert_eq!((problem.line, problem.column), (2, 3));
    assert_eq!(problem.message, "unknown field: \"aclz\"");
    assert!(problem.hint.contains("acls"));
    assert_eq!(compiler.policy_in_force().await.version, 1);
}

async fn failing_tests_refuse_the_save_and_say_which(compiler: TestCompiler) {
    let node = compiler.register_router(1, "10.0.0.0/8").await;
    let document = |port: u16| {
        format!(
            r#"{{"acls": [{{"action": "accept", "src": ["*"], "dst": ["*:22"]}}],
"tests": [{{"src": "amira@example.com", "accept": ["{}:{port}"]}}]}}"#,
            node.ipv4
        )
    };
    // What the registry acknowledged the compiler hears a moment later.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while compiler
        .try_set_policy(&document(22), None)
        .await
        .unwrap()
        .version
        .is_none()
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the node is never heard of"
        );
        tokio::task::yield_now().await;
    }
    let refused = compiler.try_set_policy(&document(23), None).await.unwrap();
    assert_eq!(refused.problems[0].line, 2);
    assert!(
        refused.problems[0].message.starts_with("test(s) failed"),
        "{refused:?}"
    );
}

async fn warnings_come_with_what_is_stored_and_refuse_where_they_are_to(compiler: TestCompiler) {
    let document = r#"{"postures": {"posture:mac": [
  "ip:country == 'DE'"]}}"#;
    let check = CheckPolicyRequest {
        tailnet_id: compiler.tailnet,
        text: document.to_owned(),
    };
    let checked = compiler.policies().check_policy(check).await;
    let checked = checked.unwrap().into_inner();
    let stored = compiler.try_set_policy(document, None).await.unwrap();
    assert_eq!(stored.version.unwrap().version, 1);
    let preview = PreviewPolicyRequest {
        tailnet_id: compiler.tailnet,
        text: document.to_owned(),
    };
    let preview = compiler.policies().preview_policy(preview).await;
    let previewed = preview.unwrap().into_inner().warnings;
    for (problems, warnings) in [
        (checked.problems, checked.warnings),
        (stored.problems, stored.warnings),
        (Vec::new(), previewed),
    ] {
        assert_eq!(problems, []);
        assert_eq!((warnings[0].line, warnings[0].column), (2, 3));
        assert!(
            warnings[0].message.contains("not met by any device"),
            "{warnings:?}"
        );
    }
    let refused = compiler.set_policy_strictly(document).await;
    assert!(refused.version.is_none() && refused.problems.len() == 1);
    assert_eq!(compiler.policy_in_force().await.version, 1);
    let stored = compiler.set_policy_strictly("{}").await;
    assert_eq!(stored.version.unwrap().version, 2);
}

async fn groups_that_there_are_may_be_named_and_others_may_not(compiler: TestCompiler) {
    let document = |name: &str| {
        format!(
            r#"{{"tagOwners": {{"tag:web": ["{name}"]}}, "grants": [{{"src": ["{name}"], "dst": ["tag:web"], "ip": ["22"]}}],
                "tests": [{{"src": "AMIRA@example.com", "accept": ["tag:web:22"]}}]}}"#
        )
    };
    compiler.set_groups(&["oncall", "ops@example.com"]).await;
    for name in ["group:oncall", "group:ops@example.com"] {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        // What identity acknowledged the compiler hears a moment later.
        while let answer = compiler
            .try_set_policy(&document(name), None)
            .await
            .unwrap()
            && answer.version.is_none()
        {
            assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
            tokio::task::yield_now().await;
        }
    }
    let refused = compiler
        .try_set_policy(&document("group:other"), None)
        .await
        .unwrap();
    let problem = &refused.problems[0];
    assert_eq!(problem.message, "group not found: \"group:other\"");
    assert!(
        problem.hint.contains("a group of the tailnet"),
        "{problem:?}"
    );
    // The groups are deleted: the next edit of the document is not in the way of that.
    compiler.delete_groups().await;
    let untested = |name: &str| document(name).replace("\"accept\"", "\"deny\"");
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let left = loop {
        let answer = compiler
            .try_set_policy(&untested("group:ops@example.com"), None)
            .await;
        let answer = answer.unwrap();
        if answer.version.is_some() && !answer.warnings.is_empty() {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::task::yield_now().await;
    };
    assert_eq!(left.problems, []);
    assert!(
        left.warnings[0].message.contains("there is no group"),
        "{left:?}"
    );
    let refused = compiler
        .try_set_policy(&untested("group:oncall"), None)
        .await
        .unwrap();
    assert!(refused.version.is_none(), "that one is not named any more");
}

async fn what_an_older_release_stored_stays_in_force(compiler: TestCompiler) {
    let stored = r#"{"tagOwners": {"tag:ci": []},
        "ssh": [{"action": "check", "src": ["tag:ci"], "dst": ["tag:ci"], "users": ["root"]}],
        "acls": [{"action": "accept", "src": ["group:x@example.com"], "dst": ["*:*"]}]}"#;
    compiler.store_first_version(stored).await;
    let mut client = PolicyCompilerServiceClient::new(compiler.registry());
    let request = JudgeNodeRequest {
        tailnet_id: compiler.tailnet,
        current_tags: vec!["tag:ci".to_owned(), "tag:x".to_owned()],
        ..JudgeNodeRequest::default()
    };
    let judged = client.judge_node(request).await.unwrap().into_inner();
    assert_eq!(judged.undefined_tags, ["tag:x"]);
    // It names the group already; the check is refused from now on.
    let again = compiler.try_set_policy(stored, None).await.unwrap();
    assert_eq!(again.problems.len(), 1, "{again:?}");
    assert!(again.problems[0].message.contains("check mode"));
}

async fn each_version_is_audited_and_nothing_else(compiler: TestCompiler) {
    compiler
        .try_set_policy(r#"{"acls": []}"#, Some(0))
        .await
        .unwrap();
    compiler.try_set_policy("{", None).await.unwrap();
    compiler.try_set_policy("{}", Some(7)).await.unwrap_err();
    let (tailnet_id, text) = (compiler.tailnet, "{}".to_owned());
    let check = CheckPolicyRequest {
        tailnet_id,
        text: text.clone(),
    };
    compiler.policies().check_policy(check).await.unwrap();
    let preview = PreviewPolicyRequest { tailnet_id, text };
    compiler.policies().preview_policy(preview).await.unwrap();
    compiler.try_set_policy("{}", Some(1)).await.unwrap();
    let entries = compiler.audit_entries().await;
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| (&*entry.actor, &*entry.action, &*entry.object))
        .collect();
    assert_eq!(
        entries,
        [
            ("admin:test", "policy.set", "1"),
            ("admin:test", "policy.set", "2")
        ]
    );
}

async fn texts_that_are_not_utf8_are_refused(compiler: TestCompiler) {
    // A message with bytes where the document has its text.
    let request = RegisterRequest {
        node_key: b"{} // \xff".to_vec(),
        ..RegisterRequest::default()
    };
    let path = PathAndQuery::from_static("/bowline.policy.v1.PolicyService/SetPolicy");
    let codec = ProstCodec::<RegisterRequest, SetPolicyResponse>::default();
    let mut client = Grpc::<GrpcChannel>::new(compiler.admin());
    client.ready().await.unwrap();
    let refused = client
        .unary(Request::new(request), path, codec)
        .await
        .unwrap_err();
    assert!(refused.message().contains("UTF-8"), "{refused:?}");
    assert_eq!(compiler.policy_in_force().await.version, 0);
}

async fn hostile_documents_are_refused_by_name(compiler: TestCompiler) {
    let deep = format!("{{\"acls\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = compiler.try_set_policy(&deep, None).await.unwrap();
    assert!(
        answer.problems[0]
            .message
            .contains("nesting is deeper than 64 levels"),
        "{answer:?}"
    );
    // A document that is too long to be a message is refused where it arrives.
    let long = format!("{{}}{}", " ".repeat(50 << 20));
    let refused = compiler.try_set_policy(&long, None).await.unwrap_err();
    assert!(refused.message().contains("limit"), "{refused:?}");
    let answer = compiler
        .try_set_policy(&long[..(16 << 20) + 1], None)
        .await
        .unwrap();
    assert!(answer.problems[0].message.contains("16 MiB"), "{answer:?}");
    let cyclic = r#"{"tagOwners": {"tag:a": ["tag:b"], "tag:b": ["tag:a"]}}"#;
    assert!(
        compiler
            .try_set_policy(cyclic, None)
            .await
            .unwrap()
            .version
            .is_some(),
        "adds nothing, harms nothing"
    );
    let rule = r#"{"action": "accept", "src": ["*"], "dst": ["*:22"]},"#;
    // As many as an unoptimised build compiles well within the deadline of a call.
    let many = format!("{{\"acls\": [{}]}}", rule.repeat(20_000));
    assert!(
        compiler
            .try_set_policy(&many, None)
            .await
            .unwrap()
            .version
            .is_some(),
        "many rules are only many"
    );
}
