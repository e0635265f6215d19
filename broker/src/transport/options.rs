//! What this room is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Network, TlsOptions};

/// The listeners beside the plain ones, and what stands before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransportOptions {
    /// MQTT over TLS.
    pub mqtt_tls: Option<SocketAddr>,
    /// MQTT on a Unix socket.
    pub mqtt_unix: Option<PathBuf>,
    /// HTTPS, and MQTT over secure WebSocket.
    pub http_tls: Option<SocketAddr>,
    /// Certificates; always there if one of the ports above has TLS.
    pub tls: Option<TlsOptions>,
    /// Which ports are behind a load balancer.
    pub proxy: ProxyOptions,
}

/// Which ports are behind a load balancer that speaks version 2 of the PROXY protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// Connections to these begin with a PROXY header.
    pub ports: Vec<Port>,
    /// Who may connect to them.
    pub trusted: Vec<Network>,
}

impl ProxyOptions {
    /// Who may connect to a port, if it wants a PROXY header.
    pub fn trusted_at(&self, port: Port) -> Option<Vec<Network>> {
        self.ports.contains(&port).then(|| self.trusted.clone())
    }
}

/// A listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over TLS.
    MqttTls,
    /// MQTT on a Unix socket.
    MqttUnix,
    /// HTTP and WebSocket.
    Http,
    /// HTTPS and secure WebSocket.
    HttpTls,
}

impl Port {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Mqtt,
        Self::MqttTls,
        Self::MqttUnix,
        Self::Http,
        Self::HttpTls,
    ];
    /// Those that clients of other machines can reach.
    pub const REMOTE: [Self; 4] = [Self::Mqtt, Self::MqttTls, Self::Http, Self::HttpTls];

    /// The one that a key sets the address of.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|port| port.key() == key)
    }

    /// Whether MQTT comes in WebSockets there.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::HttpTls)
    }

    /// The key that sets its address.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt.address",
            Self::MqttTls => "mqtt.tls_address",
            Self::MqttUnix => "mqtt.unix_socket",
            Self::Http => "http.address",
            Self::HttpTls => "http.tls_address",
        }
    }
}
