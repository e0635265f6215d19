//! Takes connections from a listener, whatever carries them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection;
use super::counters::Count;
use super::entrance::Entrance;
use super::shared::Shared;
use crate::transport::{Arriving, Caller, Listener, NotArrived, Stream};

/// How long to wait when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for ever. Dropped, it ends those that are still arriving; the others go on.
pub(crate) async fn accept(shared: Arc<Shared>, listener: Listener) {
    let mut arriving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(connection) => admit(&shared, connection, &mut arriving),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = arriving.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a handshake panicked");
            },
        }
    }
}

/// A connection has a place from the beginning, so that handshakes are as few as connections.
fn admit(shared: &Arc<Shared>, connection: Arriving, arriving: &mut JoinSet<()>) {
    let Some(place) = shared.place() else {
        shared.counters.count(Count::ConnectNoPlace);
        let caller = connection.caller();
        tracing::warn!(%caller, "closed: there are limits.connections_max connections");
        return;
    };
    let shared = Arc::clone(shared);
    arriving.spawn(async move {
        let Some(Arrival {
            stream,
            caller,
            entrance,
        }) = arrive(&shared, connection).await
        else {
            return;
        };
        tracing::debug!(%caller, "accepted");
        tokio::spawn(async move {
            connection::serve(shared, stream, caller, entrance.crowded()).await;
            drop((place, entrance));
        });
    });
}

struct Arrival {
    stream: Stream,
    caller: Caller,
    entrance: Entrance,
}

/// Until its first byte can be read. It is counted by its address as soon as that is known: a handshake is not for whoever is one
/// too many.
async fn arrive(shared: &Shared, connection: Arriving) -> Option<Arrival> {
    let before = connection.caller().clone();
    let failed = |reason: NotArrived| {
        shared.counters.count(Count::ConnectHandshake);
        tracing::debug!(caller = %before, %reason, "closed");
    };
    let connection = connection.named().await.map_err(failed).ok()?;
    let entrance = connection::admit(shared, connection.caller(), !connection.has_tls())?;
    let (stream, caller) = connection.arrive().await.map_err(failed).ok()?;
    Some(Arrival {
        stream,
        caller,
        entrance,
    })
}
