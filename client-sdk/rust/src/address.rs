//! Where a broker listens, as apps write it.

use std::fmt;
use std::path::PathBuf;

/// What stands for the path of a WebSocket unless the address has one.
const WEBSOCKET_PATH: &str = "/mqtt";

/// Why an address is none. It never shows what stands before an `@`, which may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is not an address: {problem}")]
pub struct AddressError {
    address: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error(
        "it begins with none of mqtt://, mqtts://, ws://, wss:// and unix:/, and is not host, host:port or [ipv6]:port either"
    )]
    Scheme,
    #[error("what is between {scheme} and the path must be host, host:port or [ipv6]:port")]
    Host { scheme: &'static str },
    #[error("a port is a number from 1 to 65535")]
    Port,
    #[error("MQTT over TCP has no path; leave it out, or write ws:// or wss://")]
    Path,
    #[error(
        "a path has no spaces, no fragment (#) and nothing beyond ASCII; write them as %20 and the like"
    )]
    PathBytes,
    #[error("a user does not stand in an address; use Options::credentials or Options::token")]
    User,
    #[error("a socket's path is absolute, such as unix:/run/syncline/mqtt.sock")]
    Relative,
    #[cfg(not(unix))]
    #[error("there are no Unix sockets on this system; use mqtt://")]
    NoUnix,
    #[cfg(not(feature = "tls"))]
    #[error("this build has no TLS; enable the feature `tls` of syncline-client")]
    NoTls,
    #[cfg(not(feature = "websocket"))]
    #[error("this build has no WebSocket; enable the feature `websocket` of syncline-client")]
    NoWebSocket,
}

/// Where the broker listens, and what is spoken below MQTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Net(Net),
    #[cfg_attr(not(unix), expect(dead_code))]
    Unix(PathBuf),
}

/// A host that is reached by TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Net {
    /// IPv6 addresses without their brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// By WebSocket, and there.
    pub(crate) path: Option<String>,
}

struct Scheme {
    text: &'static str,
    port: u16,
    tls: bool,
    websocket: bool,
}

const fn scheme(text: &'static str, port: u16, tls: bool, websocket: bool) -> Scheme {
    Scheme {
        text,
        port,
        tls,
        websocket,
    }
}

const SCHEMES: [Scheme; 4] = [
    scheme("mqtt://", 1_883, false, false),
    scheme("mqtts://", 8_883, true, false),
    scheme("ws://", 80, false, true),
    scheme("wss://", 443, true, true),
];

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        parse(text).map_err(|problem| AddressError {
            address: without_user(text),
            problem,
        })
    }

    /// Whether certificates have a part in it.
    #[cfg(feature = "tls")]
    pub(crate) fn has_tls(&self) -> bool {
        matches!(self, Self::Net(net) if net.tls)
    }
}

/// For people and logs: without the path, which may name a deployment.
impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

fn parse(text: &str) -> Result<Address, Problem> {
    if text.contains('@') && !text.starts_with("unix:") {
        return Err(Problem::User);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    let lower = text.to_ascii_lowercase();
    let Some(scheme) = SCHEMES.iter().find(|it| lower.starts_with(it.text)) else {
        return bare(text);
    };
    #[cfg(not(feature = "tls"))]
    if scheme.tls {
        return Err(Problem::NoTls);
    }
    #[cfg(not(feature = "websocket"))]
    if scheme.websocket {
        return Err(Problem::NoWebSocket);
    }
    let rest = &text[scheme.text.len()..];
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port) = host_and_port(authority, scheme.port, scheme.text)?;
    let path = match scheme.websocket {
        true => Some(websocket_path(path)?),
        false if matches!(path, "" | "/") => None,
        false => return Err(Problem::Path),
    };
    let tls = scheme.tls;
    Ok(Address::Net(Net {
        host,
        port,
        tls,
        path,
    }))
}

/// A host without a scheme is plain MQTT.
fn bare(text: &str) -> Result<Address, Problem> {
    if text.contains('/') {
        return Err(Problem::Scheme);
    }
    let (host, port) =
        host_and_port(text, SCHEMES[0].port, "").map_err(|problem| match problem {
            Problem::Host { .. } => Problem::Scheme,
            other => other,
        })?;
    Ok(Address::Net(Net {
        host,
        port,
        tls: false,
        path: None,
    }))
}

fn unix(path: &str) -> Result<Address, Problem> {
    #[cfg(not(unix))]
    return Err(Problem::NoUnix);
    // unix:///run/x is unix:/run/x, by the rules of URLs.
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path == "/" {
        return Err(Problem::Relative);
    }
    Ok(Address::Unix(path.into()))
}

fn host_and_port(text: &str, usual: u16, scheme: &'static str) -> Result<(String, u16), Problem> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        // Without brackets nobody knows where the port begins.
        Some(inside) if inside.contains(':') => inside,
        _ if host.is_empty() || host.contains([':', '[', ']']) => {
            return Err(Problem::Host { scheme });
        }
        _ => host,
    };
    if host.contains(|it: char| it.is_whitespace() || it.is_control()) {
        return Err(Problem::Host { scheme });
    }
    let port = match port {
        None => usual,
        Some(text) => match text.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(Problem::Port),
        },
    };
    Ok((host.to_owned(), port))
}

fn websocket_path(path: &str) -> Result<String, Problem> {
    if path.contains('#') || !path.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(Problem::PathBytes);
    }
    Ok(match path {
        "" | "/" => WEBSOCKET_PATH.to_owned(),
        _ if path.starts_with('?') => format!("{WEBSOCKET_PATH}{path}"),
        _ => path.to_owned(),
    })
}

fn without_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Option<(String, u16, bool, Option<String>)> {
        match Address::parse(text) {
            Ok(Address::Net(net)) => Some((net.host, net.port, net.tls, net.path)),
            _ => None,
        }
    }

    fn plain(host: &str, port: u16) -> Option<(String, u16, bool, Option<String>)> {
        Some((host.to_owned(), port, false, None))
    }

    fn problem(text: &str) -> String {
        Address::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(net("broker.local"), plain("broker.local", 1_883));
        assert_eq!(net("127.0.0.1:7"), plain("127.0.0.1", 7));
        assert_eq!(net("[::1]:7"), plain("::1", 7));
        assert_eq!(net("[::1]"), plain("::1", 1_883));
        for bad in [
            "",
            ":7",
            "host:port",
            "::1",
            "host:99999",
            "host:0",
            "[]:7",
            "a b",
        ] {
            assert_eq!(net(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_url_names_what_is_spoken() {
        assert_eq!(net("mqtt://host"), plain("host", 1_883));
        assert_eq!(net("MQTT://host:7/"), plain("host", 7));
        for bad in [
            "mqtt://",
            "mqtt://:7",
            "mqtt://::1",
            "http://host",
            "mqtt:host",
        ] {
            assert_eq!(net(bad), None, "{bad}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_has_a_port_of_its_own() {
        let tls = |host: &str, port| Some((host.to_owned(), port, true, None));
        assert_eq!(net("mqtts://host"), tls("host", 8_883));
        assert_eq!(net("mqtts://[::1]:7"), tls("::1", 7));
    }

    #[cfg(all(feature = "tls", feature = "websocket"))]
    #[test]
    fn a_websocket_has_a_path() {
        let at =
            |port, tls, path: &str| Some(("host".to_owned(), port, tls, Some(path.to_owned())));
        assert_eq!(net("ws://host"), at(80, false, "/mqtt"));
        assert_eq!(net("ws://host:8080/"), at(8_080, false, "/mqtt"));
        assert_eq!(net("wss://host/a/b?c=d"), at(443, true, "/a/b?c=d"));
        assert_eq!(net("wss://host?c=d"), at(443, true, "/mqtt?c=d"));
        assert!(problem("ws://host/a b").contains("%20"));
        assert!(problem("ws://host/#top").contains("fragment"));
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_has_an_absolute_path() {
        let path = Ok(Address::Unix("/run/mqtt.sock".into()));
        assert_eq!(Address::parse("unix:/run/mqtt.sock"), path);
        assert_eq!(Address::parse("unix:///run/mqtt.sock"), path);
        assert!(problem("unix:mqtt.sock").contains("absolute"));
        assert!(problem("unix:").contains("absolute"));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_remedy() {
        assert!(problem("http://host").contains("mqtts://"));
        assert!(problem("host:port").contains("1 to 65535"));
        assert!(problem("mqtt://host/topic").contains("ws://"));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        let said = problem("mqtt://ana:a-right@host");
        assert!(said.contains("Options::credentials"), "{said}");
        assert!(said.contains("host") && !said.contains("a-right"), "{said}");
        let error = Address::parse("mqtt://ana:a-right@host").unwrap_err();
        assert!(!format!("{error:?}").contains("a-right"));
    }
}
