//! What a history asks of the services, and what they may answer, in the words of the model: machines, users, node keys and
//! pre-auth keys have small numbers.

use std::collections::BTreeSet;

use bowline_proto::key_registry::v1::RefusalReason;
use tonic::Code;

/// The number of a machine of a history.
pub type Machine = u8;
/// The number of a user of a history.
pub type UserNumber = u8;
/// The number of a node key.
pub type NodeKeyNumber = u32;
/// The number of a pre-auth key.
pub type KeyNumber = usize;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCall {
    /// A client registers, renews, rotates or logs out a node key.
    Register(RegisterCall),
    /// An administrator makes a pre-auth key.
    MakeKey(KeyNumber, NewKey),
    /// An administrator revokes a pre-auth key.
    RevokeKey(KeyNumber),
    /// An administrator ends the keys of all nodes that a revoked pre-auth key let in.
    EndNodesOfKey(KeyNumber),
    /// An administrator approves a login.
    ApproveLogin {
        /// Which.
        login: String,
        /// Whose node it makes.
        user: UserNumber,
    },
    /// An administrator suspends a user, or takes that back.
    SetSuspended {
        /// Which.
        user: UserNumber,
        /// Whether the user is suspended from here on.
        suspended: bool,
    },
    /// The device that signs for tailnet lock signs this key.
    Sign(NodeKeyNumber),
    /// Something happens to a node, given by its id.
    OnNode(u64, NodeCall),
}

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterCall {
    /// Whose session it is.
    pub machine: Machine,
    /// The node key that it is about.
    pub node_key: NodeKeyNumber,
    /// The node key that the client names as its last.
    pub old_key: Option<NodeKeyNumber>,
    /// What it presents.
    pub credential: PresentedCredential,
    /// Whether it asks to be ephemeral.
    pub ephemeral: bool,
    /// Whether it wishes the key to end now.
    pub is_logout: bool,
}

/// What a client presents to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresentedCredential {
    /// Nothing.
    None,
    /// A pre-auth key.
    PreAuthKey(KeyNumber),
    /// A login that it follows up.
    Login(String),
}

/// What a pre-auth key is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Whose nodes it makes; nobody's without, then it has a tag.
    pub user: Option<UserNumber>,
    /// The tag that it gives.
    pub tag: Option<u8>,
    /// Whether it can be used again.
    pub reusable: bool,
    /// Whether its nodes are ephemeral.
    pub ephemeral: bool,
    /// Whether its machines need no approval.
    pub pre_approved: bool,
    /// In how many seconds it ends.
    pub lifetime: i64,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeCall {
    Expire,
    Delete,
    Approve,
    Deny,
    Disable,
    Enable,
    /// Its keys never end from here on.
    NeverExpire,
    /// Its key ends in so many seconds.
    ExpireAfter(i64),
    /// It gets a tag.
    SetTag(u8),
    /// It gets one of a few names.
    Rename(u8),
    /// It has an attribute of this value, or none.
    SetAttribute(Option<u8>),
    /// A session of the client that has this key begins.
    Connect(NodeKeyNumber),
    /// The session of the client that has this key ends.
    Disconnect(NodeKeyNumber),
}

/// What the model says that the answer to a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyVerdict {
    /// The node that has this key.
    Registered(NodeKeyNumber),
    /// The key has ended; the node is named while it is there.
    KeyExpired { has_node: bool },
    /// A login has to be decided first.
    LoginNeeded(Machine, NodeKeyNumber),
    /// The key has ended as wished.
    LoggedOut,
    /// There was nothing left to end: a client is told the same as when there is.
    NothingToEnd,
    /// The client is turned away.
    Refused(RefusalReason),
    /// What was asked for is so.
    Done,
    /// The keys of these nodes ended; those of `maybe` did if the sweep did not come first.
    Ended {
        nodes: BTreeSet<u64>,
        maybe: BTreeSet<u64>,
    },
    /// What was reported is of no interest.
    Ignored,
    /// The call failed.
    Failed(Code),
}

/// What a service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The client is a node.
    Registered {
        /// Which.
        id: u64,
        /// The key that it has.
        node_key: Vec<u8>,
    },
    /// The key has ended.
    KeyExpired {
        /// The node that has it, while there is one.
        id: Option<u64>,
    },
    /// This login has to be decided first.
    LoginNeeded(String),
    /// The key has ended as wished.
    LoggedOut,
    /// The client is turned away.
    Refused(RefusalReason),
    /// What was asked for is so.
    Done,
    /// The keys of these nodes have ended.
    Ended(BTreeSet<u64>),
    /// What was reported is of no interest.
    Ignored,
    /// The call failed.
    Failed(Code),
    /// There is no answer: nobody knows what was done.
    Lost,
}
