//! Deliveries against a naive model, and the rules one by one.

mod standing;
mod world;

use super::*;

use proptest::prelude::*;
use std::time::Duration;
use syncline_protocol::Epoch;

use world::{World, committed, seq};

#[derive(Debug, Clone)]
enum Op {
    Publish(usize, u64),
    Bring(usize),
    Raise(usize, u64),
    Turn(usize, bool),
    Subscribe(&'static str),
    Unsubscribe(&'static str),
    Run(usize),
    Sleep(u64),
}

fn filter() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "sync/a/events",
        "$since/0/sync/a/events",
        "$since/2/sync/a/events",
        "$since/0-0/sync/a/events",
        "$json/$since/1/sync/a/x/events",
        "$since/0-0/sync/b/events",
        "sync/+/events",
        "$since/0/sync/+/events",
        "$json/sync/#",
        "$since/0/sync/#",
        "sync/a/state",
        "$json/sync/a/state",
        "$at/2/sync/b/state",
        "$json/#",
    ])
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3_usize, 1..6_u64).prop_map(|(at, n)| Op::Publish(at, n)),
        4 => (0..3_usize).prop_map(Op::Bring),
        1 => (0..3_usize, 1..6_u64).prop_map(|(at, n)| Op::Raise(at, n)),
        1 => (0..3_usize, any::<bool>()).prop_map(|(at, keeps)| Op::Turn(at, keeps)),
        3 => filter().prop_map(Op::Subscribe),
        1 => filter().prop_map(Op::Unsubscribe),
        4 => (1..12_usize).prop_map(Op::Run),
        1 => (0..500_u64).prop_map(Op::Sleep),
    ]
}

proptest! {
    #[test]
    fn g3_each_subscription_gets_every_seq_once_in_order(
        ops in prop::collection::vec(op(), 0..40),
        (page, parts, meanwhile) in (1..3_usize, 1..4_usize, 0..3_usize),
    ) {
        let mut world = World::new();
        (world.page, world.parts, world.meanwhile) = (page, parts, meanwhile);
        for op in ops {
            match op {
                Op::Publish(at, n) => world.publish(at, n),
                Op::Bring(at) => world.bring(at),
                Op::Raise(at, n) => world.raise(at, n),
                Op::Turn(at, keeps) => world.turn(at, keeps),
                Op::Subscribe(text) => { world.subscribe(text); }
                Op::Unsubscribe(text) => { world.unsubscribe(text); }
                Op::Run(messages) => world.run(messages),
                Op::Sleep(ms) => world.now += Duration::from_millis(ms),
            }
        }
        world.settle();
    }
}

#[test]
fn g3_a_scan_that_passes_an_empty_stream_follows_it_where_others_have_begun() {
    let mut world = World::new();
    world.publish(0, 1);
    world.subscribe("$json/sync/#");
    world.bring(0);
    world.publish(0, 1);
    world.run(1);
    world.publish(0, 1);
    world.subscribe("$since/0/sync/+/events");
    world.subscribe("$since/0-0/sync/b/events");
    world.unsubscribe("$since/0-0/sync/b/events");
    world.run(4);
    world.publish(2, 1);
    world.settle();
}

#[test]
fn what_the_bus_has_not_brought_is_not_delivered_but_in_a_replay() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.publish(0, 2);
    world.run(10);
    assert_eq!(world.seqs(), [0; 0]);
    world.subscribe("$since/0/sync/a/events");
    world.publish(0, 1);
    world.run(10);
    assert_eq!(world.seqs(), [1, 2]);
    world.bring(0);
    world.run(10);
    assert_eq!(world.seqs(), [1, 2, 3]);
}

#[test]
fn view_6_where_subscriptions_overlap_one_copy_per_encoding_arrives() {
    let mut world = World::new();
    for filter in ["sync/a/events", "sync/+/events", "$json/sync/#"] {
        world.subscribe(filter);
    }
    world.publish(0, 1);
    world.bring(0);
    world.run(10);
    let events: Vec<_> = world
        .received
        .iter()
        .filter(|it| it.topic.ends_with("events"))
        .collect();
    assert_eq!(events[0].identifiers(), [1, 2]);
    assert_eq!(events[1].identifiers(), [3]);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].payload()[0], b'{');
}

#[test]
fn view_5_subscribing_again_moves_the_cursor_and_any_form_unsubscribes() {
    let mut world = World::new();
    world.publish(0, 4);
    world.bring(0);
    world.subscribe("sync/a/events");
    world.subscribe("$since/2/sync/a/events");
    world.run(10);
    assert_eq!(world.seqs(), [3, 4]);
    world.subscribe("$since/9/sync/a/events");
    assert!(world.unsubscribe("$json/sync/a/events"));
    world.publish(0, 1);
    world.settle();
    assert_eq!(world.seqs(), [3, 4]);
}

#[test]
fn view_4_an_opening_state_comes_first_also_of_an_empty_stream() {
    let mut world = World::new();
    world.subscribe("$since/0-0/sync/a/events");
    world.run(10);
    assert_eq!(&*world.received[0].topic, "sync/a/state");
    assert!(world.received[0].retain);
    world.publish(0, 2);
    world.settle();
    assert_eq!(world.seqs(), [0, 1, 2]);
    world.subscribe("$since/0-0/sync/a/events");
    world.publish(0, 1);
    world.run(10);
    assert_eq!(world.seqs()[3..], [3]);
    world.settle();
    assert_eq!(
        world.seqs()[3..],
        [3],
        "what the state stands for does not come again"
    );
}

#[test]
fn snap_5_states_are_coalesced_and_the_last_is_sent() {
    let mut world = World::new();
    world.publish(0, 1);
    world.bring(0);
    world.subscribe("sync/a/state");
    world.run(10);
    assert!(world.received[0].retain);
    for _ in 0..5 {
        world.publish(0, 1);
        world.bring(0);
        world.run(10);
    }
    assert_eq!(world.received.len(), 1);
    let wait = world.delivery.next_timeout().unwrap() - world.now;
    assert_eq!(wait, Duration::from_millis(100));
    world.now += wait;
    world.run(10);
    assert_eq!(world.seqs(), [1, 6]);
    assert!(!world.received[1].retain);
    world.now += Duration::from_secs(9);
    world.run(10);
    assert_eq!(world.received.len(), 2);
    assert_eq!(world.delivery.next_timeout(), None);
}

#[test]
fn snap_6_a_stream_without_events_has_no_retained_state() {
    let mut world = World::new();
    world.publish(1, 3);
    world.subscribe("sync/a/state");
    world.subscribe("sync/#");
    world.run(100);
    let mut topics = world.received.iter().map(|it| &*it.topic);
    assert_eq!(topics.next(), Some("sync/a/x/state"));
    assert!(topics.all(|topic| topic.ends_with("/events")));
}

#[test]
fn g10_a_client_without_room_costs_no_queue() {
    let mut world = World::new();
    world.subscribe("$since/0/sync/a/events");
    world.publish(0, 100);
    world.bring(0);
    world.drain();
    let need = world.delivery.need(world.now).unwrap();
    world.provide(need);
    assert!(world.delivery.next_message(false).is_none());
    assert_eq!(
        world.delivery.need(world.now),
        None,
        "nothing is read while a message waits"
    );
    assert!(world.delivery.next_message(true).is_some());
}

#[test]
fn g10_a_state_that_is_due_does_not_ring_while_messages_wait() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.subscribe("sync/a/state");
    world.settle();
    world.publish(0, 1);
    world.bring(0);
    world.drain();
    let need = world.delivery.need(world.now).unwrap();
    assert_eq!(world.delivery.next_timeout(), None, "a need is open");
    world.provide(need);
    assert!(world.delivery.next_message(false).is_none());
    assert_eq!(world.delivery.next_timeout(), None, "a message waits");
    let message = world.delivery.next_message(true).unwrap();
    world.receive(message);
    world.settle();
    assert_eq!(world.seqs(), [1, 1]);
}

#[test]
fn the_limit_of_subscriptions_spares_those_that_replace() {
    let mut world = World::new();
    for n in 0..16 {
        world.subscribe(&format!("sync/s{n}/+"));
    }
    assert!(!world.delivery.takes(&"sync/b/events".parse().unwrap()));
    assert!(world.delivery.takes(&"sync/s3/+".parse().unwrap()));
}

#[test]
fn a_hole_in_what_was_read_is_never_delivered() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.publish(0, 3);
    world.bring(0);
    world.drain();
    assert!(matches!(
        world.delivery.need(world.now),
        Some(Need::Events { .. })
    ));
    let later = committed(&world.streams[0], 2, Epoch::new(1));
    assert_eq!(world.delivery.events(vec![later]), Err(Hole));
}

#[test]
fn view_3_below_the_horizon_a_state_at_the_horizon_comes_and_then_every_kept_event() {
    for filter in ["$since/1/sync/a/events", "$since/0/sync/+/events"] {
        let mut world = World::new();
        world.publish(0, 6);
        world.bring(0);
        world.raise(0, 3);
        world.subscribe(filter);
        world.settle();
        assert_eq!(world.story(), "S3 e4 e5 e6", "{filter}");
    }
    let mut world = World::new();
    world.publish(0, 6);
    world.raise(0, 3);
    world.subscribe("$json/$since/3/sync/a/events");
    world.settle();
    assert_eq!(
        world.story(),
        "e4 e5 e6",
        "at the horizon nothing is missing"
    );
}

#[test]
fn view_9_whom_the_horizon_overtakes_gets_one_state_and_goes_on() {
    for filter in [
        "sync/a/events",
        "$json/$since/0/sync/a/events",
        "$since/0-0/sync/a/events",
        "sync/+/events",
    ] {
        let mut world = World::new();
        world.publish(0, 1);
        world.bring(0);
        world.subscribe(filter);
        world.settle();
        world.received.clear();
        world.publish(0, 8);
        world.bring(0);
        world.run(2);
        world.raise(0, 7);
        world.settle();
        world.publish(0, 1);
        world.settle();
        assert_eq!(world.story(), "e2 e3 e4 s9 e10", "{filter}");
    }
}

#[test]
fn view_9_a_bridge_serves_all_who_wait_for_it_in_both_encodings() {
    let mut world = World::new();
    for filter in ["sync/a/events", "$json/sync/+/events"] {
        world.subscribe(filter);
    }
    world.publish(0, 4);
    world.raise(0, 4);
    world.publish(0, 1);
    world.settle();
    let got: Vec<_> = world.received.iter().map(Outgoing::payload).collect();
    assert_eq!(got, ["1/1@1", "j1/1@1"]);
    assert!(world.received.iter().all(|it| !it.retain));
}

#[test]
fn epoch_3_a_new_epoch_begins_with_a_state_in_the_midst_of_a_subscription() {
    for filter in [
        "sync/a/events",
        "$json/$since/0/sync/a/events",
        "$since/0-0/sync/a/events",
        "$since/0/sync/+/events",
    ] {
        let mut world = World::new();
        world.publish(0, 2);
        world.bring(0);
        world.subscribe(filter);
        world.settle();
        world.received.clear();
        world.turn(0, false);
        world.publish(0, 2);
        world.settle();
        assert_eq!(world.story(), "s4", "{filter}");
        world.received.clear();
        world.turn(0, false);
        world.settle();
        world.publish(0, 1);
        world.settle();
        assert_eq!(world.story(), "s4 e5", "{filter}");
    }
}

#[test]
fn epoch_3_who_has_opened_in_the_new_epoch_needs_no_other_state() {
    let mut world = World::new();
    world.publish(0, 2);
    world.bring(0);
    world.subscribe("$since/2-0000000000000001/sync/a/events");
    world.turn(0, false);
    world.settle();
    world.publish(0, 1);
    world.settle();
    assert_eq!(world.story(), "S2 e3");
}

#[test]
fn epoch_2_view_3_what_is_kept_of_an_older_epoch_is_replayed() {
    for filter in ["$since/1/sync/a/events", "$since/0/sync/+/events"] {
        let mut world = World::new();
        world.publish(0, 4);
        world.raise(0, 1);
        world.turn(0, true);
        world.publish(0, 2);
        world.bring(0);
        world.subscribe(filter);
        world.settle();
        let story = world.story();
        assert!(story.ends_with("e2 e3 e4 e5 e6"), "{filter}: {story}");
        world.turn(0, true);
        world.publish(0, 1);
        world.settle();
        assert!(
            world.story().ends_with("e6 s7"),
            "{filter}: {}",
            world.story()
        );
    }
}

#[test]
fn epoch_3_whoever_is_behind_gets_the_older_events_and_then_the_state() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.publish(0, 4);
    world.bring(0);
    world.run(1);
    world.turn(0, true);
    world.publish(0, 2);
    world.settle();
    assert_eq!(world.story(), "e1 e2 e3 e4 s6");
}

#[test]
fn epoch_3_an_event_of_another_epoch_is_noticed_without_being_told() {
    let mut world = World::new();
    world.subscribe("sync/a/events");
    world.publish(0, 2);
    world.bring(0);
    world.drain();
    let page = |world: &World| {
        let epochs = [1, 9].map(Epoch::new);
        let events = epochs.into_iter().zip(1..);
        let events = events.map(|(epoch, n)| committed(&world.streams[0], n, epoch));
        events.collect()
    };
    assert!(world.delivery.need(world.now).is_some());
    world.delivery.events(page(&world)).unwrap();
    assert!(world.delivery.next_message(true).is_some());
    assert!(
        world.delivery.next_message(true).is_none(),
        "not without a state"
    );
    let need = world.delivery.need(world.now);
    assert!(
        matches!(
            need,
            Some(Need::Snapshot {
                want: Want::Full,
                ..
            })
        ),
        "{need:?}"
    );
}

#[test]
fn view_7_a_state_of_long_ago_comes_once_and_others_are_refused() {
    let mut world = World::new();
    world.publish(0, 6);
    world.bring(0);
    world.raise(0, 2);
    let (from, to) = (seq(2), seq(6));
    for text in ["$at/1/sync/a/state", "$at/7/sync/a/state"] {
        assert_eq!(
            world.subscribe(text),
            Verdict::NotKept { from, to },
            "{text}"
        );
    }
    for text in ["$at/2/sync/a/state", "$json/$at/6/sync/a/state"] {
        world.received.clear();
        world.subscribe(text);
        world.publish(0, 1);
        world.settle();
        assert_eq!(world.received.len(), 1, "{text}");
        assert!(world.received[0].retain);
    }
    assert!(world.unsubscribe("sync/a/state"), "VIEW-5");
}

#[test]
fn snap_8_parts_follow_each_other_and_the_last_one_acknowledges() {
    let mut world = World::new();
    world.parts = 3;
    world.publish(0, 1);
    world.bring(0);
    world.subscribe("$since/0-0/sync/a/events");
    world.subscribe("sync/a/state");
    world.subscribe("$json/sync/a/+");
    world.publish(0, 1);
    world.settle();
    let states = world
        .received
        .iter()
        .filter(|it| it.topic.ends_with("state"));
    assert!(states.count() >= 9);
    assert!(world.received.iter().any(|it| it.tag.is_some()));
}

#[test]
fn snap_8_a_part_leaves_room_for_the_packet_around_it() {
    let mut world = World::new();
    world.delivery.limit_packets(500);
    world.subscribe("sync/a/state");
    world.drain();
    let Some(Need::Snapshot { form, .. }) = world.delivery.need(world.now) else {
        panic!("a state is needed")
    };
    assert!((400..480).contains(&form.part_bytes_max), "{form:?}");
}

#[test]
fn snap_6_live_changes_before_the_scan_has_come_there_are_not_sent_twice() {
    let mut world = World::new();
    (0..3).for_each(|at| world.publish(at, 1));
    (0..3).for_each(|at| world.bring(at));
    world.meanwhile = 0;
    world.subscribe("sync/+/state");
    world.run(1);
    world.publish(2, 1);
    world.bring(2);
    world.now += Duration::from_secs(1);
    world.settle();
    let of_b = world
        .received
        .iter()
        .filter(|it| &*it.topic == "sync/b/state");
    let of_b: Vec<_> = of_b
        .map(|it| (it.retain, it.tag.as_ref().unwrap().seq.get()))
        .collect();
    assert_eq!(of_b, [(true, 2)]);
}

#[test]
fn g10_a_long_scan_does_not_hold_up_events() {
    let mut world = World::new();
    world.publish(1, 1);
    world.publish(2, 1);
    (0..3).for_each(|at| world.bring(at));
    world.meanwhile = 0;
    world.subscribe("sync/+/state");
    world.subscribe("sync/a/events");
    world.publish(0, 1);
    world.bring(0);
    world.run(2);
    let topics: Vec<_> = world
        .received
        .iter()
        .map(|it| it.topic.to_string())
        .collect();
    assert!(topics.contains(&"sync/a/events".to_owned()), "{topics:?}");
}
