//! What the broker has after a restart, held against what it said before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use syncline_protocol::{Event, Intent, Schema, Snapshot, State};
use syncline_tests::wire::{Connect, Version, Wire};

use crate::publisher::Publisher;
use crate::witness::Witness;

const SCHEMA: &str = include_str!("../../../../config/schemas/music.toml");

/// Reads the whole stream and checks it; the number of events.
pub(crate) fn audit(
    address: SocketAddr,
    stream: &str,
    authors: &[&Publisher],
    shown: &[&Witness],
) -> Result<usize, String> {
    let (snapshot, payloads) = read(address, stream)?;
    let mut events = Vec::new();
    for payload in &payloads {
        events.push(Event::decode(payload).map_err(|error| format!("an event: {error}"))?);
    }
    no_holes(&events)?;
    let places = places(&events)?;
    for author in authors {
        acknowledged_are_there(author, &places)?;
        stored_is_what_was_sent(author, &events, &places)?;
    }
    for witness in shown {
        shown_is_there(witness, &payloads)?;
    }
    state_agrees(&events, &snapshot)?;
    Ok(events.len())
}

/// The state as answered on SUBSCRIBE, and every event up to its seq.
fn read(address: SocketAddr, stream: &str) -> Result<(Snapshot, Vec<Vec<u8>>), String> {
    let say = |error: std::io::Error| format!("reading: {error}");
    let mut wire = Wire::connect(address, &Connect::new(Version::V5, "")).map_err(say)?;
    wire.subscribe(&format!("{stream}/state")).map_err(say)?;
    let message = wire.message().map_err(say)?;
    let snapshot =
        Snapshot::decode(&message.payload).map_err(|error| format!("the state: {error}"))?;
    wire.unsubscribe(&format!("{stream}/state")).map_err(say)?;
    wire.subscribe(&format!("$since/0/{stream}/events"))
        .map_err(say)?;
    let mut payloads = Vec::new();
    while (payloads.len() as u64) < snapshot.head.get() {
        payloads.push(
            wire.message_on(&format!("{stream}/events"))
                .map_err(say)?
                .payload,
        );
    }
    Ok((snapshot, payloads))
}

fn no_holes(events: &[Event]) -> Result<(), String> {
    for (event, expected) in events.iter().zip(1..) {
        if event.seq.get() != expected {
            return Err(format!("seq {} where {expected} was due (G3)", event.seq));
        }
    }
    Ok(())
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

fn acknowledged_are_there(author: &Publisher, places: &Places) -> Result<(), String> {
    let empty = BTreeMap::new();
    let own = places.get(&author.device).unwrap_or(&empty);
    for (device_seq, seq) in &author.acked {
        if own.get(device_seq) != Some(seq) {
            let found = own.get(device_seq);
            return Err(format!(
                "{device_seq} was acknowledged at {seq}, is at {found:?} (G1)"
            ));
        }
    }
    Ok(())
}

fn stored_is_what_was_sent(
    author: &Publisher,
    events: &[Event],
    places: &Places,
) -> Result<(), String> {
    for (device_seq, seq) in places.get(&author.device).into_iter().flatten() {
        let sent = author
            .sent
            .get(*device_seq as usize - 1)
            .ok_or("more than was sent")?;
        let sent = Intent::decode(sent.as_bytes()).map_err(|refused| refused.reason)?;
        let event = &events[*seq as usize - 1];
        let same = event.event_type == sent.event_type
            && event.event_data == sent.event_data
            && Some(event.clock) == sent.clock;
        if !same {
            return Err(format!(
                "seq {seq} is not what {} sent as {device_seq}",
                author.device
            ));
        }
    }
    Ok(())
}

fn shown_is_there(witness: &Witness, payloads: &[Vec<u8>]) -> Result<(), String> {
    if witness.shown.len() > payloads.len() {
        let (shown, kept) = (witness.shown.len(), payloads.len());
        return Err(format!("{shown} events were shown, {kept} are kept (G2)"));
    }
    match witness
        .shown
        .iter()
        .zip(payloads)
        .position(|(shown, kept)| shown != kept)
    {
        Some(at) => Err(format!("seq {} is not what was shown (G2)", at + 1)),
        None => Ok(()),
    }
}

fn state_agrees(events: &[Event], snapshot: &Snapshot) -> Result<(), String> {
    let schema = Schema::parse(SCHEMA).map_err(|error| error.to_string())?;
    let mut state = State::new(Arc::new(schema));
    for event in events {
        state.apply(event).map_err(|error| error.to_string())?;
    }
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
        let mut author = Publisher::new("sync/home", Dice::new(1));
        author.device = DEVICE.to_owned();
        author.acked = acked.iter().copied().collect();
        author.sent = sent.iter().map(Star::json).collect();
        author
    }

    #[test]
    fn a_hole_is_seen() {
        assert!(no_holes(&[event(1, 1), event(2, 2)]).is_ok());
        assert!(no_holes(&[event(1, 1), event(3, 2)]).is_err());
        assert!(no_holes(&[event(2, 1)]).is_err());
    }

    #[test]
    fn an_event_that_is_there_twice_or_out_of_order_is_seen() {
        assert!(places(&[event(1, 1), event(2, 2)]).is_ok());
        assert!(places(&[event(1, 1), event(2, 1)]).is_err());
        assert!(places(&[event(1, 2), event(2, 1)]).is_err());
    }

    #[test]
    fn an_acknowledged_event_that_is_gone_or_elsewhere_is_seen() {
        let kept = places(&[event(1, 1), event(2, 2)]).unwrap();
        assert!(acknowledged_are_there(&author(&[(1, 1), (2, 2)], &[]), &kept).is_ok());
        assert!(acknowledged_are_there(&author(&[(3, 3)], &[]), &kept).is_err());
        assert!(acknowledged_are_there(&author(&[(2, 1)], &[]), &kept).is_err());
    }

    #[test]
    fn an_event_that_is_not_what_was_sent_is_seen() {
        let events = [event(1, 1)];
        let kept = places(&events).unwrap();
        let sent = |album| [Star::album(album).from_device(DEVICE, 1).at(5, 0)];
        assert!(stored_is_what_was_sent(&author(&[], &sent("a")), &events, &kept).is_ok());
        assert!(stored_is_what_was_sent(&author(&[], &sent("b")), &events, &kept).is_err());
        assert!(stored_is_what_was_sent(&author(&[], &[]), &events, &kept).is_err());
    }

    #[test]
    fn something_shown_that_is_gone_or_other_is_seen() {
        let shown = |shown: &[&[u8]]| Witness {
            stream: "sync/home",
            shown: shown.iter().map(|payload| payload.to_vec()).collect(),
        };
        let kept = [b"one".to_vec(), b"two".to_vec()];
        assert!(shown_is_there(&shown(&[b"one"]), &kept).is_ok());
        assert!(shown_is_there(&shown(&[b"one", b"other"]), &kept).is_err());
        assert!(shown_is_there(&shown(&[b"one", b"two", b"three"]), &kept).is_err());
    }

    #[test]
    fn a_state_that_the_events_do_not_amount_to_is_seen() {
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let mut state = State::new(schema);
        state.apply(&event(1, 1)).unwrap();
        let snapshot = Snapshot::of(&state, event(1, 1).stream, Seq::ZERO);
        assert!(state_agrees(&[event(1, 1)], &snapshot).is_ok());
        assert!(state_agrees(&[event(1, 1), event(2, 2)], &snapshot).is_err());
        let mut wrong = snapshot;
        wrong.digest.add(wrong.digest);
        assert!(state_agrees(&[event(1, 1)], &wrong).is_err());
    }
}
