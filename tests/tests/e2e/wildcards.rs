//! Retained states of very many streams, and what goes on meanwhile.

use std::collections::HashMap;

use syncline_protocol::Snapshot;
use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wire::Wire;

use crate::scene::{guest, star};

/// Publishes one star in each of so many streams.
fn populate(broker: &Broker, streams: usize) {
    let mut author = guest(broker);
    for at in 0..streams {
        author
            .send(&topic(at, "events"), Star::album("a").json())
            .unwrap();
        if at % 100 == 99 {
            author.ping().unwrap();
        }
    }
    let last = author.publish(&topic(streams - 1, "events"), Star::album("b").json());
    assert_eq!(last.unwrap().code, 0);
}

fn topic(at: usize, of: &str) -> String {
    format!("sync/group-{at:06}/{of}")
}

/// What came of each stream: the seqs of its states, the retained ones first.
#[derive(Default)]
struct Seen {
    states: HashMap<String, Vec<u64>>,
    events: HashMap<String, Vec<u64>>,
}

impl Seen {
    fn take(&mut self, wire: &mut Wire) {
        let message = wire.message().unwrap();
        if message.topic.ends_with("/state") {
            let state = Snapshot::decode(&message.payload).unwrap();
            self.states
                .entry(message.topic)
                .or_default()
                .push(state.seq.get());
        } else {
            let event = syncline_protocol::Event::decode(&message.payload).unwrap();
            self.events
                .entry(message.topic)
                .or_default()
                .push(event.seq.get());
        }
    }
}

/// Subscribes with a wildcard, changes some streams while the states come, and checks that nothing is missing.
fn scan(broker: &Broker, streams: usize, filter: &str) {
    let mut author = guest(broker);
    let mut wire = guest(broker);
    let mut seen = Seen::default();
    assert_eq!(wire.subscribe(filter).unwrap(), 1);
    seen.take(&mut wire);
    let changed: Vec<_> = (0..streams).step_by(streams / 10).collect();
    let mut head = HashMap::new();
    for at in &changed {
        head.insert(
            topic(*at, "state"),
            star(&mut author, topic(*at, "").trim_end_matches('/'), "c"),
        );
        (0..50).for_each(|_| seen.take(&mut wire));
    }
    let new = topic(0, "").replace("group", "another");
    head.insert(
        format!("{new}state"),
        star(&mut author, new.trim_end_matches('/'), "c"),
    );
    let done = |seen: &Seen| {
        let all = seen.states.len() == streams + 1;
        all && head
            .iter()
            .all(|(topic, seq)| seen.states[topic].last() == Some(seq))
    };
    while !done(&seen) {
        seen.take(&mut wire);
    }
    for (topic, seqs) in &seen.states {
        assert!(seqs.is_sorted_by(|a, b| a < b), "{topic}: {seqs:?}");
    }
    for (topic, seqs) in &seen.events {
        let first = seqs[0];
        let expected: Vec<_> = (first..first + seqs.len() as u64).collect();
        assert_eq!(seqs, &expected, "{topic}");
    }
    if filter.ends_with('#') {
        let told = changed
            .iter()
            .filter(|at| seen.events.contains_key(&topic(**at, "events")));
        assert_eq!(told.count(), changed.len(), "live events");
    }
}

#[test]
fn snap_4_g3_a_wildcard_brings_every_state_while_some_change() {
    const STREAMS: usize = 1_500;
    for filter in ["sync/+/state", "$json/sync/#"] {
        let broker = Broker::start();
        populate(&broker, STREAMS);
        scan(&broker, STREAMS, filter);
    }
}
