//! Map requests: polls and reports (protocol section 6).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::http::StatusCode;
use bowline_control_wire::{Compression, FrameError, Hostinfo, MapRequest};
use bowline_proto::key_registry::v1::{ClientReport, Endpoint, HostReport};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::Code;

use super::{Failure, Machine, host::Host};
use crate::{
    encoding::Dialect, gateway::Gateway, netmap::full, session::Session, tailnet::Located,
};

/// How long a known node waits for the first complete view.
const FIRST_VIEW: Duration = Duration::from_secs(30);
/// The most UDP candidates kept of a client.
const MOST_ENDPOINTS: usize = 64;

/// What a map request is answered with.
pub enum Answer {
    /// The report is taken; only the status is read.
    Taken,
    /// One frame, then the end.
    Frame(Bytes),
    /// Frames until the client leaves.
    Frames(BoxStream<'static, Result<Bytes, FrameError>>),
}

/// Answers a map request.
pub async fn map(
    gateway: &Arc<Gateway>,
    machine: &Machine,
    request: MapRequest,
) -> Result<Answer, Failure> {
    // A report is taken in a drain, too: clients do not repeat them.
    if request.stream || !request.is_report() {
        machine.refuse_in_drain()?;
    }
    let located = gateway.hub.locate(request.node_key, machine.key).await;
    let located = located.map_err(|status| match status.code() {
        // A key that nobody has and one of another machine are told apart by nothing.
        Code::NotFound => {
            let text = "the node key is not known for this machine: log in again";
            Failure::new(StatusCode::NOT_FOUND, text)
        }
        Code::ResourceExhausted => Failure::new(StatusCode::SERVICE_UNAVAILABLE, status.message()),
        _ => status.into(),
    })?;
    machine.connection.is_known();
    if request.is_report() {
        let node_key = request.node_key.as_bytes();
        let report = report(&request)?;
        gateway
            .reporter
            .client(&located.tailnet, located.node, node_key, report);
        if !request.stream {
            return Ok(Answer::Taken);
        }
    }
    if !gateway.may_readmit() {
        let text = "the server has lost touch with its registry: try again later";
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, text));
    }
    let node_key = request.node_key.as_bytes();
    let tailnet = &located.tailnet;
    if !tailnet.shows(located.node, node_key, FIRST_VIEW).await {
        return Err(incomplete());
    }
    let compression = if request.wants_zstd() {
        Compression::Zstd
    } else {
        Compression::None
    };
    let dialect = Dialect {
        version: request.version,
        compression,
    };
    if request.stream {
        stream(gateway, machine, located, &request, dialect).await
    } else {
        once(gateway, &located, dialect).await
    }
}

fn incomplete() -> Failure {
    let text = "the network's state is not complete yet: try again in a few seconds";
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn unencodable(error: &FrameError) -> Failure {
    tracing::error!(%error, "a message could not be encoded");
    let text = "the message could not be encoded";
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}

async fn stream(
    gateway: &Arc<Gateway>,
    machine: &Machine,
    located: Located,
    request: &MapRequest,
    dialect: Dialect,
) -> Result<Answer, Failure> {
    let turn = gateway.admission.first_map().await?;
    let mut session = Session::begin(
        (located.tailnet, located.node),
        request.node_key.as_bytes().to_vec(),
        dialect,
        Arc::clone(&gateway.clock),
        gateway.reporter.clone(),
        machine.connection.clone(),
    );
    // A stream that is begun has its first message: clients take an empty one for a broken server.
    let first = session.next_frame().await;
    let first = first
        .map_err(|error| unencodable(&error))?
        .ok_or_else(incomplete)?;
    drop(turn);
    let later = stream::try_unfold(session, |mut session| async move {
        Ok(session.next_frame().await?.map(|frame| (frame, session)))
    });
    let frames = stream::once(async { Ok(first) }).chain(later);
    Ok(Answer::Frames(frames.boxed()))
}

async fn once(gateway: &Gateway, located: &Located, dialect: Dialect) -> Result<Answer, Failure> {
    let _turn = gateway.admission.first_map().await?;
    let (tailnet, node) = (&located.tailnet, located.node);
    let view = tailnet.history.view().told(dialect.version);
    let message = full(&view, node, &tailnet.derp_map.load(), gateway.clock.now())
        .ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "the node is gone: log in again"))?;
    let frame = dialect.encode(message);
    frame
        .map(Answer::Frame)
        .map_err(|error| unencodable(&error))
}

/// Returns what a request says about the host, bounded and without addresses peers can not use.
fn report(request: &MapRequest) -> Result<ClientReport, Failure> {
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
        .filter(|(address, _)| usable(address));
    let disco_key = Some(request.disco_key).filter(|key| !key.is_zero());
    Ok(ClientReport {
        disco_key: disco_key
            .map(|key| key.as_bytes().to_vec())
            .unwrap_or_default(),
        endpoints: endpoints
            .take(MOST_ENDPOINTS)
            .map(|(address, kind)| Endpoint {
                address: address.clone(),
                kind,
            })
            .collect(),
        capability_version: request.version.0.into(),
        host,
        sequence: 0,
    })
}

fn host_report(hostinfo: Hostinfo) -> Result<HostReport, Failure> {
    let Host { info, json } = Host::new(hostinfo)?;
    let net_info = info.net_info.as_ref();
    Ok(HostReport {
        home_derp: net_info.map_or(0, |net_info| net_info.preferred_derp),
        hostinfo: json,
        hostname: info.hostname,
        os: info.os,
        client_version: info.ipn_version,
        advertised_routes: info.routable_ips,
        requested_tags: info.request_tags,
    })
}

/// Says whether peers can send to an address: well-formed, without a zone, not link-local IPv6.
fn usable(address: &str) -> bool {
    match address.parse() {
        Ok(SocketAddr::V4(_)) => true,
        Ok(SocketAddr::V6(address)) => {
            address.scope_id() == 0 && !address.ip().is_unicast_link_local()
        }
        Err(_) => false,
    }
}
