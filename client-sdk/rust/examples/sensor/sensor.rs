//! From the spool to the client, no more at a time than memory may hold.

use std::collections::VecDeque;
use std::error::Error;

use syncline_client::{Client, Status, Value, map};
use tokio::sync::watch;

use super::spool::{self, Reading, Spool};

/// All readings in memory together, in bytes and as [`spool::cost`] counts them: those that wait for the broker in the client, and a page on its way there.
pub(crate) const MEMORY_BYTES_MAX: usize = 64 * 1024;
pub(crate) const PENDING_BYTES_MAX: usize = 48 * 1024;
pub(crate) const PAGE_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(PENDING_BYTES_MAX + PAGE_BYTES_MAX <= MEMORY_BYTES_MAX);
/// So the largest reading fits into a page.
const _: () = assert!(spool::READING_BYTES_MAX + spool::ROW_BYTES <= PAGE_BYTES_MAX);

/// The schema names no such type, so the broker orders and keeps it, and it is in no state.
const EVENT_TYPE: &str = "reading";

pub(crate) struct Sensor {
    client: Client,
    spool: Spool,
    /// What each reading costs that the client holds, in order.
    pending: VecDeque<usize>,
}

impl Sensor {
    /// Goes on where the last process ended: what the client has already is taken out of the spool.
    pub(crate) async fn new(client: Client, spool: Spool) -> Result<Self, Box<dyn Error>> {
        let mut pending = VecDeque::new();
        for it in client.pending_events().await? {
            if let Some((number, cost)) = reading_of(&it.intent.event_data) {
                spool.forget_to(number)?;
                pending.push_back(cost);
            }
        }
        Ok(Self {
            client,
            spool,
            pending,
        })
    }

    /// Puts a reading on disk, and says its number.
    pub(crate) fn record(&mut self, reading: &[u8]) -> Result<u64, Box<dyn Error>> {
        self.spool.put(reading)
    }

    /// Hands over what there is room for. To be called after each reading and whenever the status changes.
    pub(crate) async fn hand_over(&mut self) -> Result<(), Box<dyn Error>> {
        loop {
            self.let_go().await?;
            let room = PENDING_BYTES_MAX - self.bytes_held().min(PENDING_BYTES_MAX);
            let page = self.spool.page(room.min(PAGE_BYTES_MAX))?;
            let Some(last) = page.last().map(|it| it.number) else {
                return Ok(());
            };
            for Reading { number, bytes } in page {
                let cost = spool::cost(&bytes);
                self.client
                    .publish(EVENT_TYPE, event_data(number, bytes))
                    .await?;
                self.pending.push_back(cost);
            }
            self.spool.forget_to(last)?;
        }
    }

    /// The client sends in order, so what it does not hold any more is the oldest.
    async fn let_go(&mut self) -> Result<(), Box<dyn Error>> {
        let waiting = self.client.status().borrow().pending;
        let gone = self.pending.len().saturating_sub(waiting);
        self.pending.drain(..gone);
        // Refused for good (no right to write here, too large for this broker): kept, they would fill the memory.
        for refused in self.client.all_set_aside().await? {
            let number = reading_of(&refused.intent.event_data).map_or(0, |it| it.0);
            eprintln!("reading {number} is lost: {}", refused.refusal.reason);
            self.client.dismiss(refused.id).await?;
        }
        Ok(())
    }

    /// Of readings, in memory.
    pub(crate) fn bytes_held(&self) -> usize {
        self.pending.iter().sum()
    }

    /// How many readings are in the spool.
    pub(crate) fn spooled(&self) -> Result<u64, Box<dyn Error>> {
        self.spool.len()
    }

    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.client.status()
    }

    pub(crate) async fn close(self) {
        self.client.close().await;
    }
}

fn event_data(number: u64, reading: Vec<u8>) -> Value {
    let number = Value::from(number.to_string());
    map([("number", number), ("reading", Value::Bytes(reading))])
}

/// Number and cost of a reading that was published.
fn reading_of(data: &Value) -> Option<(u64, usize)> {
    let data = data.as_map()?;
    let Value::Bytes(reading) = data.get("reading")? else {
        return None;
    };
    Some((
        data.get("number")?.as_text()?.parse().ok()?,
        spool::cost(reading),
    ))
}
