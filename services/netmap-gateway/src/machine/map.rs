//! Map requests: polls and reports (protocol section 6).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::http::StatusCode;
use bowline_control_wire::{Compression, FrameError, Hostinfo, MapRequest};
use bowline_ids::NodeId;
use bowline_netmap::{Dialect, build_full, build_node_gone};
use bowline_proto::key_registry::v1::{ClientReport, Endpoint, HostReport};
use bowline_service_kit::trace;
use futures_util::stream;
use tonic::Code;

use super::{Machine, RequestFailure, draining_failure, host::CheckedHostinfo};
use crate::{
    gateway::Gateway,
    session::{
        DeliveryKind, FrameSealer, Frames, MapSession, SessionClient, keep_alive, longest_silence,
        run_blocking,
    },
    tailnet::{LocatedNode, NodeKeyOwner},
};

/// How long a known node waits for the first complete view.
pub(super) const FIRST_VIEW: Duration = Duration::from_secs(30);
/// The most endpoints that are kept of a client.
const MOST_ENDPOINTS: usize = 64;

/// What a map request is answered with.
pub enum MapAnswer {
    /// The report is accepted; the client reads only the status.
    Accepted,
    /// One frame, or frames until the client leaves.
    Frames(Frames),
}

/// Answers a map request.
pub async fn answer_map_request(
    gateway: &Arc<Gateway>,
    machine: &Machine,
    request: MapRequest,
    sealing: FrameSealer,
) -> Result<MapAnswer, RequestFailure> {
    let is_only_report = request.is_report() && !request.stream;
    if !is_only_report {
        // A report is accepted in a drain, too: clients do not repeat them.
        machine.refuse_in_drain()?;
    }
    let found = gateway
        .hub
        .locate_node(request.node_key, machine.key, machine.request_origin())
        .await;
    let located = match found {
        Ok(NodeKeyOwner::Node(located)) => located,
        Ok(NodeKeyOwner::Former(node)) if !is_only_report => {
            return tell_former(gateway, machine, node, &request, sealing).await;
        }
        // The node is gone, so nobody needs its report; an answer without error keeps the client from sending it
        // again.
        Ok(NodeKeyOwner::Former(_)) => return Ok(MapAnswer::Accepted),
        // An unknown key and one of another machine get the same answer, so that nobody can find out which keys exist.
        Err(status) if status.code() == Code::NotFound => return Err(unknown_key_failure()),
        Err(status) if status.code() == Code::ResourceExhausted => {
            let text = status.message();
            return Err(RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        Err(status) => return Err(status.into()),
    };
    trace::note_node(located.tailnet.id.get(), located.node.get());
    let settled = machine.connection.mark_known(located.holder());
    settled.map_err(|wait| {
        let text = "this device asks too often: try again in a few seconds";
        RequestFailure::new(StatusCode::TOO_MANY_REQUESTS, text).retry_after(wait)
    })?;
    if request.is_report() {
        let report = client_report(&request)?;
        if let Some(report) = machine
            .connection
            .contest()
            .keep_report(located.node, report)
        {
            pass_on_report(gateway, &located, &request, report);
        }
        if !request.stream {
            return Ok(MapAnswer::Accepted);
        }
    }
    // Counted only here: reports are accepted as often as they come, and passed on at a pace of their own.
    gateway
        .turns
        .take_full_map(located.node, tokio::time::Instant::now().into_std())?;
    if !gateway.is_registry_fresh() {
        let text = "the server has lost touch with its registry: try again later";
        return Err(RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    let node_key = request.node_key.as_bytes();
    let tailnet = &located.tailnet;
    if !tailnet
        .wait_until_shown(located.node, node_key, FIRST_VIEW)
        .await
    {
        return Err(incomplete_failure());
    }
    if request.stream {
        open_stream(gateway, machine, located, &request, sealing).await
    } else {
        let dialect = client_dialect(&request);
        answer_once(gateway, machine, &located, dialect, sealing).await
    }
}

fn client_dialect(request: &MapRequest) -> Dialect {
    let compression = if request.wants_zstd() {
        Compression::Zstd
    } else {
        Compression::None
    };
    Dialect {
        version: request.version,
        compression,
    }
}

/// Shows a report to peers and sends it to the registry, as often as the node's pace allows.
fn pass_on_report(
    gateway: &Gateway,
    located: &LocatedNode,
    request: &MapRequest,
    report: ClientReport,
) {
    let node_key = request.node_key.as_bytes();
    gateway
        .report_pace
        .accept_report(&located.tailnet, located.node, node_key, report);
}

pub(super) fn unknown_key_failure() -> RequestFailure {
    let text = "the node key is not known for this machine: log in again";
    RequestFailure::new(StatusCode::NOT_FOUND, text)
}

pub(super) fn incomplete_failure() -> RequestFailure {
    let text = "the network's state is not complete yet: try again in a few seconds";
    RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn no_room_failure() -> RequestFailure {
    let text = "too much is being sent at the moment: try again in a few seconds";
    RequestFailure::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn encoding_failure(error: &FrameError) -> RequestFailure {
    tracing::error!(%error, "a message could not be encoded");
    let text = "the message could not be encoded";
    RequestFailure::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

async fn open_stream(
    gateway: &Arc<Gateway>,
    machine: &Machine,
    located: LocatedNode,
    request: &MapRequest,
    sealing: FrameSealer,
) -> Result<MapAnswer, RequestFailure> {
    let connection = &machine.connection;
    if let Some(wait) = connection.contest().note_return(located.node) {
        let node_key = request.node_key.as_bytes();
        gateway
            .reporter
            .report_shared_key(&located.tailnet, located.node, node_key);
        wait_for_slot(machine, &located, wait).await?;
    }
    let delivery = gateway
        .deliveries
        .begin(located.node, DeliveryKind::Stream, connection.clone());
    let turns = &gateway.turns;
    let turn = turns
        .admit_first_map(located.node, delivery.wait_until_ended())
        .await?;
    // A description that is too long is left out: only a report is refused for it.
    let requested = || client_report(request).ok();
    let regained = connection
        .contest()
        .note_slot_regained(located.node, requested);
    if let Some(report) = regained {
        pass_on_report(gateway, &located, request, report);
    }
    let client = SessionClient {
        tailnet: located.tailnet,
        node: located.node,
        node_key: request.node_key.as_bytes().to_vec(),
        dialect: client_dialect(request),
        connection: connection.clone(),
    };
    let (clock, reporter) = (Arc::clone(&gateway.clock), gateway.reporter.clone());
    let mut session = MapSession::begin(client, clock, reporter, Arc::clone(turns));
    // The answer begins with its first message: clients take an empty stream for a broken server.
    let first = session.next_frame().await;
    let first = first
        .map_err(|error| encoding_failure(&error))?
        .ok_or_else(incomplete_failure)?;
    let first = sealing.seal_frame(first).await;
    let first = first.map_err(|error| encoding_failure(&error))?;
    if !delivery.hold_first(first).await {
        return Err(no_room_failure());
    }
    drop(turn);
    // The connection stays known as long as the stream lives.
    let begun = (session, sealing, machine.connection.open_stream());
    let later = stream::try_unfold(begun, |(mut session, sealing, open)| async move {
        let Some(frame) = session.next_frame().await? else {
            return Ok(None);
        };
        let frame = sealing.seal_frame(frame).await?;
        Ok(Some((frame, (session, sealing, open))))
    });
    Ok(MapAnswer::Frames(Frames::new(delivery, later)))
}

/// Makes a machine wait whose slot was taken by another machine with the same node key.
async fn wait_for_slot(
    machine: &Machine,
    located: &LocatedNode,
    wait: Duration,
) -> Result<(), RequestFailure> {
    let (tailnet, node) = (&located.tailnet, located.node);
    metrics::counter!("bowline_gateway_contested_seats_total").increment(1);
    tracing::warn!(
        tailnet = %tailnet.id, node = node.get(), source = %machine.connection.source(), wait_seconds = wait.as_secs(),
        "two machines use the key of one node, most likely a disk and its copy: log out on one of them, and in again"
    );
    tokio::select! {
        () = tailnet.sessions.wait_until_vacant(node) => Ok(()),
        () = tokio::time::sleep(wait) => Ok(()),
        () = machine.connection.wait_until_closing() => Err(draining_failure()),
    }
}

async fn answer_once(
    gateway: &Gateway,
    machine: &Machine,
    located: &LocatedNode,
    dialect: Dialect,
    sealing: FrameSealer,
) -> Result<MapAnswer, RequestFailure> {
    let (tailnet, node) = (Arc::clone(&located.tailnet), located.node);
    let connection = machine.connection.clone();
    let delivery = gateway
        .deliveries
        .begin(node, DeliveryKind::Once, connection);
    // Kept until the map is encoded.
    let _turn_to_encode = gateway
        .turns
        .admit_first_map(node, delivery.wait_until_ended())
        .await?;
    let now = gateway.clock.now();
    let frame = run_blocking(move || {
        let view = tailnet.history.view().for_client_version(dialect.version);
        let message = build_full(&view, node, &tailnet.derp_map.load(), now);
        message.map(|message| dialect.encode(message)).transpose()
    });
    let frame = frame.await.map_err(|error| encoding_failure(&error))?;
    let frame = frame.ok_or_else(|| {
        RequestFailure::new(StatusCode::NOT_FOUND, "the node is gone: log in again")
    })?;
    let frame = sealing.seal_frame(frame).await;
    let frame = frame.map_err(|error| encoding_failure(&error))?;
    if !delivery.hold_first(frame).await {
        return Err(no_room_failure());
    }
    Ok(MapAnswer::Frames(Frames::new(delivery, stream::empty())))
}

/// Tells the former holder of a node key to log in, and keeps its stream open: if that ended, the client would ask
/// again at once.
///
/// Its connection stays a stranger's.
async fn tell_former(
    gateway: &Arc<Gateway>,
    machine: &Machine,
    node: NodeId,
    request: &MapRequest,
    sealing: FrameSealer,
) -> Result<MapAnswer, RequestFailure> {
    let kind = if request.stream {
        DeliveryKind::Stream
    } else {
        DeliveryKind::Once
    };
    let connection = machine.connection.clone();
    let delivery = gateway.deliveries.begin(node, kind, connection.clone());
    let (key, now) = (request.node_key, gateway.clock.now());
    let message = build_node_gone(node, key, Some(machine.key), &gateway.hub.relays(), now);
    let dialect = client_dialect(request);
    let frame = dialect
        .encode(message)
        .map_err(|error| encoding_failure(&error))?;
    let frame = sealing.seal_frame(frame).await;
    let frame = frame.map_err(|error| encoding_failure(&error))?;
    if !delivery.hold_first(frame).await {
        return Err(no_room_failure());
    }
    if kind == DeliveryKind::Once {
        return Ok(MapAnswer::Frames(Frames::new(delivery, stream::empty())));
    }
    let begun = (connection, sealing);
    let later = stream::try_unfold(begun, move |(connection, sealing)| async move {
        tokio::select! {
            () = tokio::time::sleep(longest_silence(node)) => {}
            () = connection.wait_until_closing() => return Ok(None),
        }
        let frame = sealing.seal_frame(keep_alive(dialect)?).await?;
        Ok(Some((frame, (connection, sealing))))
    });
    Ok(MapAnswer::Frames(Frames::new(delivery, later)))
}

/// Returns what a request says about the host, bounded and without addresses peers can not use.
fn client_report(request: &MapRequest) -> Result<ClientReport, RequestFailure> {
    let host = request.hostinfo.clone().map(host_report).transpose()?;
    let kinds = request
        .endpoint_types
        .iter()
        .copied()
        .chain(std::iter::repeat(0));
    let endpoints = request
        .endpoints
        .iter()
        .zip(kinds)
        .filter_map(|(address, kind)| Some((parse_usable_endpoint(address)?, kind)));
    let disco_key = Some(request.disco_key).filter(|key| !key.is_zero());
    Ok(ClientReport {
        disco_key: disco_key
            .map(|key| key.as_bytes().to_vec())
            .unwrap_or_default(),
        endpoints: endpoints
            .take(MOST_ENDPOINTS)
            .map(|(address, kind)| Endpoint {
                address: address.to_string(),
                kind,
            })
            .collect(),
        capability_version: request.version.0.into(),
        host,
        sequence: 0,
    })
}

fn host_report(hostinfo: Hostinfo) -> Result<HostReport, RequestFailure> {
    let CheckedHostinfo { info, json } = CheckedHostinfo::new(hostinfo)?;
    let net_info = info.net_info.as_ref();
    Ok(HostReport {
        home_derp: net_info.map_or(0, |net_info| net_info.preferred_derp),
        hostinfo: json,
        hostname: info.hostname,
        os: info.os,
        client_version: info.ipn_version,
        advertised_routes: info.routable_ips,
        requested_tags: info.request_tags,
        os_version: info.os_version,
        auto_update: Some(info.allows_update),
        state_encrypted: info.state_encrypted,
    })
}

/// Returns an address if peers can send to it: well-formed, of one host, without a zone, and not link-local IPv6.
fn parse_usable_endpoint(text: &str) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().ok()?;
    let ip = address.ip().to_canonical();
    let is_one_host = match ip {
        IpAddr::V4(ip) => !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let has_zone = matches!(address, SocketAddr::V6(address) if address.scope_id() != 0);
    let is_nobody = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
    (is_one_host && !has_zone && !is_nobody && address.port() != 0).then_some(address)
}

#[cfg(test)]
mod tests;
