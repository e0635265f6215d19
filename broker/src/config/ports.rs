//! `[limits.ports."<port>"]`: what a listener has of its own.

use std::fmt::Write;
use std::time::Duration;

use config::Value;

use super::layers::Layers;
use super::raw::{PortLimits, Raw};
use super::{ConfigError, Contradiction, Setting, checks};
use crate::edge::{PortOptions, Ports};
use crate::transport::{Port, TransportOptions};

/// Before the port's key.
pub(super) const PREFIX: &str = "limits.ports.";

/// What of `[limits]` a port may have of its own.
const KEYS: [&str; 6] = [
    "connections_max",
    "connections_per_s",
    "connect_timeout_ms",
    "packet_bytes_max",
    "publish_messages_per_s",
    "publish_bytes_per_s",
];

const WHY_SOME_OF_ALL: &str = "the connections of a port are some of all";

/// Whether a key is a table of the file: that of all ports, or one port's.
pub(super) fn is_table(key: &str) -> bool {
    let port = key.strip_prefix(PREFIX).and_then(Port::of_key);
    key == PREFIX.trim_end_matches('.') || port.is_some()
}

/// The key of `[limits]` in whose place this one stands, if it is a port's.
pub(super) fn overridden(key: &str) -> Option<String> {
    split(key).map(|(_, own)| format!("limits.{own}"))
}

/// For whoever wrote another key.
pub(super) fn known() -> String {
    let ports = Port::ALL.map(|port| format!("[{PREFIX}\"{}\"]", port.key()));
    format!("there are {}, with {}", ports.join(", "), KEYS.join(", "))
}

/// A port's key as a line of a file, in which the name of the port is one word.
pub(super) fn line(key: &str, value: &Value) -> Option<String> {
    let (port, own) = split(key)?;
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(line, "limits.ports.\"{}\".{own} = {value}", port.key());
    Some(line)
}

/// A port, and a key of its own.
fn split(key: &str) -> Option<(Port, &str)> {
    let (port, own) = key.strip_prefix(PREFIX)?.rsplit_once('.')?;
    let port = Port::of_key(port)?;
    KEYS.contains(&own).then_some((port, own))
}

/// The limits of the ports that have some, checked.
pub(super) fn limits(
    layers: &Layers,
    raw: &Raw,
    transports: &TransportOptions,
) -> Result<Ports, ConfigError> {
    let named = raw.limits.ports.iter();
    let named = named.filter_map(|(name, own)| Some((Port::of_key(name)?, own)));
    let ports = named.map(|(port, own)| {
        listened(layers, port, transports)?;
        let own = Own { layers, port, own };
        Ok((port, own.options(raw)?))
    });
    ports.collect()
}

fn listened(layers: &Layers, port: Port, transports: &TransportOptions) -> Result<(), ConfigError> {
    let is_listened = match port {
        Port::Mqtt | Port::Http => true,
        Port::MqttTls => transports.mqtt_tls.is_some(),
        Port::MqttUnix => transports.mqtt_unix.is_some(),
        Port::HttpTls => transports.http_tls.is_some(),
    };
    if is_listened {
        return Ok(());
    }
    let table = format!("{PREFIX}{}", port.key());
    let keys = KEYS.map(|own| format!("{table}.{own}"));
    let origin = keys.iter().find_map(|key| layers.origin_of(key));
    Err(ConfigError::BadValue {
        origin: origin.unwrap_or(super::Origin::Default),
        key: table,
        expected: format!(
            "of a port that is listened on; set `{}`, or leave the table out",
            port.key()
        ),
    })
}

/// What the configuration says of one port.
struct Own<'a> {
    layers: &'a Layers,
    port: Port,
    own: &'a PortLimits,
}

impl Own<'_> {
    fn options(&self, raw: &Raw) -> Result<PortOptions, ConfigError> {
        let [
            connections_max,
            connections_per_s,
            timeout,
            packet,
            messages,
            bytes,
        ] = KEYS.map(|key| self.setting(key));
        let options = PortOptions {
            connections_max: number(connections_max.as_ref(), 0)?,
            connections_per_s: number(connections_per_s.as_ref(), 0)?,
            connect_timeout: Duration::from_millis(number(
                timeout.as_ref(),
                raw.limits.connect_timeout_ms,
            )?),
            packet_bytes_max: number(packet.as_ref(), raw.limits.packet_bytes_max)?,
            publish_messages_per_s: number(messages.as_ref(), raw.limits.publish_messages_per_s)?,
            publish_bytes_per_s: number(bytes.as_ref(), raw.limits.publish_bytes_per_s)?,
        };
        self.some_of_all(connections_max, "limits.connections_max")?;
        self.some_of_all(connections_per_s, "limits.connections_per_s")?;
        if let Some(packet) = packet {
            let of_http = "http.websocket_message_bytes_max";
            let foreign = (!self.port.is_http()).then_some(of_http);
            checks::in_place(self.layers, "limits.packet_bytes_max", &packet, foreign)?;
        }
        Ok(options)
    }

    fn setting(&self, key: &str) -> Option<Setting> {
        let own = self.own;
        let value = match key {
            "connections_max" => own.connections_max,
            "connections_per_s" => own.connections_per_s,
            "connect_timeout_ms" => own.connect_timeout_ms,
            "packet_bytes_max" => own.packet_bytes_max,
            "publish_messages_per_s" => own.publish_messages_per_s,
            _ => own.publish_bytes_per_s,
        };
        let key = format!("{PREFIX}{}.{key}", self.port.key());
        let origin = self.layers.origin(&key);
        value.map(|value| Setting { key, value, origin })
    }

    /// What all may have is none where it is 0.
    fn some_of_all(&self, own: Option<Setting>, all: &str) -> Result<(), ConfigError> {
        let all = self.layers.setting(all);
        match own {
            Some(own) if all.value > 0 && own.value > all.value => {
                let contradiction = Contradiction {
                    small: own,
                    relation: "at most".to_owned(),
                    large: all,
                    why: WHY_SOME_OF_ALL,
                };
                Err(ConfigError::Contradiction(Box::new(contradiction)))
            }
            _ => Ok(()),
        }
    }
}

/// A value within the bounds of the key in whose place it stands.
fn number<T: TryFrom<i64>>(own: Option<&Setting>, general: T) -> Result<T, ConfigError> {
    let Some(own) = own else { return Ok(general) };
    let place = overridden(&own.key).unwrap_or_default();
    checks::bound_as(own, &place)?;
    let value = T::try_from(own.value).ok();
    value.ok_or_else(|| ConfigError::BadValue {
        origin: own.origin.clone(),
        key: own.key.clone(),
        expected: "a smaller number".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Flags, load};
    use super::*;

    fn of(text: &str, variables: &[(&str, &str)]) -> Result<Ports, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let flags = Flags {
            config: Some(file.path().to_owned()),
            ..Flags::default()
        };
        let variables = variables.iter();
        let variables: Environment = variables
            .map(|(name, value)| (format!("SYNCLINE__{name}"), (*value).to_owned()))
            .collect();
        let options = load(&flags, &variables).map_err(|error| error.to_string());
        Ok(options?.edge.ports)
    }

    #[test]
    fn what_a_port_does_not_say_is_that_of_all() {
        let text = "[limits]\nconnect_timeout_ms = 7\npublish_bytes_per_s = 9\nconnections_per_s = 50\n\
                    [limits.ports.\"mqtt.address\"]\nconnections_max = 5\npublish_messages_per_s = 3\n";
        let ports = of(text, &[]).unwrap();
        let own = PortOptions {
            connections_max: 5,
            connections_per_s: 0,
            connect_timeout: Duration::from_millis(7),
            packet_bytes_max: 1_048_576,
            publish_messages_per_s: 3,
            publish_bytes_per_s: 9,
        };
        assert_eq!(ports, Ports::from([(Port::Mqtt, own)]));
        assert!(of("", &[]).unwrap().is_empty());
    }

    #[test]
    fn the_environment_wins_over_the_file_key_by_key() {
        let text = "[limits.ports.\"http.address\"]\nconnections_max = 5\nconnections_per_s = 6\n";
        let variables = [
            ("LIMITS__PORTS__HTTP__ADDRESS__CONNECTIONS_MAX", "8"),
            ("LIMITS__PORTS__HTTP__ADDRESS__PUBLISH_BYTES_PER_S", "1_000"),
            ("LIMITS__PORTS__MQTT__UNIX_SOCKET__CONNECT_TIMEOUT_MS", "9"),
            ("MQTT__UNIX_SOCKET", "/nowhere/mqtt.sock"),
        ];
        let ports = of(text, &variables).unwrap();
        let http = ports[&Port::Http];
        assert_eq!((http.connections_max, http.connections_per_s), (8, 6));
        assert_eq!(http.publish_bytes_per_s, 1_000);
        let unix = ports[&Port::MqttUnix];
        assert_eq!(unix.connect_timeout, Duration::from_millis(9));
        let error = of("", &[("LIMITS__PORTS__MQTT__ADDRESS__INFLIGHT_MAX", "8")]).unwrap_err();
        assert!(
            error.contains("is not a key; there are [limits.ports."),
            "{error}"
        );
    }

    #[test]
    fn packets_of_a_port_are_held_to_what_packets_are_held_to() {
        let larger = |port: &str| {
            format!(
                "[limits.ports.\"{port}\"]\npacket_bytes_max = 4_194_304\n[http]\nwebsocket_message_bytes_max = 2_097_152\n"
            )
        };
        assert!(of(&larger("mqtt.address"), &[]).is_ok());
        let error = of(&larger("http.address"), &[]).unwrap_err();
        assert!(
            error.contains("raise `http.websocket_message_bytes_max`"),
            "{error}"
        );
        let queue = [("SESSIONS__QUEUE_BYTES_MAX", "2_097_152")];
        let error = of(&larger("mqtt.address"), &queue).unwrap_err();
        assert!(
            error.contains("raise `sessions.queue_bytes_max`"),
            "{error}"
        );
    }
}
