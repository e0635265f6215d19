//! `[mqtt]`, `[http]`, `[tls]` and `[proxy]`: where is listened, and what stands before it.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::Uri;

use super::layers::Layers;
use super::raw::Raw;
use super::{ConfigError, checks};
use crate::transport::{Network, Port, ProxyOptions, TlsFile, TlsOptions, TransportOptions};

/// The two addresses that are always there, and everything else.
pub(super) struct Resolved {
    pub(super) mqtt: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) transports: TransportOptions,
}

/// `is_closed`: whoever connects must say who they are.
pub(super) fn resolve(
    layers: &Layers,
    raw: &Raw,
    is_closed: bool,
) -> Result<Resolved, ConfigError> {
    let mqtt = checks::address(layers, Port::Mqtt.key(), &raw.mqtt.address)?;
    let http = checks::address(layers, Port::Http.key(), &raw.http.address)?;
    let tls = tls(layers, raw)?;
    let encrypted = |port: Port, text: &str| match (text, &tls) {
        ("", _) => Ok(None),
        (_, None) => Err(bad(
            layers,
            port.key(),
            "with `tls.certificate` and `tls.key`",
        )),
        (text, Some(_)) => checks::address(layers, port.key(), text).map(Some),
    };
    let mqtt_tls = encrypted(Port::MqttTls, &raw.mqtt.tls_address)?;
    let http_tls = encrypted(Port::HttpTls, &raw.http.tls_address)?;
    let plain = [(Port::Mqtt, Some(mqtt)), (Port::Http, Some(http))];
    let encrypted = [(Port::MqttTls, mqtt_tls), (Port::HttpTls, http_tls)];
    checks::distinct(layers, &[plain, encrypted].concat())?;
    if !raw.auth.anonymous_on_public_addresses && !is_closed {
        private(layers, &plain)?;
        if !tls.as_ref().is_some_and(TlsOptions::knows_every_client) {
            private(layers, &encrypted)?;
        }
    }
    let proxy = proxy(layers, raw)?;
    let absent = |it: &&(Port, Option<SocketAddr>)| it.1.is_none() && proxy.ports.contains(&it.0);
    if let Some((port, _)) = encrypted.iter().find(absent) {
        let expected = format!("ports that are listened on; `{}` is empty", port.key());
        return Err(bad(layers, "proxy.ports", &expected));
    }
    let path = &raw.mqtt.unix_socket;
    let transports = TransportOptions {
        mqtt_tls,
        mqtt_unix: (!path.is_empty()).then(|| PathBuf::from(path)),
        http_tls,
        tls,
        proxy,
    };
    Ok(Resolved {
        mqtt,
        http,
        transports,
    })
}

fn private(layers: &Layers, ports: &[(Port, Option<SocketAddr>)]) -> Result<(), ConfigError> {
    let ports = ports
        .iter()
        .filter_map(|(port, address)| Some((port, (*address)?)));
    for (port, address) in ports {
        checks::private(layers, port.key(), address)?;
    }
    Ok(())
}

/// Both files, or neither.
fn tls(layers: &Layers, raw: &Raw) -> Result<Option<TlsOptions>, ConfigError> {
    let file = |key: &str, path: &str| TlsFile {
        path: PathBuf::from(path),
        named_by: format!("{}: `{key}`", layers.origin(key)),
    };
    match (&*raw.tls.certificate, &*raw.tls.key, &*raw.tls.client_ca) {
        ("", "", "") => Ok(None),
        ("", "", _) => Err(bad(
            layers,
            "tls.client_ca",
            "with `tls.certificate` and `tls.key`",
        )),
        ("", ..) => Err(bad(layers, "tls.key", "together with `tls.certificate`")),
        (_, "", _) => Err(bad(layers, "tls.certificate", "together with `tls.key`")),
        (certificate, key, ca) => Ok(Some(TlsOptions {
            certificate: file("tls.certificate", certificate),
            key: file("tls.key", key),
            client_ca: (!ca.is_empty()).then(|| file("tls.client_ca", ca)),
            client_certificate_required: raw.tls.client_certificate_required,
        })),
    }
}

fn proxy(layers: &Layers, raw: &Raw) -> Result<ProxyOptions, ConfigError> {
    let port = |name: &String| {
        let port = Port::REMOTE.into_iter().find(|port| port.key() == name);
        let keys = Port::REMOTE.map(Port::key).join(", ");
        port.ok_or_else(|| {
            bad(
                layers,
                "proxy.ports",
                &format!("some of {keys}, not `{name}`"),
            )
        })
    };
    let network = |text: &String| {
        let expected = format!("IP addresses and networks such as 10.0.0.0/8, not `{text}`");
        let network = text.parse::<Network>();
        network.map_err(|_| bad(layers, "proxy.trusted", &expected))
    };
    let ports = raw.proxy.ports.iter().map(port).collect::<Result<_, _>>()?;
    let trusted = raw.proxy.trusted.iter().map(network);
    let proxy = ProxyOptions {
        ports,
        trusted: trusted.collect::<Result<_, _>>()?,
    };
    if !proxy.ports.is_empty() && proxy.trusted.is_empty() {
        return Err(bad(
            layers,
            "proxy.ports",
            "with the load balancer's address in `proxy.trusted`",
        ));
    }
    Ok(proxy)
}

/// Each as a browser writes it: scheme, host, and port unless it is the scheme's own.
pub(super) fn origins(layers: &Layers, raw: &Raw) -> Result<(), ConfigError> {
    let is_origin = |text: &&String| {
        let uri = text.parse::<Uri>().ok();
        let parts =
            uri.and_then(|uri| Some((uri.scheme_str()?.to_owned(), uri.authority()?.to_string())));
        let parts = parts.filter(|(scheme, authority)| {
            let own_port = match scheme.as_str() {
                "https" => ":443",
                "http" => ":80",
                _ => return true,
            };
            !authority.ends_with(own_port)
        });
        let whole = parts.map(|(scheme, authority)| format!("{scheme}://{authority}"));
        whole.is_some_and(|whole| whole.eq_ignore_ascii_case(text))
    };
    let mut origins = raw.http.allowed_origins.iter();
    match origins.find(|text| !is_origin(text)) {
        None => Ok(()),
        Some(wrong) => {
            let expected = format!("origins such as https://app.example, not `{wrong}`");
            Err(bad(layers, "http.allowed_origins", &expected))
        }
    }
}

fn bad(layers: &Layers, key: &str, expected: &str) -> ConfigError {
    ConfigError::BadValue {
        origin: layers.origin(key),
        key: key.to_owned(),
        expected: expected.to_owned(),
    }
}
