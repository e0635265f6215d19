//! What the edge counts: traffic, and everything that it drops or refuses, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Packets of any kind from clients.
    PacketsIn,
    /// Packets of any kind to clients.
    PacketsOut,
    /// PUBLISHes from clients.
    PublishIn,
    /// PUBLISHes to clients.
    PublishOut,
    BytesIn,
    BytesOut,
    /// An ordinary message at QoS 0 that a slow subscriber had no room for.
    DroppedSlow,
    /// An ordinary message at QoS 1 or 2 that a connected subscriber had no room for.
    RefusedSlow,
    /// An ordinary message that the queue of a kept session had no room for.
    RefusedQueueFull,
    /// A message that was not retained because as much is retained as may be.
    RefusedRetained,
    /// A message that expired before it could be delivered.
    Expired,
    /// A message that is larger than its subscriber takes.
    TooLargeForClient,
    /// A message that its subscriber may not read (any more).
    NotGranted,
    /// A connection that was closed before its CONNECT because there are `limits.connections_max`, or nearly.
    ConnectNoPlace,
    /// One whose PROXY header or TLS handshake failed.
    ConnectHandshake,
    /// A CONNECT with a wrong user name, password or token.
    ConnectBadCredentials,
    /// A CONNECT of somebody who may not come in.
    ConnectNotAuthorised,
    /// A CONNECT that came too soon after others, or after too many failures.
    ConnectRate,
    /// A CONNECT beyond a number of connections or sessions.
    ConnectQuota,
    /// A CONNECT that could not be looked at, or whose session could not be read.
    ConnectUnavailable,
    /// A connection that came while there was too much to do.
    ConnectOverload,
    /// A CONNECT that was refused for what it says: its client id, its will, its properties.
    ConnectRefused,
    /// A connection that ended without a word.
    EndLost,
    /// One whose CONNECT did not come in time.
    EndNoConnect,
    /// One that was silent for 1.5 times its Keep Alive.
    EndKeepAlive,
    /// One that sent bytes that are no packet.
    EndMalformed,
    /// One that sent a packet where it has no place.
    EndProtocol,
    /// One that ended because the disk or a queue failed it.
    EndTransient,
    /// One that takes no packets as large as a state that it asked for.
    EndStateTooLarge,
    /// One whose session another one took over.
    EndTakenOver,
    /// One whose user may not be there any more, or whose token expired.
    EndRevoked,
    /// One whose task panicked.
    EndPanicked,
    /// A PUBLISH under `sync/`, or of an ordinary message, that was refused by name.
    RequestRefused,
    /// A will that its owner may not publish, or that was refused by name.
    WillRefused,
    /// A will that the disk or a queue failed.
    WillLost,
    /// How often a reader of events was behind what is in memory and read the store.
    EventsRead,
    /// How often a reader of events was behind the history and got a state instead.
    EventsOvertaken,
    /// An HTTP request for a name that is not ours.
    HttpHost,
    /// One of a page that may not ask.
    HttpOrigin,
    /// One for a path where nothing is.
    HttpNotFound,
    /// One on a connection too many.
    HttpTooMany,
    /// One that was refused otherwise.
    HttpOther,
    /// How often acknowledgements began to wait because of a rate.
    RateHeld,
    /// How often reading stopped because of a rate.
    RateUnread,
}

/// How many kinds there are.
const KINDS: usize = Count::RateUnread as usize + 1;

/// What is told below `$SYS/broker/syncline/`, by its name.
pub(crate) const TOLD: [(Count, &str); 32] = [
    (Count::ConnectNoPlace, "connections/refused/no place"),
    (Count::ConnectHandshake, "connections/refused/handshake"),
    (
        Count::ConnectBadCredentials,
        "connections/refused/bad credentials",
    ),
    (
        Count::ConnectNotAuthorised,
        "connections/refused/not authorised",
    ),
    (Count::ConnectRate, "connections/refused/rate"),
    (Count::ConnectQuota, "connections/refused/quota"),
    (Count::ConnectUnavailable, "connections/refused/unavailable"),
    (Count::ConnectOverload, "connections/refused/overload"),
    (Count::ConnectRefused, "connections/refused/other"),
    (Count::EndLost, "connections/ended/lost"),
    (Count::EndNoConnect, "connections/ended/no connect"),
    (Count::EndKeepAlive, "connections/ended/keep alive"),
    (Count::EndMalformed, "connections/ended/malformed"),
    (Count::EndProtocol, "connections/ended/protocol error"),
    (Count::EndTransient, "connections/ended/transient"),
    (Count::EndStateTooLarge, "connections/ended/state too large"),
    (Count::EndTakenOver, "connections/ended/taken over"),
    (Count::EndRevoked, "connections/ended/revoked"),
    (Count::EndPanicked, "connections/ended/panicked"),
    (Count::RequestRefused, "publish/refused"),
    (Count::RateHeld, "publish/held"),
    (Count::RateUnread, "publish/unread"),
    (Count::NotGranted, "publish/not granted"),
    (Count::WillRefused, "wills/refused"),
    (Count::WillLost, "wills/lost"),
    (Count::EventsRead, "events/read from store"),
    (Count::EventsOvertaken, "events/overtaken"),
    (Count::HttpHost, "http/refused/host"),
    (Count::HttpOrigin, "http/refused/origin"),
    (Count::HttpNotFound, "http/refused/not found"),
    (Count::HttpTooMany, "http/refused/too many"),
    (Count::HttpOther, "http/refused/other"),
];

/// What is told of the sequencer there.
pub(crate) const STREAMS: [&str; 2] = ["publish/streams refused", "publish/stream full"];

/// What is told of the bus there.
pub(crate) const BUS: [&str; 4] = ["bus/jumps", "bus/dropped", "bus/rebuilds", "bus/resyncs"];

/// Why a request or a connection over HTTP was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpRefusal {
    /// The PROXY header or the TLS handshake failed.
    Handshake,
    /// It is for a name that is not ours.
    Host,
    /// It is of a page that may not ask.
    Origin,
    /// There is nothing at its path.
    NotFound,
    /// Its connection is one too many.
    TooMany,
    /// Its connection came while there was too much to do.
    Overload,
    /// Otherwise.
    Other,
}

impl HttpRefusal {
    pub(super) fn count(self) -> Count {
        match self {
            Self::Handshake => Count::ConnectHandshake,
            Self::Host => Count::HttpHost,
            Self::Origin => Count::HttpOrigin,
            Self::NotFound => Count::HttpNotFound,
            Self::TooMany => Count::HttpTooMany,
            Self::Overload => Count::ConnectOverload,
            Self::Other => Count::HttpOther,
        }
    }
}

/// What was dropped or refused.
const LOSSES: [Count; 7] = [
    Count::DroppedSlow,
    Count::RefusedSlow,
    Count::RefusedQueueFull,
    Count::RefusedRetained,
    Count::Expired,
    Count::TooLargeForClient,
    Count::NotGranted,
];

/// The counters of one edge.
#[derive(Debug)]
pub(crate) struct Counters {
    counts: [AtomicU64; KINDS],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    /// One more.
    pub(crate) fn count(&self, what: Count) {
        self.add(what, 1);
    }

    /// Some more.
    pub(crate) fn add(&self, what: Count, more: u64) {
        self.counts[what as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn of(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    /// Everything that was dropped or refused.
    pub(crate) fn dropped(&self) -> u64 {
        LOSSES.iter().map(|what| self.of(*what)).sum()
    }
}

/// What one client lost, told to the log at its first, second, fourth, eighth … loss.
#[derive(Debug, Default)]
pub(crate) struct Losses(AtomicU64);

impl Losses {
    /// One more; how many there were, if it is time to say so.
    pub(crate) fn lose(&self) -> Option<u64> {
        let losses = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        losses.is_power_of_two().then_some(losses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_in_the_sum_and_traffic_is_not() {
        let counters = Counters::default();
        counters.add(Count::BytesIn, 50);
        counters.count(Count::PublishOut);
        LOSSES.iter().for_each(|what| counters.count(*what));
        assert_eq!(counters.dropped(), LOSSES.len() as u64);
        assert_eq!(counters.of(Count::BytesIn), 50);
    }

    #[test]
    fn every_count_is_told_somewhere_and_stands_in_the_list() {
        let list = include_str!("../../../docs/limits.md");
        for name in TOLD.iter().map(|(_, name)| *name).chain(STREAMS).chain(BUS) {
            assert!(
                list.contains(&format!("`{name}`")),
                "docs/limits.md lacks {name}"
            );
        }
        let told = TOLD.iter().map(|(count, _)| *count as usize);
        let known = (Count::DroppedSlow as usize..=Count::NotGranted as usize).chain(told);
        let known: std::collections::BTreeSet<_> = known.collect();
        assert!(known.into_iter().eq(Count::DroppedSlow as usize..KINDS));
    }

    #[test]
    fn a_client_that_loses_much_is_told_of_rarely() {
        let losses = Losses::default();
        let told: Vec<_> = (0..9).filter_map(|_| losses.lose()).collect();
        assert_eq!(told, [1, 2, 4, 8]);
    }
}
