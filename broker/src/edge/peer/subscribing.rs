//! SUBSCRIBE and UNSUBSCRIBE: the heads are read first, where it matters where a stream is.

use std::sync::Arc;
use std::time::Instant;

use syncline_protocol::{Filter, Seq, Start, StreamId, SyncId, Topic};

use super::Peer;
use crate::edge::delivery::Ground;
use crate::edge::fetch::{self, Fetched};
use crate::edge::hub::Reading;
use crate::edge::session::{Request, Verdict, Wanted};
use crate::store::StreamHead;

impl Peer {
    pub(super) fn subscribe(&mut self, now: Instant, packet_id: u16, requests: Vec<Request>) {
        let allowed = |request: Request| match request {
            Ok(wanted) if !self.delivery.may_begin(&wanted.subscription.filter) => {
                Err(Verdict::NotAllowed)
            }
            request => request,
        };
        let requests: Vec<_> = requests.into_iter().map(allowed).collect();
        let streams: Vec<_> = requests.iter().map(stream_with_head).collect();
        if streams.iter().all(Option::is_none) {
            let heads = vec![StreamHead::EMPTY; requests.len()];
            let reading = self.shared.hub.reading();
            return self.begin(now, packet_id, requests, &heads, reading);
        }
        let shared = Arc::clone(&self.shared);
        fetch::spawn(&self.shared.reader, self.mailbox(), move || {
            let (heads, reading) = fetch::heads(&shared, &streams)?;
            Ok(Fetched::Heads {
                packet_id,
                requests,
                heads,
                reading,
            })
        });
    }

    /// Begins the subscriptions at the heads that were read after `reading`, or reads them anew.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        packet_id: u16,
        requests: Vec<Request>,
        heads: &[StreamHead],
        reading: Reading,
    ) {
        let streams: Vec<_> = requests.iter().map(stream_with_head).collect();
        let named = streams.iter().zip(heads);
        let named: Vec<_> = named
            .filter_map(|(stream, head)| Some((stream.as_ref()?, head)))
            .collect();
        let filters: Vec<_> = requests.iter().filter_map(lasting_filter).collect();
        let hub = Arc::clone(&self.shared.hub);
        let began = hub.brought();
        let Some((advances, buses)) = hub.subscribe(self.id, &filters, &named, reading) else {
            return self.subscribe(now, packet_id, requests);
        };
        self.delivery.advance(now, &advances);
        let mut buses = buses.into_iter();
        let mut verdicts = Vec::with_capacity(requests.len());
        for ((request, head), stream) in requests.iter().zip(heads).zip(&streams) {
            let bus = stream.as_ref().and_then(|_| buses.next());
            verdicts.push(match request {
                Ok(wanted) => self.begin_one(wanted, head, bus.unwrap_or_default()),
                Err(verdict) => *verdict,
            });
        }
        self.answer_subscribe(now, packet_id, &requests, verdicts, began);
    }

    fn begin_one(&mut self, wanted: &Wanted, head: &StreamHead, bus: Seq) -> Verdict {
        let filter = &wanted.subscription.filter;
        if !self.delivery.takes(filter) {
            self.shared.hub.unsubscribe(self.id, filter);
            return Verdict::TooMany;
        }
        if let Some(group) = named_group(filter) {
            self.visit(&group);
        }
        let ground = Ground {
            head: head.seq,
            horizon: head.horizon,
            epoch: head.epoch,
            bus,
            topics: self.shared.hub.retained_topics(filter),
        };
        let new = !self.delivery.contains(filter);
        let verdict = self.delivery.subscribe(wanted, &ground);
        if let Verdict::Granted { .. } = verdict {
            self.follow(wanted, new);
        }
        verdict
    }

    pub(super) fn unsubscribe(&mut self, packet_id: u16, filters: &[Option<Filter>]) {
        let mut end = |filter: &Filter| {
            self.shared.hub.unsubscribe(self.id, filter);
            self.unfollow(filter);
            self.delivery.unsubscribe(filter)
        };
        let existed: Vec<_> = filters
            .iter()
            .map(|it| it.as_ref().is_some_and(&mut end))
            .collect();
        self.answer_unsubscribe(packet_id, filters, existed);
    }
}

/// The stream of which a subscription needs to know where it is.
fn stream_with_head(request: &Request) -> Option<StreamId> {
    let subscription = &request.as_ref().ok()?.subscription;
    match (subscription.filter.exact(), subscription.start) {
        (Some(Topic::Events(stream)), _) | (Some(Topic::State(stream)), Start::At(_)) => {
            Some(stream)
        }
        _ => None,
    }
}

/// The filter of a subscription to which something may come later.
fn lasting_filter(request: &Request) -> Option<&Filter> {
    let subscription = &request.as_ref().ok()?.subscription;
    let once = matches!(subscription.start, Start::At(_));
    (!once).then_some(&subscription.filter)
}

/// The group that a filter names without a wildcard.
pub(super) fn named_group(filter: &Filter) -> Option<SyncId> {
    let mut levels = filter.levels();
    if levels.next() != Some("sync") {
        return None;
    }
    let group = levels.next()?.parse().ok()?;
    (!filter.has_wildcard()).then_some(group)
}
