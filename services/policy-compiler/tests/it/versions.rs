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
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::served::{DEADLINE, Served};

pub async fn lost_race_is_refused_and_nothing_is_overwritten(served: Served) {
    let first = served.set(r#"{"acls": []} // one"#, Some(0)).await.unwrap();
    assert_eq!(first.version.unwrap().version, 1);
    let lost = served
        .set(r#"{"acls": []} // two"#, Some(0))
        .await
        .unwrap_err();
    assert_eq!(lost.code(), Code::FailedPrecondition);
    assert!(
        lost.message().contains("version 1 is in force, not 0"),
        "{lost:?}"
    );
    let tries = (0..8).map(|number| {
        let served = &served;
        async move {
            served
                .set(&format!(r#"{{"acls": []}} // try {number}"#), Some(1))
                .await
        }
    });
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let list = async |before| {
        let request = ListPolicyVersionsRequest {
            tailnet_id: served.tailnet,
            before,
        };
        let answer = served.policies().list_policy_versions(request).await;
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
        tailnet_id: served.tailnet,
        version: 1,
    };
    let kept = served
        .policies()
        .get_policy(first)
        .await
        .unwrap()
        .into_inner()
        .version
        .unwrap();
    assert_eq!(kept.text, r#"{"acls": []} // one"#);
}

pub async fn refused_document_leaves_the_last_good_one_in_force(served: Served) {
    served.set(r#"{"acls": []}"#, None).await.unwrap();
    let answer = served.set("{\n  \"aclz\": []}", None).await.unwrap();
    assert!(answer.version.is_none());
    let problem = &answer.problems[0];
    assert_eq!((problem.line, problem.column), (2, 3));
    assert_eq!(problem.message, "unknown field: \"aclz\"");
    assert!(problem.hint.contains("acls"));
    assert_eq!(served.in_force().await.version, 1);
}

pub async fn failing_tests_refuse_the_save_and_say_which(served: Served) {
    let node = served.node(1, "10.0.0.0/8").await;
    let document = |port: u16| {
        format!(
            r#"{{"acls": [{{"action": "accept", "src": ["*"], "dst": ["*:22"]}}],
"tests": [{{"src": "amira@example.com", "accept": ["{}:{port}"]}}]}}"#,
            node.ipv4
        )
    };
    // What the registry acknowledged the compiler hears a moment later.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while served
        .set(&document(22), None)
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
    let refused = served.set(&document(23), None).await.unwrap();
    assert_eq!(refused.problems[0].line, 2);
    assert!(
        refused.problems[0].message.starts_with("test(s) failed"),
        "{refused:?}"
    );
}

pub async fn warnings_come_with_what_is_stored_and_refuse_where_they_are_to(served: Served) {
    let document = r#"{"postures": {"posture:mac": [
  "node:osVersion >= '13'"]}}"#;
    let check = CheckPolicyRequest {
        tailnet_id: served.tailnet,
        text: document.to_owned(),
    };
    let checked = served.policies().check_policy(check).await;
    let checked = checked.unwrap().into_inner();
    let stored = served.set(document, None).await.unwrap();
    assert_eq!(stored.version.unwrap().version, 1);
    let preview = PreviewPolicyRequest {
        tailnet_id: served.tailnet,
        text: document.to_owned(),
    };
    let preview = served.policies().preview_policy(preview).await;
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
    let refused = served.set_strictly(document).await;
    assert!(refused.version.is_none() && refused.problems.len() == 1);
    assert_eq!(served.in_force().await.version, 1);
    let stored = served.set_strictly("{}").await;
    assert_eq!(stored.version.unwrap().version, 2);
}

pub async fn groups_of_users_may_be_named_and_those_of_nobody_may_not(served: Served) {
    let document = |name: &str| {
        format!(
            r#"{{"tagOwners": {{"tag:web": ["{name}"]}}, "grants": [{{"src": ["{name}"], "dst": ["tag:web"], "ip": ["22"]}}],
                "tests": [{{"src": "AMIRA@example.com", "accept": ["tag:web:22"]}}]}}"#
        )
    };
    served.group(&["oncall", "ops@example.com"]).await;
    for name in ["group:oncall", "group:ops@example.com"] {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        // What identity acknowledged the compiler hears a moment later.
        while let answer = served.set(&document(name), None).await.unwrap()
            && answer.version.is_none()
        {
            assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
            tokio::task::yield_now().await;
        }
    }
    let refused = served.set(&document("group:other"), None).await.unwrap();
    let problem = &refused.problems[0];
    assert_eq!(problem.message, "group not found: \"group:other\"");
    assert!(
        problem
            .hint
            .contains("a group that a user of the tailnet has"),
        "{problem:?}"
    );
    // The last user leaves the group: the next edit of the document is not in the way of that.
    served.group(&[]).await;
    let untested = |name: &str| document(name).replace("\"accept\"", "\"deny\"");
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let left = loop {
        let answer = served.set(&untested("group:ops@example.com"), None).await;
        let answer = answer.unwrap();
        if answer.version.is_some() {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
        tokio::task::yield_now().await;
    };
    assert_eq!(left.problems, []);
    assert!(
        left.warnings[0].message.contains("no user has the group"),
        "{left:?}"
    );
    let refused = served.set(&untested("group:oncall"), None).await.unwrap();
    assert!(refused.version.is_none(), "that one is not named any more");
}

pub async fn what_an_older_release_stored_stays_in_force(served: Served) {
    let stored = r#"{"tagOwners": {"tag:ci": []},
        "ssh": [{"action": "check", "src": ["tag:ci"], "dst": ["tag:ci"], "users": ["root"]}],
        "acls": [{"action": "accept", "src": ["group:x@example.com"], "dst": ["*:*"]}]}"#;
    served.store(stored).await;
    let mut compiler = PolicyCompilerServiceClient::new(served.registry());
    let request = JudgeNodeRequest {
        tailnet_id: served.tailnet,
        current_tags: vec!["tag:ci".to_owned(), "tag:x".to_owned()],
        ..JudgeNodeRequest::default()
    };
    let judged = compiler.judge_node(request).await.unwrap().into_inner();
    assert_eq!(judged.undefined_tags, ["tag:x"]);
    // It names the group already; the check is refused from now on.
    let again = served.set(stored, None).await.unwrap();
    assert_eq!(again.problems.len(), 1, "{again:?}");
    assert!(again.problems[0].message.contains("check mode"));
}

pub async fn each_version_is_audited_and_nothing_else(served: Served) {
    served.set(r#"{"acls": []}"#, Some(0)).await.unwrap();
    served.set("{", None).await.unwrap();
    served.set("{}", Some(7)).await.unwrap_err();
    let (tailnet_id, text) = (served.tailnet, "{}".to_owned());
    let check = CheckPolicyRequest {
        tailnet_id,
        text: text.clone(),
    };
    served.policies().check_policy(check).await.unwrap();
    let preview = PreviewPolicyRequest { tailnet_id, text };
    served.policies().preview_policy(preview).await.unwrap();
    served.set("{}", Some(1)).await.unwrap();
    let entries = served.audit().await;
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

pub async fn texts_that_are_not_utf8_are_refused(served: Served) {
    // A message with bytes where the document has its text.
    let request = RegisterRequest {
        node_key: b"{} // \xff".to_vec(),
        ..RegisterRequest::default()
    };
    let path = PathAndQuery::from_static("/bowline.policy.v1.PolicyService/SetPolicy");
    let codec = ProstCodec::<RegisterRequest, SetPolicyResponse>::default();
    let mut client = Grpc::<GrpcChannel>::new(served.admin());
    client.ready().await.unwrap();
    let refused = client
        .unary(Request::new(request), path, codec)
        .await
        .unwrap_err();
    assert!(refused.message().contains("UTF-8"), "{refused:?}");
    assert_eq!(served.in_force().await.version, 0);
}

pub async fn hostile_documents_are_refused_by_name(served: Served) {
    let deep = format!("{{\"acls\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = served.set(&deep, None).await.unwrap();
    assert!(
        answer.problems[0]
            .message
            .contains("nesting is deeper than 64 levels"),
        "{answer:?}"
    );
    // A document that is too long to be a message is refused where it arrives.
    let long = format!("{{}}{}", " ".repeat(50 << 20));
    let refused = served.set(&long, None).await.unwrap_err();
    assert!(refused.message().contains("limit"), "{refused:?}");
    let answer = served.set(&long[..(16 << 20) + 1], None).await.unwrap();
    assert!(answer.problems[0].message.contains("16 MiB"), "{answer:?}");
    let cyclic = r#"{"tagOwners": {"tag:a": ["tag:b"], "tag:b": ["tag:a"]}}"#;
    assert!(
        served.set(cyclic, None).await.unwrap().version.is_some(),
        "adds nothing, harms nothing"
    );
    let rule = r#"{"action": "accept", "src": ["*"], "dst": ["*:22"]},"#;
    // As many as an unoptimised build compiles well within the deadline of a call.
    let many = format!("{{\"acls\": [{}]}}", rule.repeat(20_000));
    assert!(
        served.set(&many, None).await.unwrap().version.is_some(),
        "many rules are only many"
    );
}
