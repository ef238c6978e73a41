//! What each capability version switched on (protocol section 7.7).

use serde::{Deserialize, Serialize};

/// A client's protocol level: one integer it sends everywhere.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CapabilityVersion(pub u16);

impl CapabilityVersion {
    /// Keep-alives and compression are requested by the client; older clients always get both.
    pub const OPT_IN_KEEP_ALIVE: Self = Self(4);
    /// Messages may be deltas.
    pub const DELTAS: Self = Self(5);
    /// An absent packet filter means unchanged.
    pub const FILTER_UNCHANGED: Self = Self(6);
    /// Filter addresses may be prefixes.
    pub const FILTER_PREFIXES: Self = Self(7);
    /// DNS settings come as `DNSConfig`.
    pub const DNS_CONFIG: Self = Self(9);
    /// `PeerSeenChange` is understood.
    pub const PEER_SEEN: Self = Self(10);
    /// IPv6 is understood.
    pub const IPV6: Self = Self(11);
    /// `PingRequest` is understood.
    pub const PING: Self = Self(12);
    /// `IPProto` is understood.
    pub const IP_PROTO: Self = Self(13);
    /// Resolvers and routes replace nameservers.
    pub const DNS_RESOLVERS: Self = Self(14);
    /// An absent `DNSConfig` means unchanged.
    pub const DNS_UNCHANGED: Self = Self(15);
    /// `Online` is understood.
    pub const ONLINE: Self = Self(16);
    /// An absent `Domain` means unchanged.
    pub const DOMAIN_UNCHANGED: Self = Self(17);
    /// An absent `Node` means unchanged.
    pub const NODE_UNCHANGED: Self = Self(18);
    /// `ExtraRecords` is understood.
    pub const EXTRA_RECORDS: Self = Self(22);
    /// Empty values in DNS routes are understood.
    pub const EMPTY_DNS_ROUTES: Self = Self(23);
    /// `Health` is understood.
    pub const HEALTH: Self = Self(24);
    /// `SSHPolicy` is understood.
    pub const SSH_POLICY: Self = Self(27);
    /// `PopBrowserURL` is understood.
    pub const POP_BROWSER: Self = Self(29);
    /// `CapGrant` is understood.
    pub const CAP_GRANT: Self = Self(32);
    /// `PeersChangedPatch` is understood.
    pub const PATCH: Self = Self(33);
    /// Patches may hold more than a relay and endpoints.
    pub const WIDE_PATCH: Self = Self(36);
    /// `URLIsNoise` is understood.
    pub const URL_IS_NOISE: Self = Self(38);
    /// `Expired` is understood.
    pub const EXPIRED: Self = Self(53);
    /// `CapGrant.CapMap` replaces `Caps`.
    pub const GRANT_CAP_MAP: Self = Self(67);
    /// A streaming request no longer reports the host's state.
    pub const STREAM_IS_NO_UPDATE: Self = Self(68);
    /// `Node.CapMap` replaces `Capabilities`.
    pub const CAP_MAP: Self = Self(74);
    /// `PacketFilters` replaces `PacketFilter`.
    pub const PACKET_FILTERS: Self = Self(81);
    /// Patches hold a `CapMap`.
    pub const PATCH_CAP_MAP: Self = Self(89);
    /// The first that speaks Noise only.
    pub const NOISE_ONLY: Self = Self(90);
    /// Filter sources may name a capability.
    pub const CAP_SOURCES: Self = Self(109);
    /// `HomeDERP` replaces `DERP`.
    pub const HOME_DERP: Self = Self(111);
    /// An absent `AllowedIPs` means the addresses.
    pub const DEFAULT_ALLOWED_IPS: Self = Self(112);
    /// `NoMeasureNoHome` is understood.
    pub const NO_MEASURE: Self = Self(115);
    /// `CertName` may be the hash of a certificate.
    pub const CERTIFICATE_HASH: Self = Self(115);
    /// `DisplayMessages` replaces `Health`.
    pub const DISPLAY_MESSAGES: Self = Self(117);
    /// `UseWithExitNode` is understood.
    pub const USE_WITH_EXIT_NODE: Self = Self(125);
    /// The wait that `Retry-After` asks for, at 429 and 503, is honoured.
    pub const RETRY_AFTER: Self = Self(147);
    /// `StableTailnetID` of the own node is understood. No newer version is known here.
    pub const STABLE_TAILNET_ID: Self = Self(148);
}
