//! Somebody who follows one stream and checks every message: G3, VIEW-9, SNAP-8.

use std::sync::Arc;

use syncline_protocol::{Assembler, Digest, Event, Schema, Seq, Snapshot, State};
use syncline_tests::wire::{Publish, Wire};

/// What it has made of what it got.
pub(crate) struct Follower {
    state: State,
    parts: Assembler,
    /// The seqs of the states that it got whole.
    pub(crate) states: Vec<u64>,
    /// The seqs of the events that it got.
    pub(crate) events: Vec<u64>,
}

/// What a message was.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Event(u64),
    /// A whole state, which may have come in parts.
    State(Box<Snapshot>),
    /// A part that is not the last.
    Part,
}

impl Follower {
    /// It has nothing yet.
    pub(crate) fn new() -> Self {
        let schema = Schema::parse(include_str!("../../../config/schemas/music.toml")).unwrap();
        Self {
            state: State::new(Arc::new(schema)),
            parts: Assembler::default(),
            states: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Up to where it has everything.
    pub(crate) fn seq(&self) -> u64 {
        self.state.seq().get()
    }

    pub(crate) fn digest(&self) -> Digest {
        self.state.digest()
    }

    /// Takes the next message of the stream.
    pub(crate) fn hear(&mut self, message: &Publish) -> Heard {
        if message.topic.ends_with("/events") {
            let event = Event::decode(&message.payload).unwrap();
            self.state
                .apply(&event)
                .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.states, self.events));
            let epoch = self.state.epoch();
            assert_eq!(event.epoch, epoch, "an event of another epoch (EPOCH-3)");
            self.events.push(event.seq.get());
            return Heard::Event(event.seq.get());
        }
        let part = Snapshot::decode(&message.payload).unwrap();
        let Some(whole) = self.parts.push(part).unwrap() else {
            return Heard::Part;
        };
        let n = whole.seq.get();
        assert!(n >= self.seq(), "a state at {n} after {}", self.seq());
        self.state.take(&whole).unwrap();
        assert_eq!(self.state.digest(), whole.digest, "G5");
        self.states.push(n);
        Heard::State(Box::new(whole))
    }

    /// Hears until it has everything up to a seq.
    pub(crate) fn until(&mut self, wire: &mut Wire, seq: u64) {
        while self.seq() < seq {
            self.hear(&wire.message().unwrap());
        }
        assert_eq!(self.state.seq(), Seq::new(seq).unwrap());
    }
}
