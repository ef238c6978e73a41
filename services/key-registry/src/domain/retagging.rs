//! Tags that a node asks for while it is logged in (protocol section 5.3).

use bowline_proto::{
    key_registry::v1::{HostReport, Node, TaggedBy},
    policy::v1::JudgeNodeResponse,
};
use chrono::{DateTime, Utc};

use super::{tags, to_timestamp};

/// What a report's tags ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retagging {
    /// Nothing that is not so, or nothing that can be.
    None,
    /// To have exactly these tags.
    To(Vec<String>),
}

impl Retagging {
    /// Says what a report asks for; only what it did not ask for before counts.
    pub fn of(node: &Node, report: &HostReport) -> Self {
        if report.requested_tags == node.requested_tags {
            return Self::None;
        }
        match tags::canonical(report.requested_tags.clone()) {
            Ok(wanted) if !wanted.is_empty() && wanted != node.tags => Self::To(wanted),
            _ => Self::None,
        }
    }

    /// Returns the tags that are asked for.
    pub fn wanted(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::To(wanted) => wanted,
        }
    }

    /// Gives a node its new tags, or ends its key where the policy does not permit them: the device then has to log
    /// in, which says why.
    pub fn apply(self, node: &mut Node, judgement: &JudgeNodeResponse, now: DateTime<Utc>) {
        let Self::To(wanted) = self else { return };
        if judgement.refused_tags.is_empty() {
            if node.tags.is_empty() {
                node.tagged_by = TaggedBy::User.into();
            }
            node.tags = wanted;
            if !node.expired {
                node.key_expiry = None;
            }
        } else if !node.expired {
            node.expired = true;
            node.key_expiry = Some(to_timestamp(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(tags: &[&str]) -> Node {
        Node {
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            key_expiry: Some(to_timestamp(DateTime::UNIX_EPOCH)),
            ..Node::default()
        }
    }

    fn report(tags: &[&str]) -> HostReport {
        HostReport {
            requested_tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            ..HostReport::default()
        }
    }

    #[test]
    fn only_new_and_well_formed_wishes_count() {
        assert_eq!(Retagging::of(&node(&[]), &report(&[])), Retagging::None);
        assert_eq!(
            Retagging::of(&node(&["tag:a"]), &report(&["tag:a"])),
            Retagging::None
        );
        assert_eq!(
            Retagging::of(&node(&[]), &report(&["nonsense"])),
            Retagging::None
        );
        let asked_before = Node {
            requested_tags: vec!["tag:a".to_owned()],
            ..node(&["tag:b"])
        };
        assert_eq!(
            Retagging::of(&asked_before, &report(&["tag:a"])),
            Retagging::None
        );
        let wanted = Retagging::of(&node(&[]), &report(&["tag:a"]));
        assert_eq!(wanted, Retagging::To(vec!["tag:a".to_owned()]));
    }

    #[test]
    fn permitted_tags_are_given_and_others_end_the_key() {
        let wish = Retagging::To(vec!["tag:a".to_owned()]);
        let mut permitted = node(&[]);
        wish.clone().apply(
            &mut permitted,
            &JudgeNodeResponse::default(),
            DateTime::UNIX_EPOCH,
        );
        assert_eq!(permitted.tagged_by(), TaggedBy::User);
        assert_eq!(
            (permitted.tags, permitted.key_expiry),
            (vec!["tag:a".to_owned()], None)
        );
        let by_key = Node {
            tagged_by: TaggedBy::PreAuthKey.into(),
            ..node(&["tag:b"])
        };
        let mut retagged = by_key;
        wish.clone().apply(
            &mut retagged,
            &JudgeNodeResponse::default(),
            DateTime::UNIX_EPOCH,
        );
        assert_eq!(
            retagged.tagged_by(),
            TaggedBy::PreAuthKey,
            "as one of its tags may"
        );
        let refused = JudgeNodeResponse {
            refused_tags: vec!["tag:a".to_owned()],
            ..JudgeNodeResponse::default()
        };
        let mut refused_node = node(&[]);
        wish.apply(&mut refused_node, &refused, DateTime::UNIX_EPOCH);
        assert!(refused_node.expired && refused_node.tags.is_empty());
    }
}
