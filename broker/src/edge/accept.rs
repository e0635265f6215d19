//! Takes connections from a listener, whatever carries them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection;
use super::counters::Count;
use super::shared::Shared;
use crate::transport::{Arriving, Listener};

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
    let caller = connection.caller();
    let Some(place) = shared.place() else {
        shared.counters.count(Count::ConnectNoPlace);
        tracing::warn!(%caller, "closed: there are limits.connections_max connections");
        return;
    };
    let caller = caller.clone();
    let shared = Arc::clone(shared);
    arriving.spawn(async move {
        let (stream, caller) = match connection.arrive().await {
            Ok(arrived) => arrived,
            Err(reason) => {
                shared.counters.count(Count::ConnectHandshake);
                return tracing::debug!(%caller, %reason, "closed");
            }
        };
        tracing::debug!(%caller, "accepted");
        tokio::spawn(async move {
            connection::serve(shared, stream, caller).await;
            drop(place);
        });
    });
}
