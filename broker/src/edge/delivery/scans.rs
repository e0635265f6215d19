//! Subscriptions with wildcards that go through all streams once, page by page.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use syncline_protocol::{Seq, StreamId};

use super::needs::Scanned;
use super::subscriptions::{Sub, SubId};

/// One of them.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) sub: Arc<Sub>,
    /// Up to where it has come.
    pub(super) after: Option<StreamId>,
    /// `$since/0`: events from the beginning.
    pub(super) events: bool,
    /// Retained states.
    pub(super) states: bool,
    /// What the bus brought of streams ahead while a page was on its way: the page may have been read before they had
    /// their first event.
    moved: HashMap<Arc<StreamId>, Seq>,
}

/// All of a connection, one after the other.
#[derive(Debug, Default)]
pub(super) struct Scans {
    queue: VecDeque<Scan>,
}

impl Scan {
    pub(super) fn new(sub: Arc<Sub>, events: bool, states: bool) -> Self {
        Self {
            sub,
            after: None,
            events,
            states,
            moved: HashMap::new(),
        }
    }

    /// Goes on behind a page, which is the last one or not. Returns the streams that it has passed: those of the page, and
    /// those whose first event was later.
    pub(super) fn pass(&mut self, page: &[Scanned], last: bool) -> Vec<Scanned> {
        if let Some(end) = page.last() {
            self.after = Some(StreamId::clone(&end.stream));
        }
        let mut passed = page.to_vec();
        for (stream, to) in std::mem::take(&mut self.moved) {
            let listed = page.iter().any(|it| it.stream == stream);
            if !listed && (last || self.has_passed(&stream)) {
                passed.push(Scanned::new_stream(stream, to));
            }
        }
        passed
    }

    fn has_passed(&self, stream: &StreamId) -> bool {
        self.after.as_ref().is_some_and(|after| stream <= after)
    }
}

impl Scans {
    pub(super) fn push(&mut self, scan: Scan) {
        self.queue.push_back(scan);
    }

    /// The one whose turn it is.
    pub(super) fn front(&self) -> Option<&Scan> {
        self.queue.front()
    }

    /// Takes the one whose turn it is, if it is this subscription's.
    pub(super) fn take_front(&mut self, of: Option<SubId>) -> Option<Scan> {
        self.queue.pop_front_if(|scan| Some(scan.sub.id) == of)
    }

    /// It has more to go through.
    pub(super) fn put_back(&mut self, scan: Scan) {
        self.queue.push_front(scan);
    }

    /// Ends a subscription's.
    pub(super) fn remove(&mut self, sub: SubId) {
        self.queue.retain(|scan| scan.sub.id != sub);
    }

    /// The bus has brought a stream up to `to` while a page is on its way.
    pub(super) fn moved(&mut self, stream: &Arc<StreamId>, to: Seq) {
        if let Some(scan) = self.queue.front_mut()
            && !scan.has_passed(stream)
        {
            scan.moved.insert(Arc::clone(stream), to);
        }
    }

    /// Whether a subscription's events of this stream begin when its scan has come there.
    pub(super) fn will_begin(&self, sub: &Sub, stream: &StreamId) -> bool {
        self.is_ahead(sub, stream, |scan| scan.events)
    }

    /// Whether a subscription gets the state of this stream when its scan has come there.
    pub(super) fn will_greet(&self, sub: &Sub, stream: &StreamId) -> bool {
        self.is_ahead(sub, stream, |scan| scan.states)
    }

    fn is_ahead(&self, sub: &Sub, stream: &StreamId, brings: fn(&Scan) -> bool) -> bool {
        let mut scans = self.queue.iter();
        scans.any(|scan| brings(scan) && scan.sub.id == sub.id && !scan.has_passed(stream))
    }
}
