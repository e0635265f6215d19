//! One HTTP port, with TLS or without: the demo page, MQTT over WebSocket at `/mqtt`, `/healthz`, `/readyz` and `/schema`.
//!
//! Browsers reach this port, so every request is checked for where it comes from (`guard.rs`) before anything else.
//! The MQTT in a WebSocket belongs to the edge: this room checks the upgrade, sets the socket's bounds and hands it over.
//!
//! The calling contract: [`Server::serve`] runs until `shutdown`, then answers what is open within [`DRAIN_DEADLINE`]. WebSockets are
//! not waited for: whoever took them ends them.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod guard;
mod pages;
mod patience;
mod serve;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use serde::Serialize;

use crate::edge::{Entrance, HttpRefusal};
use crate::transport::Caller;
pub use serve::{DRAIN_DEADLINE, Server};

/// The subprotocol that MQTT over WebSocket has (MQTT 5.0, section 6).
const SUBPROTOCOL: &str = "mqtt";

/// Where MQTT over WebSocket is.
const WEBSOCKET_PATH: &str = "/mqtt";

/// Whether it lives, and whether it can do its work.
const HEALTH_PATH: &str = "/healthz";
const READINESS_PATH: &str = "/readyz";

/// What the HTTP port is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// The folder of the demo page.
    pub pages: PathBuf,
    /// Names in Host headers beside localhost and IP addresses.
    pub allowed_hosts: Vec<String>,
    /// Origins of foreign pages that may open a WebSocket, as browsers write them.
    pub allowed_origins: Vec<String>,
    /// Connections at a time, WebSockets included; more wait to be accepted.
    pub connections_max: usize,
    /// For the headers of a request.
    pub header_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// Bounds of a WebSocket.
    pub websocket: WebSocketOptions,
}

/// Bounds of one WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketOptions {
    /// Largest message from the client.
    pub message_bytes_max: usize,
    /// Read from the socket at a time.
    pub read_buffer_bytes: usize,
    /// Written and not yet taken by the socket. A message that does not fit is an error for the writer, so one message
    /// must be smaller than this.
    pub write_buffer_bytes_max: usize,
}

/// Takes over a WebSocket that asked for MQTT, with what is known of its client, and runs it to its end.
pub type WebSocketHandler = Arc<
    dyn Fn(WebSocket, Caller, Arc<Entrance>) -> Pin<Box<dyn Future<Output = ()> + Send>>
        + Send
        + Sync,
>;

/// Whether the broker can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The store takes and gives.
    pub store: bool,
    /// The bus carries messages.
    pub router: bool,
    /// The broker is shutting down.
    pub draining: bool,
}

/// Counts a connection.
pub type Enter = Arc<dyn Fn(&Caller, bool) -> Option<Entrance> + Send + Sync>;

/// Counts what was refused.
pub type Refused = Arc<dyn Fn(HttpRefusal) + Send + Sync>;

/// What the other rooms lend to this one.
#[derive(Clone)]
pub struct HttpServices {
    /// Runs MQTT over a WebSocket.
    pub mqtt: WebSocketHandler,
    /// Counts a connection by its address, before its handshake; `true`: it can be told that it is one too many. None: it is
    /// closed.
    pub enter: Enter,
    /// Counts what was refused.
    pub refused: Refused,
    /// Asked by `/readyz`; must not block.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// SCHEMA-3, the answer of `/schema`; must not block.
    pub schema_document: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for HttpServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServices").finish_non_exhaustive()
    }
}

/// Everything that a request can reach.
pub fn routes(options: &HttpOptions, services: HttpServices) -> Router {
    let guard = Arc::new(guard::Guard::new(
        &options.allowed_hosts,
        &options.allowed_origins,
    ));
    let refused = Arc::clone(&services.refused);
    let port = Port {
        services,
        websocket: options.websocket,
    };
    Router::new()
        .route(WEBSOCKET_PATH, any(mqtt))
        .route(HEALTH_PATH, get(|| async { "ok\n" }))
        .route(READINESS_PATH, get(readyz))
        .route("/schema", get(schema))
        .fallback_service(pages::service(&options.pages))
        .with_state(port)
        .layer(middleware::from_fn_with_state(
            (guard, refused),
            guard::check,
        ))
}

#[derive(Clone)]
struct Port {
    services: HttpServices,
    websocket: WebSocketOptions,
}

async fn mqtt(
    State(port): State<Port>,
    Extension(caller): Extension<Caller>,
    Extension(place): Extension<serve::Place>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        let why = "this WebSocket speaks the subprotocol `mqtt` only\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    }
    let bounds = port.websocket;
    upgrade
        .max_message_size(bounds.message_bytes_max)
        .max_frame_size(bounds.message_bytes_max)
        .read_buffer_size(bounds.read_buffer_bytes)
        // Every message is written at once: a session flushes when it has nothing more to say anyway.
        .write_buffer_size(0)
        .max_write_buffer_size(bounds.write_buffer_bytes_max)
        .on_upgrade(move |socket| async move {
            place.upgrade();
            let Some(entrance) = place.entrance() else {
                return;
            };
            (port.services.mqtt)(socket, caller, entrance).await;
            place.leave();
        })
}

async fn readyz(State(port): State<Port>) -> Response {
    let readiness = (port.services.readiness)();
    let body = serde_json::to_string(&readiness).expect("three booleans are JSON");
    let status = match readiness {
        Readiness {
            store: true,
            router: true,
            draining: false,
        } => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, JSON, body).into_response()
}

async fn schema(State(port): State<Port>) -> Response {
    (JSON, (port.services.schema_document)()).into_response()
}

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

#[cfg(test)]
mod tests;
