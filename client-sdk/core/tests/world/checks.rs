//! What must hold at the end, and what may never be said.

use std::collections::BTreeMap;

use syncline_protocol::schema::Kind;
use syncline_protocol::{Event, Intent, Seq};

use super::{Client, World, saying};

impl World {
    /// How often each saying is in the broker's log.
    pub(crate) fn heard(&self) -> BTreeMap<String, usize> {
        let mut heard = BTreeMap::new();
        for event in &self.broker.log {
            *heard.entry(saying(&event.event_data)).or_default() += 1;
        }
        heard
    }

    /// Whether an intent is rightly not in the log: set aside, or superseded by one that is there or let go.
    pub(crate) fn is_let_go(
        &self,
        client: &Client,
        said: &str,
        heard: &BTreeMap<String, usize>,
    ) -> bool {
        let by = client.superseded.get(said);
        client.set_aside.contains(said)
            || by.is_some_and(|by| heard.contains_key(by) || self.is_let_go(client, by, heard))
    }

    /// G5, as far as an app sees it: entries, lists and open values are those of the broker.
    pub(crate) fn assert_agreement(&self) {
        let state = self.broker.state();
        for client in &self.clients {
            for name in state.schema().collections().keys() {
                let entries = state.entries(name);
                let live = entries.filter_map(|(key, it)| Some((key, it.value()?)));
                let live = live.map(|(key, value)| (key.to_owned(), value.clone()));
                assert_eq!(client.core.entries(name), live.collect(), "{name}");
            }
            for list in ["k0", "k1"] {
                let items = state.list("playlists", Some(list)).into_iter();
                let items = items.map(|(key, value)| (key.to_owned(), value.clone()));
                let seen = client.core.list("playlists", Some(list));
                assert_eq!(seen, items.collect::<Vec<_>>());
            }
            for (key, note) in state.entries("notes") {
                let open = client.core.open_values("notes", key).len();
                let acts = note.acts().count();
                assert_eq!(open, if acts > 1 { acts } else { 0 });
            }
        }
    }

    /// No event may say that its author saw what somebody else did to its entry after the author acted (EVENT-6 makes
    /// an event see all that earlier ones of its device saw). What was deleted comes back by such a lie (G7).
    pub(super) fn assert_it_claims_no_more_than_was_seen(&self, before: &[Seq]) {
        let event = self.broker.log.last().unwrap();
        let (author, seen) = self.acted[&saying(&event.event_data)];
        let claimed = before
            .iter()
            .filter(|at| **at > seen && **at <= event.base_seq);
        for at in claimed {
            let other = &self.broker.log[usize::try_from(at.get()).unwrap() - 1];
            let (other_author, _) = self.acted[&saying(&other.event_data)];
            let is_lie = other_author != author && !self.is_counter(event);
            assert!(!is_lie, "{event:?} claims to have seen {other:?}");
        }
    }

    /// The open acts on the entry of an intent.
    pub(super) fn acts(&self, intent: &Intent) -> Vec<Seq> {
        let schema = &self.broker.schema;
        let operation = schema.operation(&intent.event_type, &intent.event_data);
        let entry = operation.ok().flatten().and_then(|it| {
            let state = self.broker.state();
            state.entry(&it.collection, &it.key)
        });
        entry.map_or_else(Vec::new, |it| it.acts().map(|act| act.seq).collect())
    }

    fn is_counter(&self, event: &Event) -> bool {
        self.broker.schema.kind_of(&event.event_type) == Some(Kind::Counter)
    }
}
