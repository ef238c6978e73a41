//! What the policy means: for administrators, for the registry, for gateways.

use bowline_proto::{
    key_registry::v1::{SetTagsRequest, node_service_client::NodeServiceClient},
    policy::v1::{
        ExplainAccessRequest, JudgeNodeRequest, PreviewPolicyRequest,
        policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use tonic::Code;

use crate::served::{Served, heard_of, update};

pub async fn preview_says_who_gains_and_loses_and_changes_nothing(served: Served) {
    let (one, two) = (
        served.node(1, "10.0.0.0/8").await,
        served.node(2, "10.1.0.0/16").await,
    );
    heard_of(&served, 2).await;
    let text = format!(
        r#"{{"acls": [{{"action": "accept", "src": ["{}"], "dst": ["{}:22"]}}]}}"#,
        one.ipv4, two.ipv4
    );
    let request = PreviewPolicyRequest {
        tailnet_id: served.tailnet,
        text,
    };
    let preview = served
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
    assert_eq!(served.in_force().await.version, 0);
    let request = PreviewPolicyRequest {
        tailnet_id: served.tailnet,
        text: "{".to_owned(),
    };
    let preview = served
        .policies()
        .preview_policy(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!preview.problems.is_empty() && preview.pairs.is_empty());
}

pub async fn explanation_names_the_line(served: Served) {
    let (one, two) = (
        served.node(1, "10.0.0.0/8").await,
        served.node(2, "10.1.0.0/16").await,
    );
    heard_of(&served, 2).await;
    let text = format!(
        "{{\"acls\": [\n{{\"action\": \"accept\", \"src\": [\"{}\"], \"dst\": [\"{}:22\"]}}]}}",
        one.ipv4, two.ipv4
    );
    served.set(&text, None).await.unwrap();
    let ask = |source_node_id, destination_node_id| ExplainAccessRequest {
        tailnet_id: served.tailnet,
        source_node_id,
        destination_node_id,
    };
    let there = served
        .policies()
        .explain_access(ask(one.id, two.id))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((there.policy_version, there.allowed_by[0].line), (1, 2));
    let back = served
        .policies()
        .explain_access(ask(two.id, one.id))
        .await
        .unwrap()
        .into_inner();
    assert!(back.allowed_by.is_empty());
    let nobody = served
        .policies()
        .explain_access(ask(one.id, 1 << 40))
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);
}

pub async fn routes_tags_and_addresses_are_as_the_policy_says(served: Served) {
    let policy = r#"{"tagOwners": {"tag:web": ["amira@example.com"]},
        "autoApprovers": {"routes": {"10.0.0.0/8": ["amira@example.com"]}},
        "nodeAttrs": [{"target": ["amira@example.com"], "ipPool": ["100.81.0.0/16"]}]}"#;
    served.set(policy, None).await.unwrap();
    let inside = served.node(1, "10.7.0.0/16").await;
    assert_eq!(inside.approved_routes, ["10.7.0.0/16"]);
    assert_eq!(
        inside.ipv4, "100.81.0.0",
        "the first address is an ordinary one"
    );
    let outside = served.node(2, "192.168.0.0/24").await;
    assert!(outside.approved_routes.is_empty());
    assert_eq!(outside.ipv4, "100.81.0.1");
    let mut nodes = NodeServiceClient::new(served.admin());
    let tag = |tag: &str| SetTagsRequest {
        tailnet_id: served.tailnet,
        node_id: inside.id,
        tags: vec![tag.to_owned()],
    };
    let refused = nodes.set_tags(tag("tag:none")).await.unwrap_err();
    assert!(refused.message().contains("tag:none"), "{refused:?}");
    nodes.set_tags(tag("tag:web")).await.unwrap();
}

pub async fn judgement_names_the_tags_that_are_not_defined(served: Served) {
    served
        .set(r#"{"tagOwners": {"tag:web": []}}"#, None)
        .await
        .unwrap();
    let mut compiler = PolicyCompilerServiceClient::new(served.registry());
    let request = JudgeNodeRequest {
        tailnet_id: served.tailnet,
        current_tags: vec!["tag:old".to_owned(), "tag:Web".to_owned()],
        requested_tags: vec!["tag:web".to_owned(), "tag:new".to_owned()],
        ..JudgeNodeRequest::default()
    };
    let judged = compiler.judge_node(request).await.unwrap().into_inner();
    assert_eq!(judged.undefined_tags, ["tag:new", "tag:old"]);
    assert_eq!(judged.refused_tags, ["tag:web", "tag:new"]);
}

pub async fn watchers_hear_everything_first_and_then_what_differs(served: Served) {
    served.node(1, "10.0.0.0/8").await;
    let mut stream = served.watch().await;
    let first = update(&mut stream).await;
    assert!(first[0].full && first[0].common_filter.is_some());
    let mut known: usize = first.iter().map(|part| part.memberships.len()).sum();
    while known < 1 {
        known += update(&mut stream)
            .await
            .iter()
            .map(|part| part.memberships.len())
            .sum::<usize>();
    }
    let second = served.node(2, "10.0.0.0/8").await;
    let mut heard = update(&mut stream).await;
    while !heard
        .iter()
        .flat_map(|part| &part.memberships)
        .any(|member| member.node_id == second.id)
    {
        heard = update(&mut stream).await;
    }
    assert!(!heard[0].full, "a difference");
    let before = heard[0].stamp.unwrap();
    served.set(r#"{"acls": []}"#, None).await.unwrap();
    let edited = update(&mut stream).await;
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
