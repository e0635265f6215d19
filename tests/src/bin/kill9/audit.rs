//! What the broker has after a restart, held against what it said before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use syncline_protocol::{Event, Intent, Schema, Snapshot, State};
use syncline_tests::wire::{Connect, Version, Wire};

use crate::publisher::Publisher;
use crate::witness::Witness;

const SCHEMA: &str = include_str!("../../../../config/schemas/music.toml");

/// A stream as the broker has it.
struct Found {
    /// As answered on SUBSCRIBE.
    state: Snapshot,
    /// At the horizon, where that is above the beginning.
    opening: Option<Snapshot>,
    /// The events after it, byte for byte and read.
    payloads: Vec<Vec<u8>>,
    events: Vec<Event>,
}

/// Reads the whole stream and checks it; the number of events that it ever had.
pub(crate) fn audit(
    address: SocketAddr,
    stream: &str,
    authors: &[&Publisher],
    shown: &[&Witness],
) -> Result<usize, String> {
    let found = Found::read(address, stream)?;
    found.no_holes()?;
    let places = places(&found.events)?;
    for author in authors {
        found.acknowledged_are_there(author, &places)?;
        found.stored_is_what_was_sent(author, &places)?;
        found.plays_are_counted(author)?;
    }
    for witness in shown {
        found.shown_is_there(witness)?;
    }
    found.state_agrees()?;
    Ok(found.state.seq.get() as usize)
}

/// Per device, `device_seq` to seq.
type Places = BTreeMap<String, BTreeMap<u64, u64>>;

fn places(events: &[Event]) -> Result<Places, String> {
    let mut places = Places::new();
    for event in events {
        let device_seq = event.device_seq.ok_or("an event without device_seq")?.get();
        let own = places.entry(event.device.to_string()).or_default();
        if let Some((last, _)) = own.last_key_value()
            && device_seq <= *last
        {
            let device = event.device;
            return Err(format!(
                "{device} {device_seq} after {last}: twice or disordered (G4)"
            ));
        }
        own.insert(device_seq, event.seq.get());
    }
    Ok(places)
}

impl Found {
    /// The state, and every event up to its seq that is kept.
    fn read(address: SocketAddr, stream: &str) -> Result<Self, String> {
        let say = |error: std::io::Error| format!("reading: {error}");
        let state_of = |payload: &[u8]| {
            Snapshot::decode(payload).map_err(|error| format!("the state: {error}"))
        };
        let mut wire = Wire::connect(address, &Connect::new(Version::V5, "")).map_err(say)?;
        wire.subscribe(&format!("{stream}/state")).map_err(say)?;
        let state = state_of(&wire.message().map_err(say)?.payload)?;
        wire.unsubscribe(&format!("{stream}/state")).map_err(say)?;
        wire.subscribe(&format!("$since/0/{stream}/events"))
            .map_err(say)?;
        let mut found = Self {
            state,
            opening: None,
            payloads: Vec::new(),
            events: Vec::new(),
        };
        while found.seq() < found.state.seq.get() {
            let message = wire.message().map_err(say)?;
            if message.topic.ends_with("/state") {
                found.opening = Some(state_of(&message.payload)?);
                continue;
            }
            let event = Event::decode(&message.payload);
            found
                .events
                .push(event.map_err(|error| format!("an event: {error}"))?);
            found.payloads.push(message.payload);
        }
        Ok(found)
    }

    fn horizon(&self) -> u64 {
        self.opening.as_ref().map_or(0, |state| state.seq.get())
    }

    /// How far it was read.
    fn seq(&self) -> u64 {
        self.horizon() + self.events.len() as u64
    }

    /// The index of a seq among the events, if it is above the horizon.
    fn index(&self, seq: u64) -> Option<usize> {
        seq.checked_sub(self.horizon() + 1).map(|at| at as usize)
    }

    fn no_holes(&self) -> Result<(), String> {
        for (event, expected) in self.events.iter().zip(self.horizon() + 1..) {
            if event.seq.get() != expected {
                return Err(format!("seq {} where {expected} was due (G3)", event.seq));
            }
        }
        Ok(())
    }

    fn acknowledged_are_there(&self, author: &Publisher, places: &Places) -> Result<(), String> {
        let empty = BTreeMap::new();
        let own = places.get(&author.device).unwrap_or(&empty);
        for (device_seq, seq) in &author.acked {
            if *seq > self.horizon() && own.get(device_seq) != Some(seq) {
                let found = own.get(device_seq);
                return Err(format!(
                    "{device_seq} was acknowledged at {seq}, is at {found:?} (G1)"
                ));
            }
        }
        Ok(())
    }

    fn stored_is_what_was_sent(&self, author: &Publisher, places: &Places) -> Result<(), String> {
        for (device_seq, seq) in places.get(&author.device).into_iter().flatten() {
            let sent = author
                .sent
                .get(*device_seq as usize - 1)
                .ok_or("more than was sent")?;
            let sent = Intent::decode(sent.as_bytes()).map_err(|refused| refused.reason)?;
            let event = self.index(*seq).and_then(|at| self.events.get(at));
            let same = event.is_some_and(|event| {
                event.event_type == sent.event_type
                    && event.event_data == sent.event_data
                    && Some(event.clock) == sent.clock
            });
            if !same {
                return Err(format!(
                    "seq {seq} is not what {} sent as {device_seq}",
                    author.device
                ));
            }
        }
        Ok(())
    }

    /// Also of the events below the horizon: each play that was acknowledged counts once, one that is open at most once.
    fn plays_are_counted(&self, author: &Publisher) -> Result<(), String> {
        let entry = self
            .state
            .collections
            .get("plays")
            .and_then(|plays| plays.get(&author.device));
        let counted = entry
            .and_then(|entry| entry.value())
            .and_then(syncline_protocol::Value::as_u64);
        let counted = counted.unwrap_or(0);
        let is_acked = |number: &&u64| author.acked.contains_key(number);
        let acked = author.plays.iter().filter(is_acked).count() as u64;
        let sent = author.plays.len() as u64;
        if (acked..=sent).contains(&counted) {
            return Ok(());
        }
        Err(format!(
            "{} plays of {} are counted; {acked} were acknowledged, {sent} sent (G4)",
            counted, author.device
        ))
    }

    fn shown_is_there(&self, witness: &Witness) -> Result<(), String> {
        for shown in &witness.shown {
            let seq = Event::decode(shown)
                .map_err(|error| format!("a shown event: {error}"))?
                .seq
                .get();
            if seq > self.seq() {
                return Err(format!("seq {seq} was shown and is gone (G2)"));
            }
            let kept = self.index(seq).map(|at| &self.payloads[at]);
            if kept.is_some_and(|kept| kept != shown) {
                return Err(format!("seq {seq} is not what was shown (G2)"));
            }
        }
        Ok(())
    }

    fn state_agrees(&self) -> Result<(), String> {
        let schema = Schema::parse(SCHEMA).map_err(|error| error.to_string())?;
        let mut state = State::new(Arc::new(schema));
        if let Some(opening) = &self.opening {
            state.take(opening).map_err(|error| error.to_string())?;
        }
        for event in &self.events {
            state.apply(event).map_err(|error| error.to_string())?;
        }
        let snapshot = &self.state;
        if snapshot.seq != state.seq() || snapshot.digest != state.digest() {
            return Err(format!(
                "the state says seq {} digest {}, the events amount to seq {} digest {} (G5)",
                snapshot.seq,
                snapshot.digest,
                state.seq(),
                state.digest()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use syncline_protocol::Seq;
    use syncline_tests::dice::Dice;
    use syncline_tests::star::Star;

    use super::*;

    const DEVICE: &str = "11111111-1111-4111-8111-111111111111";

    fn event(seq: u64, device_seq: u64) -> Event {
        let star = Star::album("a")
            .from_device(DEVICE, device_seq)
            .at(5, 0)
            .with("seq", seq.into())
            .with("sync_id", "home".into())
            .with("epoch", "00000000000000aa".into())
            .with("accepted_at", 1.into())
            .with("base_seq", 0.into());
        Event::decode(star.json().as_bytes()).unwrap()
    }

    fn author(acked: &[(u64, u64)], sent: &[Star]) -> Publisher {
        let mut author = Publisher::new("sync/home", true, Dice::new(1));
        author.device = DEVICE.to_owned();
        author.acked = acked.iter().copied().collect();
        author.sent = sent.iter().map(Star::json).collect();
        author
    }

    fn music() -> State {
        State::new(Arc::new(Schema::parse(SCHEMA).unwrap()))
    }

    /// What these events amount to, and they themselves.
    fn found(events: &[Event]) -> Found {
        let mut state = music();
        for event in events {
            // Holes are for others to find.
            let _ = state.apply(event);
        }
        Found {
            state: Snapshot::of(&state, event(1, 1).stream, Seq::ZERO),
            opening: None,
            payloads: events.iter().map(Event::encode).collect(),
            events: events.to_vec(),
        }
    }

    #[test]
    fn a_hole_is_seen() {
        assert!(found(&[event(1, 1), event(2, 2)]).no_holes().is_ok());
        assert!(found(&[event(1, 1), event(3, 2)]).no_holes().is_err());
        assert!(found(&[event(2, 1)]).no_holes().is_err());
    }

    #[test]
    fn an_event_that_is_there_twice_or_out_of_order_is_seen() {
        assert!(places(&[event(1, 1), event(2, 2)]).is_ok());
        assert!(places(&[event(1, 1), event(2, 1)]).is_err());
        assert!(places(&[event(1, 2), event(2, 1)]).is_err());
    }

    #[test]
    fn an_acknowledged_event_that_is_gone_or_elsewhere_is_seen() {
        let found = found(&[event(1, 1), event(2, 2)]);
        let kept = places(&found.events).unwrap();
        let check = |acked: &[(u64, u64)]| found.acknowledged_are_there(&author(acked, &[]), &kept);
        assert!(check(&[(1, 1), (2, 2)]).is_ok());
        assert!(check(&[(3, 3)]).is_err());
        assert!(check(&[(2, 1)]).is_err());
    }

    #[test]
    fn an_event_that_is_not_what_was_sent_is_seen() {
        let found = found(&[event(1, 1)]);
        let kept = places(&found.events).unwrap();
        let sent = |album| [Star::album(album).from_device(DEVICE, 1).at(5, 0)];
        let check = |sent: &[Star]| found.stored_is_what_was_sent(&author(&[], sent), &kept);
        assert!(check(&sent("a")).is_ok());
        assert!(check(&sent("b")).is_err());
        assert!(check(&[]).is_err());
    }

    #[test]
    fn something_shown_that_is_gone_or_other_is_seen() {
        let found = found(&[event(1, 1), event(2, 2)]);
        let check = |shown: &[Event]| {
            found.shown_is_there(&Witness {
                stream: "sync/home",
                shown: shown.iter().map(Event::encode).collect(),
            })
        };
        assert!(check(&[event(1, 1)]).is_ok());
        assert!(check(&[event(1, 1), event(2, 7)]).is_err());
        assert!(check(&[event(1, 1), event(2, 2), event(3, 3)]).is_err());
    }

    #[test]
    fn a_state_that_the_events_do_not_amount_to_is_seen() {
        assert!(found(&[event(1, 1)]).state_agrees().is_ok());
        let mut more = found(&[event(1, 1)]);
        more.events.push(event(2, 2));
        assert!(more.state_agrees().is_err());
        let mut wrong = found(&[event(1, 1)]);
        wrong.state.digest.add(wrong.state.digest);
        assert!(wrong.state_agrees().is_err());
    }

    #[test]
    fn below_the_horizon_the_state_speaks() {
        let whole = found(&[event(1, 1), event(2, 2)]);
        let folded = Found {
            opening: Some(found(&[event(1, 1)]).state),
            state: whole.state,
            payloads: whole.payloads[1..].to_vec(),
            events: whole.events[1..].to_vec(),
        };
        assert!(folded.no_holes().is_ok() && folded.state_agrees().is_ok());
        let kept = places(&folded.events).unwrap();
        let check =
            |acked: &[(u64, u64)]| folded.acknowledged_are_there(&author(acked, &[]), &kept);
        assert!(check(&[(1, 1), (2, 2)]).is_ok());
        assert!(check(&[(3, 2)]).is_err());
    }

    #[test]
    fn a_play_that_counts_twice_or_never_is_seen() {
        let play = Star::of("play_track", serde_json::json!({ "track_id": DEVICE })).json();
        let intent = Intent::decode(play.as_bytes()).unwrap();
        let first = Event {
            event_type: intent.event_type,
            event_data: intent.event_data,
            ..event(1, 1)
        };
        let found = found(&[first]);
        let check = |plays: &[u64], acked: &[(u64, u64)]| {
            let mut author = author(acked, &[]);
            author.plays = plays.iter().copied().collect();
            found.plays_are_counted(&author)
        };
        assert!(check(&[1], &[(1, 1)]).is_ok());
        assert!(check(&[1, 2], &[]).is_ok());
        assert!(check(&[], &[]).is_err());
        assert!(check(&[1, 2], &[(1, 1), (2, 2)]).is_err());
    }
}
