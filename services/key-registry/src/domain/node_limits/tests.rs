use super::*;

#[test]
fn one_more_is_refused_at_the_limit_and_the_text_says_what_to_do() {
    let text = |of_tailnet, of_user| {
        find_refusal(NodeCounts {
            of_tailnet,
            of_user,
        })
    };
    assert_eq!(text(MOST_OF_TAILNET - 1, MOST_OF_USER - 1), None);
    let of_user = text(MOST_OF_USER, MOST_OF_USER).unwrap();
    assert!(of_user.contains("this user has 5000 devices") && of_user.contains("with tags"));
    let of_tailnet = text(MOST_OF_TAILNET, 0).unwrap();
    assert!(of_tailnet.contains("this network has 100000 devices"));
}

#[test]
fn there_are_at_most_as_many_nodes_more_as_entries_in_the_log() {
    let counted = CountedNodes {
        revision: 10,
        counts: NodeCounts {
            of_tailnet: 7,
            of_user: 2,
        },
    };
    assert_eq!(counted.most_at(10), Some(counted.counts));
    let most = NodeCounts {
        of_tailnet: 12,
        of_user: 7,
    };
    assert_eq!(counted.most_at(15), Some(most));
    assert_eq!(counted.most_at(9), None, "the log has gone back");
}
