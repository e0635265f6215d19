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
//! The rules are in `client-sdk/SPEC.md`; the machine that follows them is `syncline_client_core`.

mod client;
mod options;

mod connection;
mod driver;

mod store;
mod writer;

mod ambient;

pub use ambient::NoRandomness;
pub use client::{
    Change, Client, Closed, Delivered, Failure, NotSaved, OpenError, PublishError, Receipt, Saved,
    SetAside,
};
pub use options::{AddressError, Options, OptionsError, Store};
pub use store::StoreError;
pub use syncline_client_core::{Label, Phase, Refusal, Rejected, Status};
pub use syncline_protocol::{DeviceId, Event, Intent, Seq, Value};

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
