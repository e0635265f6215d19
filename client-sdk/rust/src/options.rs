//! What a client is opened with.

use std::fmt;
#[cfg(feature = "tls")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use syncline_protocol::ids::IdError;
use syncline_protocol::{Channel, Schema, StreamId, SyncId};

use crate::address::{Address, AddressError};
use crate::token::{Token, Tokens};
#[cfg(feature = "tls")]
use crate::transport::tls::{self, TlsError, Trust};

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

/// What a client is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) address: Address,
    #[cfg(feature = "tls")]
    pub(crate) trust: Trust,
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
    /// The default stream of a group, kept in memory, at a broker:
    ///
    /// | address | how |
    /// | --- | --- |
    /// | `host`, `host:port`, `[ipv6]:port`, `mqtt://host` | TCP, port 1883 |
    /// | `mqtts://host` | TLS, port 8883 |
    /// | `ws://host/path` | WebSocket, port 80, path `/mqtt` |
    /// | `wss://host/path` | WebSocket over TLS, port 443, path `/mqtt` |
    /// | `unix:/path` | a Unix socket |
    ///
    /// Ports and paths may be given; these count where none is. TLS trusts the CAs of the system ([`Options::ca_file`] names others)
    /// and checks the name of the host. The features `tls` and `websocket` bring what they say; both are there by default.
    pub fn new(address: &str, sync_id: &str) -> Result<Self, OptionsError> {
        let sync_id: SyncId = sync_id.parse()?;
        Ok(Self {
            address: Address::parse(address)?,
            #[cfg(feature = "tls")]
            trust: Trust::default(),
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

    /// Trusts the CAs of this PEM file and no others, for a broker with a certificate of one's own CA. It is read at once.
    ///
    /// # Errors
    /// When the address has no TLS, or the file no certificates.
    #[cfg(feature = "tls")]
    pub fn ca_file(self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let text = tls::read(path.as_ref())?;
        self.ca_pem(text)
    }

    /// As [`Options::ca_file`], from memory.
    ///
    /// # Errors
    /// When the address has no TLS, or the text no certificates.
    #[cfg(feature = "tls")]
    pub fn ca_pem(mut self, text: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        self.expect_tls()?;
        self.trust.set_roots(text.as_ref())?;
        Ok(self)
    }

    /// Shows this certificate, which its chain may follow, to a broker that asks for one; both are PEM files, read at once.
    ///
    /// # Errors
    /// When the address has no TLS, a file does not have what it should, or the key is that of another certificate.
    #[cfg(feature = "tls")]
    pub fn client_certificate_files(
        self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (tls::read(certificate.as_ref())?, tls::read(key.as_ref())?);
        self.client_certificate_pem(certificate, key)
    }

    /// As [`Options::client_certificate_files`], from memory.
    ///
    /// # Errors
    /// As there.
    #[cfg(feature = "tls")]
    pub fn client_certificate_pem(
        mut self,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        self.expect_tls()?;
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        self.trust.set_identity(certificate, key)?;
        Ok(self)
    }

    #[cfg(feature = "tls")]
    fn expect_tls(&self) -> Result<(), TlsError> {
        match self.address.has_tls() {
            true => Ok(()),
            false => Err(TlsError::NotTls),
        }
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

    #[cfg(feature = "tls")]
    #[test]
    fn a_ca_without_tls_is_refused_and_not_forgotten_in_silence() {
        let options = Options::new("mqtt://localhost", "demo").unwrap();
        let said = options.ca_pem("").unwrap_err().to_string();
        assert!(said.contains("mqtts://"), "{said}");
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
