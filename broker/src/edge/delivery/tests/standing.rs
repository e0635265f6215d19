//! What a session keeps of a delivery, and how one goes on from there.

use syncline_protocol::Epoch;

use super::super::keeping::{Footing, GoOn, Resumed, Standing};
use super::super::*;
use super::world::{World, seq};
use crate::edge::session::{Retained, Wanted};
use crate::edge::sight::Sight;
use crate::store::sessions::{Lag, Reach, Reaches};

/// A world whose first stream has events that the bus has brought, and a subscription whose progress is kept.
fn following(filter: &str, events: u64) -> World {
    let mut world = World::new();
    world.delivery.keep();
    world.publish(0, events);
    world.bring(0);
    world.drain();
    world.subscribe(filter);
    world
}

fn standing(world: &World) -> Standing {
    world.delivery.standing(9)
}

/// Whether the state of the first stream is due.
fn state_is_due(world: &World) -> bool {
    let cursors = standing(world).cursors;
    cursors.into_values().eq([(Lag::None, true)])
}

#[test]
fn session_2_a_state_is_due_until_its_last_part_is_acknowledged() {
    let mut world = following("sync/a/state", 2);
    world.parts = 2;
    assert!(state_is_due(&world), "it was not asked for yet");
    let need = world.delivery.need(world.now).unwrap();
    assert!(state_is_due(&world), "it is read");
    world.provide(need);
    let first = world.delivery.next_message(true).unwrap();
    assert_eq!(first.tag, None);
    assert!(state_is_due(&world), "a part of it waits");
    let last = world.delivery.next_message(true).unwrap();
    assert!(state_is_due(&world), "it is not acknowledged");
    world.delivery.acked(&last.tag.unwrap());
    assert_eq!(standing(&world), Standing::default());
}

#[test]
fn session_2_a_state_that_changed_is_due_before_it_is_asked_for() {
    let mut world = following("sync/a/state", 1);
    world.run(9);
    for sent in std::mem::take(&mut world.received) {
        world.delivery.acked(&sent.tag.unwrap());
    }
    assert_eq!(standing(&world), Standing::default());
    world.publish(0, 1);
    world.bring(0);
    world.drain();
    assert!(state_is_due(&world));
}

#[test]
fn session_2_an_event_is_lacking_until_it_is_acknowledged_and_was_sent() {
    let mut world = following("$since/0/sync/a/events", 2);
    world.run(2);
    let lacks = |world: &World| standing(world).cursors.into_values().next();
    let lag = |from, sent| Lag::After {
        epoch: Epoch::NONE,
        seq: seq(from),
        sent: seq(sent),
    };
    assert_eq!(lacks(&world), Some((lag(0, 2), false)));
    let mut tags = world.received.iter().filter_map(|it| it.tag.clone());
    let [first, second] = [tags.next().unwrap(), tags.next().unwrap()];
    world.delivery.acked(&first);
    assert_eq!(lacks(&world), Some((lag(1, 2), false)));
    world.delivery.acked(&second);
    assert_eq!(lacks(&world), None);
}

#[test]
fn session_2_a_scan_that_has_not_come_to_its_end_is_kept() {
    let world = following("$since/0/sync/+/events", 2);
    let begun = Reaches {
        events: Some(Reach::all(0)),
        states: Some(Reach::all(0)),
    };
    let scans = standing(&world).scans;
    let scans: Vec<_> = scans
        .into_iter()
        .map(|(filter, reaches)| (filter.to_string(), reaches))
        .collect();
    assert_eq!(scans, [("sync/+/events".to_owned(), begun)]);
}

#[test]
fn session_2_view_4_who_left_before_the_opening_state_begins_there_again() {
    let world = following("$since/2-0000000000000001/sync/a/events", 3);
    let begun = Lag::After {
        epoch: Epoch::new(1),
        seq: seq(2),
        sent: seq(2),
    };
    let cursors: Vec<_> = standing(&world).cursors.into_values().collect();
    assert_eq!(cursors, [(begun, false)]);
}

/// A world in which a session has gone on in the first stream, at event 3 of the present epoch.
fn gone_on(events: GoOn) -> World {
    let mut world = World::new();
    world.publish(0, 3);
    world.bring(0);
    world.drain();
    world.delivery.keep();
    let footing = Footing {
        stream: Arc::clone(&world.streams[0]),
        head: seq(3),
        epoch: Epoch::new(1),
        bus: seq(3),
        events: Some(events),
        state: false,
    };
    let wanted = Wanted {
        subscription: "sync/a/events".parse().unwrap(),
        qos: 1,
        retained: Retained::Never,
        no_local: false,
        retain_as_published: false,
        identifier: Some(1),
    };
    let resumed = Resumed {
        wanted,
        footings: vec![footing],
        reaches: Reaches::default(),
        topics: Vec::new(),
    };
    world.delivery.go_on(world.now, &resumed);
    world
}

#[test]
fn session_2_what_was_sent_before_says_so_and_what_was_not_does_not() {
    let mut world = gone_on(GoOn::After {
        seq: seq(0),
        epoch: Some(Epoch::new(1)),
        sent: seq(2),
    });
    let mut told = Vec::new();
    while told.len() < 3 {
        match world.delivery.next_message(true) {
            Some(it) => told.push((it.tag.unwrap().seq.get(), it.again)),
            None => {
                let need = world.delivery.need(world.now).unwrap();
                world.provide(need);
            }
        }
    }
    assert_eq!(told, [(1, true), (2, true), (3, false)]);
}

#[test]
fn epoch_3_a_session_of_another_history_goes_on_with_a_state() {
    let after = |epoch| GoOn::After {
        seq: seq(2),
        epoch: Some(Epoch::new(epoch)),
        sent: seq(0),
    };
    let mut same = gone_on(after(1));
    let need = same.delivery.need(same.now).unwrap();
    assert!(matches!(need, Need::Events { .. }), "{need:?}");
    let mut other = gone_on(after(7));
    let need = other.delivery.need(other.now).unwrap();
    assert!(matches!(need, Need::Snapshot { .. }), "{need:?}");
}

#[test]
fn wall_3_a_state_that_is_hidden_is_due_when_it_is_shown_over_another_connection() {
    let mut world = following("sync/a/state", 1);
    world.run(9);
    for sent in std::mem::take(&mut world.received) {
        world.delivery.acked(&sent.tag.unwrap());
    }
    assert_eq!(standing(&world), Standing::default());
    world.delivery.see(world.now, Sight::nothing());
    assert!(state_is_due(&world));
}
