//! The STUN socket's loop around [`stun::answer_datagram`].

use tokio::net::UdpSocket;
use tracing::debug;

use crate::{Relay, stun};

/// Longer datagrams are cut by the read, and so no longer well-formed.
const MAX_DATAGRAM: usize = 1500;

/// Answers Binding requests for ever.
pub(crate) async fn answer_requests(relay: Relay, socket: UdpSocket) {
    let meters = &relay.state().meters;
    let mut datagram = [0; MAX_DATAGRAM];
    loop {
        // An error here reports that an earlier answer could not be delivered: nothing to do with the next request.
        let Ok((len, source)) = socket.recv_from(&mut datagram).await else {
            tokio::task::yield_now().await;
            continue;
        };
        match stun::answer_datagram(&datagram[..len], source) {
            Some(answer) => {
                meters.stun_answered.increment(1);
                if let Err(error) = socket.send_to(&answer, source).await {
                    debug!(%source, %error, "stun answer was not sent");
                }
            }
            None => meters.stun_ignored.increment(1),
        }
    }
}
