//! What follows from a node's own fields, for every service alike.

use std::collections::BTreeSet;

use bowline_ids::{NodeOwner, UserId};

use crate::key_registry::v1::{Node, TaggedBy};

/// The fields of a node that policy judges: when one of them differs, the node may be in another class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedFacts<'n> {
    user_id: u64,
    tags: &'n [String],
    ipv4: &'n str,
    ipv6: &'n str,
    advertised_routes: &'n [String],
    approved_routes: &'n [String],
    os: &'n str,
    client_version: &'n str,
}

impl Node {
    /// Returns the user that the node belongs to; `None` for a tagged node.
    #[must_use]
    pub fn owning_user(&self) -> Option<u64> {
        (self.tags.is_empty() && self.user_id != 0).then_some(self.user_id)
    }

    /// Says whether the node goes with its user: it is cut off while the user is suspended or gone.
    ///
    /// A node without tags does. One with tags does when the user gave them, until an administrator confirms them; tags
    /// from before it was kept who gave them count as the user's, where the node has one.
    #[must_use]
    pub fn goes_with_user(&self) -> bool {
        match self.tagged_by() {
            _ if self.tags.is_empty() => true,
            TaggedBy::User => true,
            TaggedBy::PreAuthKey | TaggedBy::Administrator => false,
            TaggedBy::Unspecified => self.user_id != 0,
        }
    }

    /// Returns who answers for the node.
    #[must_use]
    pub fn owner(&self) -> NodeOwner {
        UserId::try_from(self.user_id).map_or_else(
            |_| NodeOwner::Tag(self.tags.first().map_or("", String::as_str).into()),
            NodeOwner::User,
        )
    }

    /// Says whether the node may take part in its tailnet: it is approved, its key has not ended, and it is not cut off
    /// with its user. `is_user_barred` says whether the user is suspended or gone.
    #[must_use]
    pub fn may_take_part(&self, is_user_barred: bool) -> bool {
        self.approved && !self.expired && !(self.goes_with_user() && is_user_barred)
    }

    /// Returns the routes that work: those that the node offers and that are approved, in the order offered.
    pub fn usable_routes(&self) -> impl Iterator<Item = &String> {
        let approved: BTreeSet<&String> = match self.advertised_routes.is_empty() {
            true => BTreeSet::new(),
            false => self.approved_routes.iter().collect(),
        };
        let offered = self.advertised_routes.iter();
        offered.filter(move |route| approved.contains(route))
    }

    /// Returns what policy judges of the node.
    #[must_use]
    pub fn judged_facts(&self) -> JudgedFacts<'_> {
        JudgedFacts {
            user_id: self.user_id,
            tags: &self.tags,
            ipv4: &self.ipv4,
            ipv6: &self.ipv6,
            advertised_routes: &self.advertised_routes,
            approved_routes: &self.approved_routes,
            os: &self.os,
            client_version: &self.client_version,
        }
    }

    /// Returns this node with the judged facts that it had earlier, and with who gave it its tags then.
    #[must_use]
    pub fn with_judged_facts_of(&self, earlier: &Self) -> Self {
        Self {
            user_id: earlier.user_id,
            tags: earlier.tags.clone(),
            tagged_by: earlier.tagged_by,
            ipv4: earlier.ipv4.clone(),
            ipv6: earlier.ipv6.clone(),
            advertised_routes: earlier.advertised_routes.clone(),
            approved_routes: earlier.approved_routes.clone(),
            os: earlier.os.clone(),
            client_version: earlier.client_version.clone(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn node(tags: &[&str], user_id: u64, tagged_by: TaggedBy) -> Node {
        Node {
            tags: texts(tags),
            user_id,
            tagged_by: tagged_by.into(),
            approved: true,
            ..Node::default()
        }
    }

    const TAGGED: [&str; 1] = ["tag:web"];

    #[test]
    fn tagged_nodes_and_nodes_without_user_belong_to_nobody() {
        assert_eq!(node(&[], 7, TaggedBy::Unspecified).owning_user(), Some(7));
        assert_eq!(node(&[], 0, TaggedBy::Unspecified).owning_user(), None);
        assert_eq!(node(&TAGGED, 7, TaggedBy::User).owning_user(), None);
    }

    #[test]
    fn user_who_added_a_node_answers_for_it_and_else_its_first_tag() {
        let user = NodeOwner::User(UserId::try_from(7_u64).expect("a number"));
        assert_eq!(node(&[], 7, TaggedBy::Unspecified).owner(), user);
        assert_eq!(node(&TAGGED, 7, TaggedBy::User).owner(), user);
        let tag = |tag: &str| NodeOwner::Tag(tag.into());
        let tags = node(&["tag:db", "tag:web"], 0, TaggedBy::PreAuthKey);
        assert_eq!(tags.owner(), tag("tag:db"));
        assert_eq!(node(&[], 0, TaggedBy::Unspecified).owner(), tag(""));
    }

    #[test]
    fn only_tags_of_others_part_a_node_from_its_user() {
        assert!(node(&[], 7, TaggedBy::Unspecified).goes_with_user());
        assert!(node(&[], 0, TaggedBy::Administrator).goes_with_user());
        assert!(node(&TAGGED, 7, TaggedBy::User).goes_with_user());
        assert!(node(&TAGGED, 7, TaggedBy::Unspecified).goes_with_user());
        assert!(!node(&TAGGED, 0, TaggedBy::Unspecified).goes_with_user());
        assert!(!node(&TAGGED, 7, TaggedBy::PreAuthKey).goes_with_user());
        assert!(!node(&TAGGED, 7, TaggedBy::Administrator).goes_with_user());
    }

    #[test]
    fn only_approved_nodes_with_a_live_key_and_user_take_part() {
        let good = node(&[], 7, TaggedBy::Unspecified);
        assert!(good.may_take_part(false));
        assert!(!good.may_take_part(true), "its user is suspended");
        let confirmed = node(&TAGGED, 7, TaggedBy::Administrator);
        assert!(
            confirmed.may_take_part(true),
            "it does not go with its user"
        );
        let unapproved = Node {
            approved: false,
            ..good.clone()
        };
        assert!(!unapproved.may_take_part(false));
        let expired = Node {
            expired: true,
            ..good
        };
        assert!(!expired.may_take_part(false));
    }

    #[test]
    fn routes_work_when_they_are_offered_and_approved() {
        let routes = |advertised: &[&str], approved: &[&str]| {
            let node = Node {
                advertised_routes: texts(advertised),
                approved_routes: texts(approved),
                ..Node::default()
            };
            node.usable_routes().cloned().collect::<Vec<_>>()
        };
        let (near, far) = ("10.0.0.0/8", "192.168.0.0/16");
        assert_eq!(routes(&[near, far], &[far]), [far]);
        assert!(routes(&[near], &[far]).is_empty());
        assert!(routes(&[], &[near, far]).is_empty());
        assert_eq!(routes(&[far, near], &[near, far]), [far, near]);
    }

    #[test]
    fn judged_facts_are_taken_from_the_earlier_node_and_all_else_stays() {
        let now = Node {
            name: "new".to_owned(),
            hostname: "new".to_owned(),
            node_key: vec![2; 32],
            user_id: 8,
            tags: texts(&["tag:new"]),
            ipv4: "100.64.0.2".to_owned(),
            ipv6: "fd7a:115c:a1e0::2".to_owned(),
            advertised_routes: texts(&["10.2.0.0/16"]),
            approved_routes: texts(&["10.2.0.0/16"]),
            os: "windows".to_owned(),
            client_version: "2".to_owned(),
            ..Node::default()
        };
        let earlier = Node {
            name: "old".to_owned(),
            user_id: 7,
            tagged_by: TaggedBy::User.into(),
            ..Node::default()
        };
        let mixed = now.with_judged_facts_of(&earlier);
        assert_eq!(mixed.judged_facts(), earlier.judged_facts());
        assert_eq!(mixed.tagged_by(), TaggedBy::User);
        let back = Node {
            tagged_by: now.tagged_by,
            ..mixed.with_judged_facts_of(&now)
        };
        assert_eq!(back, now, "nothing else was touched");
    }

    #[test]
    fn each_judged_fact_is_compared() {
        let node = Node::default();
        let changes: [fn(&mut Node); 8] = [
            |node| node.user_id = 1,
            |node| node.tags.push(String::new()),
            |node| node.ipv4.push('1'),
            |node| node.ipv6.push('1'),
            |node| node.advertised_routes.push(String::new()),
            |node| node.approved_routes.push(String::new()),
            |node| node.os.push('x'),
            |node| node.client_version.push('1'),
        ];
        for (place, change) in changes.into_iter().enumerate() {
            let mut changed = node.clone();
            change(&mut changed);
            assert_ne!(changed.judged_facts(), node.judged_facts(), "{place}");
        }
        let mut renamed = node.clone();
        renamed.name.push('x');
        renamed.hostname.push('x');
        renamed.expired = true;
        assert_eq!(renamed.judged_facts(), node.judged_facts());
    }
}
