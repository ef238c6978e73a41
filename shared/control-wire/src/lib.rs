//! The JSON and the framing that a client speaks; nothing here decides anything.
//!
//! Field names keep upstream's spelling, so that a search finds both. Rules every message keeps (protocol
//! sections 5.1, 7.1 and the Rust client's):
//!
//! * what clients send is read with member names of any case, `null` as absent, unknown members ignored
//!   ([`parse_request`]);
//! * what clients get never has a `null` list, and no string that needs a JSON escape ([`plain_text`]);
//! * absent means unchanged: an `Option` that is `None` is left out.
//!
//! [`MapResponse`] is always built in its newest form; [`dialect`] turns it into what an older client needs.

mod attributes;
mod base64_bytes;
mod bounded;
mod cap_map;
mod capability_version;
mod derp_map;
pub mod dialect;
mod dns;
mod framing;
mod hostinfo;
mod key_response;
mod map_request;
mod map_response;
mod node;
mod packet_filter;
mod peer_change;
mod ping;
mod register;
mod request;
mod ssh;
mod tailnet_lock;
mod text;
mod user;

pub use attributes::SetDeviceAttributesRequest;
pub use base64_bytes::Base64Bytes;
pub use cap_map::CapMap;
pub use capability_version::CapabilityVersion;
pub use derp_map::{DerpHomeParams, DerpMap, DerpNode, DerpRegion};
pub use dns::{DnsConfig, DnsRecord, Resolver};
pub use framing::{Compression, FrameError, decode_frame, encode_frame, encode_payload};
pub use hostinfo::{Hostinfo, Location, NetInfo, Service};
pub use key_response::{KeyAnswer, KeyResponse, KeySettings, key_answer};
pub use map_request::MapRequest;
pub use map_response::{Debug, DisplayMessage, MapResponse};
pub use node::Node;
pub use packet_filter::{CapGrant, FilterRule, NetPortRange, PortRange};
pub use peer_change::PeerChange;
pub use ping::PingRequest;
pub use register::{Login, RegisterAuth, RegisterRequest, RegisterResponse, User};
pub use request::{RequestError, parse_request};
pub use ssh::{SshAction, SshPolicy, SshPrincipal, SshRecorderFailureAction, SshRule};
pub use tailnet_lock::{
    TkaBootstrapRequest, TkaBootstrapResponse, TkaDisableRequest, TkaInfo, TkaInitBeginRequest,
    TkaInitBeginResponse, TkaInitFinishRequest, TkaSignInfo, TkaSignaturesUsingKeyRequest,
    TkaSignaturesUsingKeyResponse, TkaSubmitSignatureRequest, TkaSyncOfferRequest,
    TkaSyncOfferResponse, TkaSyncSendRequest, TkaSyncSendResponse,
};
pub use text::plain_text;
pub use user::UserProfile;

/// Says whether a value is its type's default, so that it is left out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
