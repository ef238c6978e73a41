//! Why something of tailnet lock is refused. People who run `tailscale lock` read these texts.

use crate::hash::UpdateHash;

/// Bytes that are no message of tailnet lock, or not in its one canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockFormatError {
    /// More bytes than any message has.
    #[error("it has {length} bytes, more than {most}")]
    TooLong {
        /// How many it has.
        length: usize,
        /// How many it may have.
        most: usize,
    },
    /// It ends too early.
    #[error("it ends in the middle")]
    Truncated,
    /// Something follows the message.
    #[error("{0} bytes follow it")]
    Trailing(usize),
    /// Another kind of value than the one that stands there.
    #[error("it has a byte {first:#04x} where {wanted} begins")]
    Unexpected {
        /// What is read there.
        wanted: &'static str,
        /// What stands there.
        first: u8,
    },
    /// A text that is not UTF-8.
    #[error("a text in it is not UTF-8")]
    NotUtf8,
    /// A list or map longer than clients read.
    #[error("a list in it has {length} elements, more than {most}")]
    TooMany {
        /// How many it may have.
        most: u64,
        /// How many it has.
        length: u64,
    },
    /// Signatures in signatures, deeper than clients read.
    #[error("signatures are nested in it deeper than {0} levels")]
    TooDeep(usize),
    /// A member that no message has.
    #[error(
        "it has a member {0} that this server does not know: a newer client made it, upgrade the server"
    )]
    UnknownMember(u64),
    /// A member of a wrong length.
    #[error("{field} has {found} bytes instead of {wanted}")]
    Length {
        /// Which one.
        field: &'static str,
        /// How many bytes it has in a good message.
        wanted: usize,
        /// How many it has here.
        found: usize,
    },
    /// A number that is out of range.
    #[error("{field} is {found}, which is out of range")]
    Range {
        /// Which one.
        field: &'static str,
        /// What it is.
        found: u64,
    },
    /// The same could be written in another way: order, repetition, or a longer form than is needed.
    #[error("it is not in canonical form (CTAP2)")]
    NotCanonical,
}

/// Why an update is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockUpdateError {
    /// It can not be read.
    #[error("the update can not be read: {0}. Make it anew with a client that is up to date")]
    Format(#[from] LockFormatError),
    /// A member is missing that its kind has to have.
    #[error(
        "the update is of kind {kind} and has no {member}: make it anew with a client that is up to date"
    )]
    Missing {
        /// Its kind.
        kind: &'static str,
        /// What is missing.
        member: &'static str,
    },
    /// It has members that its kind does not have.
    #[error(
        "the update is of kind {kind} and may have nothing but {members}: make it anew with a client that is up to date"
    )]
    Surplus {
        /// Its kind.
        kind: &'static str,
        /// What it may have.
        members: &'static str,
    },
    /// A key that nobody could use.
    #[error(
        "the key is of kind {0}, which clients do not know: take the key that `tailscale lock` shows on the device"
    )]
    KeyKind(u64),
    /// Votes out of range.
    #[error("a key has {0} votes: it may have 1 to 4096")]
    Votes(u64),
    /// Too much metadata.
    #[error("the metadata of a key has {0} bytes: it may have 512")]
    Metadata(usize),
    /// Too many pairs of metadata.
    #[error("the metadata of a key has {0} pairs: it may have 32")]
    MetadataPairs(usize),
    /// Disablement values out of range.
    #[error("the checkpoint has {0} disablement values: it may have 1 to 32")]
    DisablementValues(usize),
    /// One disablement value twice.
    #[error("a disablement value is there twice: run `tailscale lock init` again")]
    DisablementTwice,
    /// Keys out of range.
    #[error("{0} keys would be trusted: there may be 1 to 512")]
    Keys(usize),
    /// One key twice.
    #[error(
        "the key is trusted already, or is there twice: `tailscale lock` lists those that are trusted"
    )]
    KeyTwice,
    /// A checkpoint that says what was before it.
    #[error(
        "the state of a checkpoint names no last update: make it anew with a client that is up to date"
    )]
    LastHash,
    /// The first update is of another kind.
    #[error("tailnet lock begins with a checkpoint that has no parent: run `tailscale lock init`")]
    Genesis,
    /// It names no update before it.
    #[error("the update names no parent: let the client synchronise, then try again")]
    NoParent,
    /// The update before it is not known.
    #[error(
        "the parent {0} of the update is not known: let the client synchronise, then try again"
    )]
    UnknownParent(UpdateHash),
    /// Nobody has signed it.
    #[error(
        "the update is not signed: sign it on a node whose key `tailscale lock` lists as trusted"
    )]
    Unsigned,
    /// One key has signed it more than once.
    #[error("one key has signed the update twice: it counts once, sign it with another key")]
    SignedTwice,
    /// A key has signed it that the state before it does not trust.
    #[error(
        "the update is signed by a key that is not trusted: sign it on a node whose key `tailscale lock` lists as trusted"
    )]
    UntrustedSigner,
    /// A signature does not fit.
    #[error(
        "a signature of the update is wrong: sign it anew on a node whose key `tailscale lock` lists as trusted"
    )]
    BadSignature,
    /// It would remove the last key.
    #[error(
        "the last trusted key can not be removed: add another one first, or disable tailnet lock"
    )]
    LastKey,
    /// It names a key that is not trusted.
    #[error("the update names a key that is not trusted: `tailscale lock` lists those that are")]
    UnknownKey,
    /// A checkpoint of another lock.
    #[error(
        "the checkpoint is of another tailnet lock than the one that is in use: let the client synchronise, then try again"
    )]
    OtherLock,
    /// Clients read no longer log.
    #[error(
        "the log of tailnet lock is full, it has {0} updates, and clients read few more: nothing is taken but what removes a trusted key; \
         disable tailnet lock and initialise it again"
    )]
    LogFull(usize),
    /// The log has too many bytes.
    #[error(
        "the log of tailnet lock is full, it would have {0} bytes: nothing is taken but what removes a trusted key; disable tailnet lock and \
         initialise it again, with fewer keys or less metadata"
    )]
    LogTooLong(usize),
    /// There are too many updates that do not count.
    #[error(
        "the log of tailnet lock has {0} updates that do not count, and takes no more of them: let the client synchronise, then try again"
    )]
    Aside(usize),
}

/// Why a signature of a node key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeSignatureError {
    /// It can not be read.
    #[error("the signature can not be read: {0}")]
    Format(#[from] LockFormatError),
    /// A credential stands for no node.
    #[error("the signature is a credential, which authorises no node by itself")]
    Credential,
    /// It is for another node key.
    #[error("the signature is for another node key")]
    OtherNodeKey,
    /// It names no key.
    #[error("the signature does not say which key made it")]
    NoSigner,
    /// A key made it that is not trusted.
    #[error("the signature was made by a key that tailnet lock does not trust")]
    UntrustedSigner,
    /// A rotation without the signature that it replaces.
    #[error("the signature is a rotation and holds no other signature")]
    NothingNested,
    /// A signature that is no rotation holds another one.
    #[error("only a rotation may hold another signature")]
    Nested,
    /// Nobody may rotate it.
    #[error("the signature that was rotated names no key that may do that")]
    NoRotationKey,
    /// A rotation that takes the place of the very key that it is for: clients would drop the node without a word.
    #[error("the signature takes the place of the key that it is for")]
    ReplacesItself,
    /// A rotation where a trusted key has to have signed the node key itself.
    #[error("the signature is a rotation, which a device makes for itself")]
    NotDirect,
    /// It does not fit.
    #[error("the signature is wrong")]
    BadSignature,
}
