//! How many nodes there may be: whoever holds a reusable key makes them without asking anybody.

/// The most nodes of one user. Larger fleets are tagged by keys without user.
pub const MOST_OF_USER: u64 = 5_000;
/// The most nodes of one tailnet.
pub const MOST_OF_TAILNET: u64 = 100_000;

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// In the tailnet.
    pub of_tailnet: u64,
    /// Of the user who is to have one more; 0 without one.
    pub of_user: u64,
}

/// Says why there may not be one more, if so.
pub fn refusal(counts: NodeCounts) -> Option<String> {
    let (whose, most, instead) = match counts {
        _ if counts.of_tailnet >= MOST_OF_TAILNET => ("network", MOST_OF_TAILNET, ""),
        _ if counts.of_user >= MOST_OF_USER => {
            let instead = ", or use a key with tags and without user";
            ("user", MOST_OF_USER, instead)
        }
        _ => return None,
    };
    Some(format!(
        "this {whose} has {most} devices, the most there may be: delete those that nobody uses{instead}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_is_refused_at_the_limit_and_the_text_says_what_to_do() {
        let text = |of_tailnet, of_user| {
            refusal(NodeCounts {
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
}
