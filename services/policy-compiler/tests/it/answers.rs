//! What the policy means: for administrators, for the registry, for gateways.

use bowline_proto::{
    key_registry::v1::{SetTagsRequest, node_service_client::NodeServiceClient},
    policy::v1::{
        ExplainAccessRequest, JudgeNodeRequest, JudgeNodeResponse, JudgeNodesRequest,
        PreviewPolicyRequest, policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use bowline_test_support::on_both;
use tonic::Code;

use crate::compiler::{TestCompiler, next_update, wait_for_nodes};

on_both!(TestCompiler::start =>
    preview_says_who_gains_and_loses_and_changes_nothing,
    explanation_names_the_line,
    routes_tags_and_addresses_are_as_the_policy_says,
    judgement_names_the_tags_that_are_not_defined,
    watchers_hear_everything_first_and_then_what_differs,
);

async fn preview_says_who_gains_and_loses_and_changes_nothing(compiler: TestCompiler) {
    let (one, two) = (
        compiler.register_router(1, "10.0.0.0/8").await,
        compiler.register_router(2, "10.1.0.0/16").await,
    );
    wait_for_nodes(&compiler, 2).await;
    let text = format!(
        r#"{{"acls": [{{"action": "accept", "src": ["{}"], "dst": ["{}:22"]}}]}}"#,
        one.ipv4, two.ipv4
    );
    let request = PreviewPolicyRequest {
        tailnet_id: compiler.tailnet,
        text,
    };
    let preview = compiler
        .policies()
        .preview_policy(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(preview.total_pairs, 2);
    let pairs: Vec<_> = preview
        .pairs
        .iter()
        .map(|pair| {
            (
                pair.source_node_id,
                pair.destination_node_id,
                pair.gained.join(" "),
                pair.lost.join(" "),
            )
        })
        .collect();
    let all = "any:*".to_owned();
    assert_eq!(
        pairs,
        [
            (one.id, two.id, "any:22".to_owned(), all.clone()),
            (two.id, one.id, String::new(), all)
        ]
    );
    assert_eq!(compiler.policy_in_force().await.version, 0);
    let request = PreviewPolicyRequest {
        tailnet_id: compiler.tailnet,
        text: "{".to_owned(),
    };
    let preview = compiler
        .policies()
        .preview_policy(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!preview.problems.is_empty() && preview.pairs.is_empty());
}

async fn explanation_names_the_line(compiler: TestCompiler) {
    let (one, two) = (
        compiler.register_router(1, "10.0.0.0/8").await,
        compiler.register_router(2, "10.1.0.0/16").await,
    );
    wait_for_nodes(&compiler, 2).await;
    let text = format!(
        "{{\"acls\": [\n{{\"action\": \"accept\", \"src\": [\"{}\"], \"dst\": [\"{}:22\"]}}]}}",
        one.ipv4, two.ipv4
    );
    compiler.try_set_policy(&text, None).await.unwrap();
    let ask = |source_node_id, destination_node_id| ExplainAccessRequest {
        tailnet_id: compiler.tailnet,
        source_node_id,
        destination_node_id,
    };
    let there = compiler
        .policies()
        .explain_access(ask(one.id, two.id))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((there.policy_version, there.allowed_by[0].line), (1, 2));
    let back = compiler
        .policies()
        .explain_access(ask(two.id, one.id))
        .await
        .unwrap()
        .into_inner();
    assert!(back.allowed_by.is_empty());
    let nobody = compiler
        .policies()
        .explain_access(ask(one.id, 1 << 40))
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);
}

async fn routes_tags_and_addresses_are_as_the_policy_says(compiler: TestCompiler) {
    let policy = r#"{"tagOwners": {"tag:web": ["amira@example.com"]},
        "autoApprovers": {"routes": {"10.0.0.0/8": ["amira@example.com"]}},
        "nodeAttrs": [{"target": ["amira@example.com"], "ipPool": ["100.81.0.0/16"]}]}"#;
    compiler.try_set_policy(policy, None).await.unwrap();
    let inside = compiler.register_router(1, "10.7.0.0/16").await;
    assert_eq!(inside.approved_routes, ["10.7.0.0/16"]);
    assert_eq!(
        inside.ipv4, "100.81.0.0",
        "the first address is an ordinary one"
    );
    let outside = compiler.register_router(2, "192.168.0.0/24").await;
    assert!(outside.approved_routes.is_empty());
    assert_eq!(outside.ipv4, "100.81.0.1");
    let mut nodes = NodeServiceClient::new(compiler.admin());
    let tag = |tag: &str| SetTagsRequest {
        tailnet_id: compiler.tailnet,
        node_id: inside.id,
        tags: vec![tag.to_owned()],
    };
    let refused = nodes.set_tags(tag("tag:none")).await.unwrap_err();
    assert!(refused.message().contains("tag:none"), "{refused:?}");
    nodes.set_tags(tag("tag:web")).await.unwrap();
}

async fn judgement_names_the_tags_that_are_not_defined(compiler: TestCompiler) {
    compiler
        .try_set_policy(r#"{"tagOwners": {"tag:web": []}}"#, None)
        .await
        .unwrap();
    let mut client = PolicyCompilerServiceClient::new(compiler.registry());
    let request = JudgeNodeRequest {
        tailnet_id: compiler.tailnet,
        current_tags: vec!["tag:old".to_owned(), "tag:Web".to_owned()],
        requested_tags: vec!["tag:web".to_owned(), "tag:new".to_owned()],
        ..JudgeNodeRequest::default()
    };
    let judged = client.judge_node(request.clone()).await.unwrap();
    let judged = judged.into_inner();
    assert_eq!(judged.undefined_tags, ["tag:new", "tag:old"]);
    assert_eq!(judged.refused_tags, ["tag:web", "tag:new"]);
    // Of several each has its own.
    let together = |nodes| JudgeNodesRequest {
        tailnet_id: compiler.tailnet,
        nodes,
    };
    let nodes = vec![JudgeNodeRequest::default(), request.clone()];
    let answer = client.judge_nodes(together(nodes)).await.unwrap();
    let expected = [JudgeNodeResponse::default(), judged];
    assert_eq!(answer.into_inner().judgements, expected);
    let too_many = together(vec![request; 101]);
    let refused = client.judge_nodes(too_many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn watchers_hear_everything_first_and_then_what_differs(compiler: TestCompiler) {
    compiler.register_router(1, "10.0.0.0/8").await;
    let mut stream = compiler.watch_compiled().await;
    let first = next_update(&mut stream).await;
    assert!(first[0].full && first[0].common_filter.is_some());
    let mut known: usize = first.iter().map(|part| part.memberships.len()).sum();
    while known < 1 {
        known += next_update(&mut stream)
            .await
            .iter()
            .map(|part| part.memberships.len())
            .sum::<usize>();
    }
    let second = compiler.register_router(2, "10.0.0.0/8").await;
    let mut heard = next_update(&mut stream).await;
    while !heard
        .iter()
        .flat_map(|part| &part.memberships)
        .any(|member| member.node_id == second.id)
    {
        heard = next_update(&mut stream).await;
    }
    assert!(!heard[0].full, "a difference");
    let before = heard[0].stamp.unwrap();
    compiler
        .try_set_policy(r#"{"acls": []}"#, None)
        .await
        .unwrap();
    let edited = next_update(&mut stream).await;
    let stamp = edited[0].stamp.unwrap();
    assert_eq!((before.policy_version, stamp.policy_version), (0, 1));
    assert!(stamp.registry_revision >= before.registry_revision);
    assert!(
        edited[0]
            .common_filter
            .as_ref()
            .is_some_and(|common| common.rules.is_empty())
    );
}
