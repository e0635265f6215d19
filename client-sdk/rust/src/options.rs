//! What a client is opened with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use syncline_protocol::ids::IdError;
use syncline_protocol::{Channel, Schema, StreamId, SyncId};

use crate::token::{Token, Tokens};

const MQTT_PORT: u16 = 1883;

/// Where a client keeps its outbox and its replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Nowhere: what is not saved when the process ends is lost.
    Memory,
    /// In this file, made if it is missing. One client, one stream, one file.
    File(PathBuf),
    /// In this folder, made if it is missing: a file for each stream, `<sync_id>.redb` or `<sync_id>+<channel>.redb`, and a
    /// folder for each user whom the options name. So an app names one place, whoever uses it and however many channels it
    /// follows.
    Folder(PathBuf),
}

impl Store {
    /// In which file a stream is kept, if in any.
    pub(crate) fn file(&self, stream: &StreamId, user: Option<&str>) -> Option<PathBuf> {
        match self {
            Self::Memory => None,
            Self::File(path) => Some(path.clone()),
            Self::Folder(path) => {
                let channel = stream.channel.as_ref();
                // No name has a plus sign (TOPIC-1), so no two streams share a file.
                let channel = channel.map_or(String::new(), |it| format!("+{it}"));
                let file = format!("{}{channel}.redb", stream.sync_id);
                Some(match user {
                    Some(user) => path.join(folder_of(user)).join(file),
                    None => path.join(file),
                })
            }
        }
    }
}

/// A name that every file system takes, and another one for each user: bytes that are not plain are written as `%` and two digits.
fn folder_of(user: &str) -> String {
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-_".contains(&it);
    let mut name = "user-".to_owned();
    for byte in user.bytes() {
        match plain(byte) {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address: host, host:port or [ipv6]:port")]
pub struct AddressError(String);

/// Where the broker listens. IPv6 addresses keep their brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    fn parse(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| error())?)
            }
            _ => (text, MQTT_PORT),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let sound = !host.is_empty() && (bracketed || !host.contains([':', '/', '[', ']']));
        if sound {
            Ok(Self {
                host: host.to_owned(),
                port,
            })
        } else {
            Err(error())
        }
    }
}

/// What a client is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) address: Address,
    pub(crate) stream: StreamId,
    pub(crate) store: Store,
    pub(crate) device_name: Option<String>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) user: Option<String>,
    pub(crate) schema: Option<Arc<Schema>>,
    pub(crate) online: bool,
    pub(crate) outbox_limit: Option<usize>,
}

/// A user and a password, which is never printed.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Why there are no such options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The name is none (TOPIC-1, TOPIC-2).
    #[error(transparent)]
    Name(#[from] IdError),
}

impl Options {
    /// The default stream of a group, at a broker (`host`, `host:port` or `[ipv6]:port`), kept in memory.
    pub fn new(address: &str, sync_id: &str) -> Result<Self, OptionsError> {
        let sync_id: SyncId = sync_id.parse()?;
        Ok(Self {
            address: Address::parse(address)?,
            stream: StreamId {
                sync_id,
                channel: None,
            },
            store: Store::Memory,
            device_name: None,
            credentials: None,
            tokens: None,
            user: None,
            schema: None,
            online: true,
            outbox_limit: None,
        })
    }

    /// Another stream of the group: a client follows one. See [`Client::channel`](crate::Client::channel), too.
    pub fn channel(mut self, channel: &str) -> Result<Self, OptionsError> {
        self.stream.channel = Some(channel.parse::<Channel>()?);
        Ok(self)
    }

    /// Where the outbox and the replica are kept.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// What people call this device; others see it in its presence.
    #[must_use]
    pub fn device_name(mut self, name: impl Into<String>) -> Self {
        self.device_name = Some(name.into());
        self
    }

    /// Who the user is, for a broker that asks, and whose what is stored is, as by [`Options::user`].
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials {
            user: user.into(),
            password: password.into(),
        });
        self
    }

    /// Where tokens come from that say who the user is, for a broker that takes them. It is asked before each connection, and
    /// again when a token says so ([`Token::renew_in`]): then the connection goes on with the fresh one. An error is shown in
    /// `Status::reason`, and it is asked again like after a connection that failed. Wins over [`Options::credentials`].
    #[must_use]
    pub fn token<F, E>(mut self, ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Token, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.tokens = Some(Tokens::new(ask));
        self
    }

    /// Whose what is stored is, so that nobody sees or sends what another user did: a file is its first user's, and another one is
    /// refused; in a [`Store::Folder`] each has a folder. Beside [`Options::token`] this says what no token says here.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The schema by which changes are shown and said before the broker's own is known, so that a new installation works offline
    /// from its first moment. The broker's counts as soon as it is here.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(Arc::new(schema));
        self
    }

    /// Whose what is stored is.
    pub(crate) fn owner(&self) -> Option<&str> {
        let credentials = self.credentials.as_ref();
        let user = self.user.as_deref();
        user.or_else(|| credentials.map(|it| it.user.as_str()))
    }

    /// Whether to connect at once (the default); see `Client::set_online`.
    #[must_use]
    pub fn online(mut self, online: bool) -> Self {
        self.online = online;
        self
    }

    /// How many changes may wait for the broker; 10,000 unless said.
    #[must_use]
    pub fn outbox_limit(mut self, intents: usize) -> Self {
        self.outbox_limit = Some(intents);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        let parsed = |text: &str| Address::parse(text).map(|it| (it.host, it.port)).ok();
        assert_eq!(
            parsed("broker.local"),
            Some(("broker.local".to_owned(), 1883))
        );
        assert_eq!(parsed("127.0.0.1:7"), Some(("127.0.0.1".to_owned(), 7)));
        assert_eq!(parsed("[::1]:7"), Some(("[::1]".to_owned(), 7)));
        assert_eq!(parsed("[::1]"), Some(("[::1]".to_owned(), 1883)));
        for bad in ["", ":7", "host:port", "::1", "mqtt://host", "host:99999"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let options = Options::new("localhost", "demo").unwrap();
        let printed = format!("{:?}", options.credentials("ana", "a-right"));
        assert!(printed.contains("ana") && !printed.contains("a-right"));
    }

    #[test]
    fn each_stream_has_its_own_file_in_a_folder() {
        let store = Store::Folder("data".into());
        let file = |options: Options| store.file(&options.stream, options.owner()).unwrap();
        let options = Options::new("localhost", "demo").unwrap();
        assert_eq!(file(options.clone()), PathBuf::from("data/demo.redb"));
        let jam = options.clone().channel("jam.room").unwrap();
        assert_eq!(file(jam), PathBuf::from("data/demo+jam.room.redb"));
        let of = |user: &str| file(options.clone().user(user));
        assert_eq!(of("ana"), PathBuf::from("data/user-ana/demo.redb"));
        assert_eq!(
            of("../Ana"),
            PathBuf::from("data/user-%2e%2e%2f%41na/demo.redb")
        );
        let credentials = options.clone().credentials("bob", "b");
        assert_eq!(file(credentials), PathBuf::from("data/user-bob/demo.redb"));
    }

    #[test]
    fn topic_2_a_channel_has_no_reserved_name() {
        let options = Options::new("localhost", "demo").unwrap();
        assert!(options.clone().channel("notes").is_ok());
        assert!(options.channel("events").is_err());
        assert!(Options::new("localhost", "a/b").is_err());
    }
}
