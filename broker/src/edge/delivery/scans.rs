//! Subscriptions with wildcards that go through all streams once, page by page.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use syncline_protocol::{Seq, StreamId};

use super::needs::Scanned;
use super::subscriptions::{Sub, SubId};
use crate::store::sessions::{Reach, Reaches};

/// One of them.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) sub: Arc<Sub>,
    /// Up to where it has come.
    pub(super) after: Option<StreamId>,
    /// What is there already; everything counts from the beginning unless it goes on.
    reaches: Reaches,
    /// It goes on where a session left it.
    pub(super) again: bool,
    /// Streams whose events have a place of their own.
    apart: HashSet<Arc<StreamId>>,
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
    /// `events`: from the beginning (`$since/0`); `states`: the retained ones.
    pub(super) fn new(sub: Arc<Sub>, events: bool, states: bool) -> Self {
        let reaches = Reaches {
            events: events.then(|| Reach::all(0)),
            states: states.then(|| Reach::all(0)),
        };
        Self {
            again: false,
            ..Self::again(sub, reaches, HashSet::new())
        }
    }

    /// Goes on where a session left it. The streams `apart` have begun.
    pub(super) fn again(sub: Arc<Sub>, reaches: Reaches, apart: HashSet<Arc<StreamId>>) -> Self {
        Self {
            sub,
            after: None,
            reaches,
            again: true,
            apart,
            moved: HashMap::new(),
        }
    }

    pub(super) fn has_events(&self) -> bool {
        self.reaches.events.is_some()
    }

    pub(super) fn has_states(&self) -> bool {
        self.reaches.states.is_some()
    }

    /// Whether the stream's events have a place of their own.
    pub(super) fn is_apart(&self, stream: &StreamId) -> bool {
        self.apart.contains(stream)
    }

    /// What is read for it, if that is more than what it began with.
    pub(super) fn goes_on_from(&self) -> Option<Reaches> {
        self.again.then(|| self.reaches.clone())
    }

    /// What is there once everything of the streams that it has passed is, up to a position.
    pub(super) fn reaches_at(&self, position: u64) -> Reaches {
        let at = |reach: &Option<Reach>| match (reach, &self.after) {
            (Some(reach), Some(after)) => Some(reach.passed(after, position)),
            (reach, _) => reach.clone(),
        };
        Reaches {
            events: at(&self.reaches.events),
            states: at(&self.reaches.states),
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
            if let Some(listed) = passed.iter_mut().find(|it| it.stream == stream) {
                listed.changed = true;
            } else if last || self.has_passed(&stream) {
                passed.push(Scanned::new_stream(stream, to));
            }
        }
        passed
    }

    /// Whether its subscription hears of a stream's events from now on, listed or not: one without events is in no page.
    pub(super) fn follows(&self, stream: &StreamId, last: bool) -> bool {
        (last || self.has_passed(stream)) && !self.is_apart(stream)
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &Scan> {
        self.queue.iter()
    }

    /// A subscription was renewed.
    pub(super) fn renew(&mut self, sub: &Arc<Sub>) {
        for scan in self.queue.iter_mut().filter(|scan| scan.sub.id == sub.id) {
            scan.sub = Arc::clone(sub);
        }
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
        self.is_ahead(sub, stream, |scan| {
            scan.has_events() && !scan.is_apart(stream)
        })
    }

    /// Whether a subscription gets the state of this stream when its scan has come there.
    pub(super) fn will_greet(&self, sub: &Sub, stream: &StreamId) -> bool {
        self.is_ahead(sub, stream, Scan::has_states)
    }

    fn is_ahead(&self, sub: &Sub, stream: &StreamId, brings: impl Fn(&Scan) -> bool) -> bool {
        let mut scans = self.queue.iter();
        scans.any(|scan| brings(scan) && scan.sub.id == sub.id && !scan.has_passed(stream))
    }
}
