//! What follows from a node's own fields, for every service alike.

use std::collections::BTreeSet;

use bowline_ids::{NodeOwner, UserId};

use crate::key_registry::v1::{CustomAttribute, Node, TaggedBy};

/// The fields of a node that policy judges: when one of them differs, the node may be in another class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgedFacts<'n> {
    user_id: u64,
    tags: &'n [String],
    ipv4: &'n str,
    ipv6: &'n str,
    advertised_routes: &'n [String],
    approved_routes: &'n [String],
    os: &'n str,
    os_version: &'n str,
    client_version: &'n str,
    auto_update: Option<bool>,
    state_encrypted: Option<bool>,
    attributes: &'n [CustomAttribute],
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

    /// Says whether administrators let the node in: it is approved, and not disabled. Clients are told that as
    /// `MachineAuthorized`.
    #[must_use]
    pub fn is_authorized(&self) -> bool {
        self.approved && !self.disabled
    }

    /// Says whether an administrator keeps the node's machine out, whatever key or login it comes with.
    #[must_use]
    pub fn is_kept_out(&self) -> bool {
        self.disabled || self.denied
    }

    /// Says whether the node may take part in its tailnet: administrators let it in, its key is not marked as ended, it does
    /// not wait for a signature, and it is not cut off with its user. `is_user_barred` says whether the user is suspended or
    /// gone.
    #[must_use]
    pub fn may_take_part(&self, is_user_barred: bool) -> bool {
        self.is_authorized()
            && !self.expired
            && !self.awaits_signature
            && !(self.goes_with_user() && is_user_barred)
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
            os_version: &self.os_version,
            client_version: &self.client_version,
            auto_update: self.auto_update,
            state_encrypted: self.state_encrypted,
            attributes: &self.attributes,
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
            os_version: earlier.os_version.clone(),
            client_version: earlier.client_version.clone(),
            auto_update: earlier.auto_update,
            state_encrypted: earlier.state_encrypted,
            attributes: earlier.attributes.clone(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
