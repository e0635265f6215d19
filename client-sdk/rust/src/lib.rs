//! Keeps a collection the same on every device, in real time and offline, over plain MQTT.
//!
//! A [`Client`] follows one stream of one sync group. [`Client::publish`] returns as soon as the change is durable in
//! the client's own outbox, with or without a network; the view ([`Client::entries`], [`Client::contains`]) shows it
//! at once. What becomes of it is told by its [`Receipt`]; what others do arrives as changes of the view.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use syncline_client::{Client, Options, Store, map};
//!
//! let options = Options::new("127.0.0.1:1883", "demo")?.store(Store::File("music.redb".into()));
//! let client = Client::open(options).await?;
//! let receipt = client.publish("star_album", map([("album_id", "lantern-year")])).await?;
//! println!("saved at {:?}", receipt.saved().await?.seq);
//! println!("starred: {:?}", client.entries("albums").await?);
//! # client.close().await; Ok(()) }
//! ```
//!
//! A collection is what the broker's schema says: a `set` or a `map` is read by its [`Client::entries`], a `counter` as a map
//! of sums, a `list` by [`Client::list`]. Where two people wrote at the same time and the schema keeps both, a conflict
//! stands in [`Client::open_values`] until somebody who sees it writes again:
//!
//! ```no_run
//! # async fn example(client: &syncline_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use syncline_client::{Content, Value, map};
//!
//! // A track behind another one: both may still be on their way to the broker.
//! let item = map([("item_id", "i2"), ("playlist_id", "sunday"), ("track_id", "t7"), ("after", "i1")]);
//! client.publish("put_in_playlist", item).await?;
//! for (item, track) in client.list("playlists", Some("sunday")).await? {
//!     println!("{item}: {track:?}");
//! }
//! let open = client.open_values("notes", "lantern-year").await?;
//! let texts = open.iter().filter_map(|it| match &it.content {
//!     Content::Live(value) => value.as_text(),
//!     Content::Removed => None,
//! });
//! let all = texts.collect::<Vec<_>>().join(" / ");
//! if !all.is_empty() {
//!     client.publish("write_note", map([("album_id", "lantern-year"), ("text", &all)])).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! What an app changes often is said by its collections, and can be taken back, offline too:
//!
//! ```no_run
//! # async fn example(client: &syncline_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use syncline_client::{After, List, Map, Set};
//!
//! const ALBUMS: Set = Set::new("albums");
//! const RATINGS: Map<u32> = Map::new("ratings");
//! const PLAYLISTS: List<String> = List::new("playlists");
//!
//! ALBUMS.of(client).add("lantern-year").await?;
//! RATINGS.of(client).put("t7", 4).await?;
//! client.undo().await?;
//! let sunday = PLAYLISTS.of(client, Some("sunday"));
//! sunday.put("i2", "t7".to_owned(), After::End).await?;
//! sunday.move_to("i2", After::Beginning).await?;
//! // Both sides of a conflict, and one call to settle it.
//! for conflict in client.conflicts("notes").await? {
//!     let first = conflict.values[0].open.content.clone();
//!     client.settle("notes", &conflict.key, first).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! How far a change has come: [`Client::publish`] returned, so it is here; [`Receipt::saved`], so the broker has it on disk;
//! [`Receipt::seen_by`], so another device has it ([`Client::devices`] knows them). What waits: [`Client::pending_events`].
//! What will never be saved: [`Client::all_set_aside`]. A user who leaves: [`Client::wipe`].
//!
//! One client follows one stream: the group's own, or one of its channels. Several go together in one folder; each is a
//! device of its own, with its own outbox and its own connection:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use syncline_client::{Client, Options, Store};
//!
//! let options = Options::new("127.0.0.1:1883", "demo")?.store(Store::Folder("music".into()));
//! let library = Client::open(options).await?;
//! let room = library.channel("listening-room").await?;
//! # Ok(()) }
//! ```
//!
//! A broker is reached by TCP, TLS, WebSocket or a Unix socket, as its address says ([`Options::new`]), and at MQTT 5, or at 3.1.1
//! where it takes nothing else:
//!
//! ```no_run
//! # #[cfg(all(feature = "tls", feature = "websocket"))]
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use syncline_client::Options;
//!
//! let anywhere = Options::new("wss://sync.example.org/mqtt", "demo")?;
//! let at_home = Options::new("mqtts://broker.local", "demo")?.ca_file("home-ca.pem")?;
//! let beside = Options::new("unix:/run/syncline/mqtt.sock", "demo")?;
//! # Ok(()) }
//! ```
//!
//! For a broker that takes tokens, the app says where fresh ones come from; the connection goes on while they are renewed:
//!
//! ```no_run
//! # async fn login() -> Result<String, std::io::Error> { Ok(String::new()) }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use syncline_client::{Client, Options, Token};
//!
//! let options = Options::new("127.0.0.1:1883", "demo")?.token(|| async {
//!     // Ten minutes before an hour is over.
//!     Ok::<_, std::io::Error>(Token::new(login().await?).renew_in(Duration::from_secs(3_000)))
//! });
//! let client = Client::open(options).await?;
//! # Ok(()) }
//! ```
//!
//! What a device did while it was away for longer than the broker keeps history is sent nevertheless if nobody touched
//! the same entry since. Else it is set aside, and the app is told ([`Client::set_aside`]).
//!
//! The rules are in `client-sdk/SPEC.md`; the machine that follows them is `syncline_client_core`.

mod address;
mod aside;
mod client;
mod collections;
mod devices;
mod options;
mod receipt;
mod token;

mod connection;
mod driver;
mod transport;
mod version;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

mod store;
mod writer;

mod ambient;

pub use address::AddressError;
pub use ambient::NoRandomness;
pub use aside::{SetAside, SetAsideId};
pub use client::{
    Change, Client, Closed, Delivered, Failure, OpenConflict, OpenError, PublishError, Side,
    UndoError, WipeError, Wiped,
};
pub use collections::{Counter, CounterOf, FromValue, List, ListOf, Map, MapOf, Set, SetOf};
pub use devices::Device;
pub use options::{Options, OptionsError, Store};
pub use receipt::{NotSaved, NotSeen, Receipt, Saved};
pub use store::StoreError;
pub use syncline_client_core::{
    IntentId, Label, NotUndone, OpenValue, Pending, PendingStage, Phase, Refusal, Rejected, Status,
};
pub use syncline_protocol::schema::{After, CannotSay};
pub use syncline_protocol::state::Content;
pub use syncline_protocol::{Action, Clock, DeviceId, Event, Intent, Schema, Seq, Value};
pub use token::Token;
#[cfg(feature = "tls")]
pub use transport::tls::TlsError;

/// A map of text to values, as `event_data` usually is.
pub fn map<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Value
where
    K: Into<String>,
    V: Into<Value>,
{
    Value::Map(
        pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_takes_text_that_is_owned() {
        let id = String::from("lantern-year");
        assert_eq!(map([("album_id", id)]), map([("album_id", "lantern-year")]));
    }
}
