//! Collections by their kind, declared once in an app: what they are called, and what their values are.
//!
//! The schema of the broker says what kind a collection is and what its events are called. A declaration of another kind is told
//! so at its first change (`PublishError::CannotSay`).

use std::marker::PhantomData;

use syncline_protocol::Value;
use syncline_protocol::schema::{Action, After};

use crate::client::{Client, Closed, PublishError};
use crate::receipt::Receipt;

/// What a value of a collection can be read as. A value of another type is left out.
pub trait FromValue: Sized {
    /// `None`: it is something else.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_text().map(str::to_owned)
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_i64()
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        value.as_u64().and_then(|it| it.try_into().ok())
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(it) => Some(*it),
            _ => None,
        }
    }
}

/// A `set`: keys that are in or not.
///
/// ```no_run
/// # async fn example(client: &syncline_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// const ALBUMS: syncline_client::Set = syncline_client::Set::new("albums");
/// ALBUMS.of(client).add("lantern-year").await?;
/// assert!(ALBUMS.of(client).contains("lantern-year").await?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Set(&'static str);

/// A `map`: keys with values.
///
/// ```no_run
/// # async fn example(client: &syncline_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// const RATINGS: syncline_client::Map<u32> = syncline_client::Map::new("ratings");
/// RATINGS.of(client).put("t7", 4).await?;
/// assert_eq!(RATINGS.of(client).get("t7").await?, Some(4));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Map<V>(&'static str, PhantomData<fn() -> V>);

/// A `counter`: keys with sums.
///
/// ```no_run
/// # async fn example(client: &syncline_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// const PLAYS: syncline_client::Counter = syncline_client::Counter::new("plays");
/// PLAYS.of(client).add("t7", 1).await?;
/// println!("played {} times, on all devices together", PLAYS.of(client).get("t7").await?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Counter(&'static str);

/// A `list`: items in an order, in one list or in several.
#[derive(Debug, Clone, Copy)]
pub struct List<V>(&'static str, PhantomData<fn() -> V>);

impl Set {
    /// The collection of this name.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// In a client.
    pub const fn of(self, client: &Client) -> SetOf<'_> {
        SetOf(client, self.0)
    }
}

impl<V> Map<V> {
    /// The collection of this name.
    pub const fn new(name: &'static str) -> Self {
        Self(name, PhantomData)
    }

    /// In a client.
    pub const fn of(self, client: &Client) -> MapOf<'_, V> {
        MapOf(client, self.0, PhantomData)
    }
}

impl Counter {
    /// The collection of this name.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// In a client.
    pub const fn of(self, client: &Client) -> CounterOf<'_> {
        CounterOf(client, self.0)
    }
}

impl<V> List<V> {
    /// The collection of this name.
    pub const fn new(name: &'static str) -> Self {
        Self(name, PhantomData)
    }

    /// In a client; `list` says which, where the schema makes several lists of the collection.
    pub const fn of<'a>(self, client: &'a Client, list: Option<&'a str>) -> ListOf<'a, V> {
        ListOf {
            client,
            collection: self.0,
            list,
            value: PhantomData,
        }
    }
}

/// A [`Set`] in a client.
#[derive(Debug, Clone, Copy)]
pub struct SetOf<'a>(&'a Client, &'static str);

impl SetOf<'_> {
    /// Puts a key in.
    pub async fn add(&self, key: &str) -> Result<Receipt, PublishError> {
        self.0.act(self.1, key, Action::Put(true.into())).await
    }

    /// Takes a key out.
    pub async fn remove(&self, key: &str) -> Result<Receipt, PublishError> {
        self.0.act(self.1, key, Action::Remove).await
    }

    /// Whether a key is in.
    pub async fn contains(&self, key: &str) -> Result<bool, Closed> {
        self.0.contains(self.1, key).await
    }

    /// All keys, ascending.
    pub async fn keys(&self) -> Result<Vec<String>, Closed> {
        Ok(self.0.entries(self.1).await?.into_keys().collect())
    }
}

/// A [`Map`] in a client.
#[derive(Debug, Clone, Copy)]
pub struct MapOf<'a, V>(&'a Client, &'static str, PhantomData<fn() -> V>);

impl<V: Into<Value> + FromValue> MapOf<'_, V> {
    /// Gives a key a value.
    pub async fn put(&self, key: &str, value: V) -> Result<Receipt, PublishError> {
        self.0.act(self.1, key, Action::Put(value.into())).await
    }

    /// Removes a key.
    pub async fn remove(&self, key: &str) -> Result<Receipt, PublishError> {
        self.0.act(self.1, key, Action::Remove).await
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<V>, Closed> {
        let value = self.0.value(self.1, key).await?;
        Ok(value.as_ref().and_then(V::from_value))
    }

    /// All keys, ascending, and their values.
    pub async fn entries(&self) -> Result<Vec<(String, V)>, Closed> {
        let entries = self.0.entries(self.1).await?;
        Ok(typed(entries))
    }
}

/// A [`Counter`] in a client.
#[derive(Debug, Clone, Copy)]
pub struct CounterOf<'a>(&'a Client, &'static str);

impl CounterOf<'_> {
    /// Adds to a key's sum, less than zero to take away. A counter whose schema names no `amount` takes 1 alone.
    pub async fn add(&self, key: &str, amount: i64) -> Result<Receipt, PublishError> {
        self.0.act(self.1, key, Action::Count(amount)).await
    }

    /// The sum; 0 where nothing was counted.
    pub async fn get(&self, key: &str) -> Result<i64, Closed> {
        let value = self.0.value(self.1, key).await?;
        Ok(value.and_then(|it| it.as_i64()).unwrap_or_default())
    }
}

/// A [`List`] in a client.
#[derive(Debug, Clone, Copy)]
pub struct ListOf<'a, V> {
    client: &'a Client,
    collection: &'static str,
    list: Option<&'a str>,
    value: PhantomData<fn() -> V>,
}

impl<V: Into<Value> + FromValue> ListOf<'_, V> {
    /// Puts an item in, under a key of its own: so a value can be in many lists, and twice in one.
    pub async fn put(&self, item: &str, value: V, after: After) -> Result<Receipt, PublishError> {
        self.place(item, value.into(), after).await
    }

    /// Moves an item, also from another list of the collection. `None`: there is no such item.
    pub async fn move_to(&self, item: &str, after: After) -> Result<Option<Receipt>, PublishError> {
        match self.client.value(self.collection, item).await? {
            Some(value) => self.place(item, value, after).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes an item out.
    pub async fn remove(&self, item: &str) -> Result<Receipt, PublishError> {
        self.client.act(self.collection, item, Action::Remove).await
    }

    /// The items in their order, and their values.
    pub async fn items(&self) -> Result<Vec<(String, V)>, Closed> {
        let items = self.client.list(self.collection, self.list).await?;
        Ok(typed(items))
    }

    async fn place(&self, item: &str, value: Value, after: After) -> Result<Receipt, PublishError> {
        let list = self.list.map(str::to_owned);
        let action = Action::Place { value, list, after };
        self.client.act(self.collection, item, action).await
    }
}

fn typed<V: FromValue>(all: impl IntoIterator<Item = (String, Value)>) -> Vec<(String, V)> {
    let read = |(key, value): (String, Value)| Some((key, V::from_value(&value)?));
    all.into_iter().filter_map(read).collect()
}
