//! The TCP listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::connection;
use super::shared::Shared;

/// How long to wait when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for ever.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((socket, address)) => admit(&shared, socket, address),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(shared: &Arc<Shared>, socket: TcpStream, address: SocketAddr) {
    let Some(place) = shared.place() else {
        tracing::warn!(%address, "closed: there are limits.connections_max connections");
        return;
    };
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%address, %error, "TCP_NODELAY was not set");
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tracing::debug!(%address, "accepted");
        connection::serve(shared, socket).await;
        drop(place);
    });
}
