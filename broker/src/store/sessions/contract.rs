//! The contract suite of [`SessionStore`](super::SessionStore). An implementation calls `session_contract_suite!(harness)`
//! with a function that makes an empty [`SessionHarness`].

use bytes::Bytes;
use syncline_protocol::{Epoch, Filter, UnixMillis};

use super::*;
use crate::store::contract::{ALL, at, stream};

mod devices;
mod messages;
pub(crate) use devices::*;
pub(crate) use messages::*;

/// A store that can be closed and opened again.
pub(crate) trait SessionHarness {
    fn store(&self) -> &dyn SessionStore;
    fn reopen(&mut self);
}

macro_rules! session_contract_suite {
    ($harness:expr) => {
        $crate::store::sessions::contract::session_contract_suite!(@tests $harness,
            a_session_that_is_not_there_is_not_loaded_and_takes_no_change,
            g12_a_session_is_there_after_reopening_with_all_it_follows,
            a_session_that_begins_again_keeps_what_it_follows,
            the_end_of_a_session_leaves_nothing,
            sessions_are_listed_in_order_and_in_pieces,
            view_5_a_subscription_in_place_of_another_has_no_cursors,
            progress_puts_and_drops_cursors_and_moves_scans,
            progress_of_what_is_not_followed_changes_nothing,
            what_waits_comes_in_order_and_is_bounded,
            packet_ids_are_opened_and_closed,
            retained_messages_are_replaced_cleared_and_listed,
            changes_of_one_write_follow_each_other,
            a_group_that_is_erased_is_named_nowhere,
            keys_that_contain_each_other_are_apart,
            g12_devices_have_owners_and_are_shown_after_reopening,
        );
    };
    (@tests $harness:expr, $($name:ident,)+) => {
        $(#[test]
        fn $name() {
            $crate::store::sessions::contract::$name(&mut $harness);
        })+
    };
}
pub(crate) use session_contract_suite;

pub(crate) fn key(client_id: &str) -> SessionKey {
    SessionKey {
        principal: "ada".to_owned(),
        client_id: client_id.to_owned(),
    }
}

pub(crate) fn session(client_id: &str) -> StoredSession {
    StoredSession {
        key: key(client_id),
        version: MqttVersion::V5,
        expiry_ms: 60_000,
        left_at: None,
        position: 7,
    }
}

pub(crate) fn subscription(filter: &str) -> StoredSubscription {
    StoredSubscription {
        filter: filter.parse().unwrap(),
        json: true,
        qos: 1,
        no_local: true,
        retain_as_published: false,
        identifier: Some(300),
        began: 7,
        scans: Reaches::default(),
    }
}

fn cursor(filter: &str, name: &str, seq: u64) -> Cursor {
    Cursor {
        filter: filter.parse().unwrap(),
        stream: stream(name),
        events: match seq {
            3 => Lag::State,
            8 => Lag::None,
            _ => Lag::After {
                epoch: Epoch::new(9),
                seq: at(seq),
                sent: at(seq + 2),
            },
        },
        state: seq.is_multiple_of(2),
    }
}

fn message(topic: &str, payload: &'static str) -> Message {
    Message {
        topic: topic.to_owned(),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: 2,
        retain: true,
        properties: Bytes::from_static(&[1, 2]),
        expires_at: Some(UnixMillis::new(99)),
    }
}

fn filter(text: &str) -> Filter {
    text.parse().unwrap()
}

fn write(harness: &dyn SessionHarness, changes: &[SessionChange]) -> Written {
    harness.store().write(changes).unwrap()
}

fn load(harness: &dyn SessionHarness, client_id: &str) -> Option<LoadedSession> {
    harness.store().load(&key(client_id)).unwrap()
}

fn progress(put: Vec<Cursor>, drop: Vec<(Filter, syncline_protocol::StreamId)>) -> Progress {
    Progress {
        position: 20,
        scans: Vec::new(),
        put,
        drop,
    }
}

/// A session `a` that follows `sync/#` and `sync/home/events`.
fn begun(harness: &dyn SessionHarness) {
    let changes = [
        SessionChange::Begin(session("a")),
        SessionChange::Subscribe(key("a"), subscription("sync/#")),
        SessionChange::Subscribe(key("a"), subscription("sync/home/events")),
    ];
    write(harness, &changes);
}

pub(crate) fn a_session_that_is_not_there_is_not_loaded_and_takes_no_change(
    harness: &mut dyn SessionHarness,
) {
    let limit = QueueLimit {
        messages_max: 9,
        bytes_max: 999,
    };
    let id = PacketId {
        side: Side::Client,
        id: 1,
    };
    let changes = [
        SessionChange::Subscribe(key("a"), subscription("sync/#")),
        SessionChange::Progress(
            key("a"),
            progress(vec![cursor("sync/#", "home", 1)], vec![]),
        ),
        SessionChange::Enqueue(key("a"), message("x", "1"), limit),
        SessionChange::Open(key("a"), id),
        SessionChange::Leave {
            key: key("a"),
            expiry_ms: 1,
            left_at: UnixMillis::new(1),
        },
        SessionChange::Unsubscribe(key("a"), filter("sync/#")),
        SessionChange::Dequeue(key("a"), QueueNumber(3)),
        SessionChange::End(key("a")),
    ];
    assert_eq!(write(harness, &changes), Written::default());
    harness.reopen();
    assert_eq!(load(harness, "a"), None);
    write(harness, &[SessionChange::Begin(session("a"))]);
    let loaded = load(harness, "a").unwrap();
    assert!(loaded.subscriptions.is_empty() && loaded.cursors.is_empty());
    assert!(loaded.packets.is_empty());
    let queued = harness.store().queued(&key("a"), QueueNumber(0), ALL);
    assert!(queued.unwrap().is_empty());
}

pub(crate) fn g12_a_session_is_there_after_reopening_with_all_it_follows(
    harness: &mut dyn SessionHarness,
) {
    begun(harness);
    let lags = vec![cursor("sync/#", "home", 3), cursor("sync/#", "work/x", 8)];
    write(
        harness,
        &[SessionChange::Progress(
            key("a"),
            progress(lags.clone(), vec![]),
        )],
    );
    harness.reopen();
    let loaded = load(harness, "a").unwrap();
    let position = 20;
    assert_eq!(
        loaded.session,
        StoredSession {
            position,
            ..session("a")
        }
    );
    let follows = ["sync/#", "sync/home/events"].map(subscription);
    assert_eq!(loaded.subscriptions, follows);
    assert_eq!(loaded.cursors, lags);
}

pub(crate) fn a_session_that_begins_again_keeps_what_it_follows(harness: &mut dyn SessionHarness) {
    begun(harness);
    let left = SessionChange::Leave {
        key: key("a"),
        expiry_ms: 5,
        left_at: UnixMillis::new(1_000),
    };
    write(harness, &[left]);
    harness.reopen();
    let before = load(harness, "a").unwrap();
    assert_eq!(before.session.ends_at(), Some(UnixMillis::new(1_005)));
    let again = StoredSession {
        version: MqttVersion::V3,
        expiry_ms: 77,
        position: 50,
        ..session("a")
    };
    write(harness, &[SessionChange::Begin(again.clone())]);
    harness.reopen();
    let after = load(harness, "a").unwrap();
    assert_eq!(after.subscriptions, before.subscriptions);
    assert_eq!(
        after.session,
        StoredSession {
            position: 7,
            ..again
        }
    );
}

pub(crate) fn the_end_of_a_session_leaves_nothing(harness: &mut dyn SessionHarness) {
    begun(harness);
    let limit = QueueLimit {
        messages_max: 9,
        bytes_max: 999,
    };
    let id = PacketId {
        side: Side::Broker,
        id: 9,
    };
    let changes = [
        SessionChange::Begin(session("b")),
        SessionChange::Subscribe(key("b"), subscription("sync/#")),
        SessionChange::Progress(
            key("a"),
            progress(vec![cursor("sync/#", "home", 1)], vec![]),
        ),
        SessionChange::Progress(
            key("b"),
            progress(vec![cursor("sync/#", "home", 2)], vec![]),
        ),
        SessionChange::Enqueue(key("a"), message("x", "1"), limit),
        SessionChange::Open(key("a"), id),
    ];
    write(harness, &changes);
    write(harness, &[SessionChange::End(key("a"))]);
    harness.reopen();
    assert_eq!(load(harness, "a"), None);
    assert_eq!(load(harness, "b").unwrap().cursors.len(), 1);
    write(harness, &[SessionChange::Begin(session("a"))]);
    let fresh = load(harness, "a").unwrap();
    assert_eq!(
        fresh.subscriptions.len() + fresh.cursors.len() + fresh.packets.len(),
        0
    );
    let queued = harness.store().queued(&key("a"), QueueNumber(0), ALL);
    assert!(queued.unwrap().is_empty());
}

pub(crate) fn sessions_are_listed_in_order_and_in_pieces(harness: &mut dyn SessionHarness) {
    for name in ["c", "a", "b", "aa"] {
        write(harness, &[SessionChange::Begin(session(name))]);
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = harness.store().sessions(after.as_ref(), 3).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        seen.extend(page.into_iter().map(|it| it.key.client_id));
    }
    assert_eq!(seen, ["a", "aa", "b", "c"]);
}

pub(crate) fn view_5_a_subscription_in_place_of_another_has_no_cursors(
    harness: &mut dyn SessionHarness,
) {
    begun(harness);
    let lags = ["sync/#", "sync/home/events"].map(|it| cursor(it, "home", 1));
    write(
        harness,
        &[SessionChange::Progress(
            key("a"),
            progress(lags.to_vec(), vec![]),
        )],
    );
    let other = StoredSubscription {
        json: false,
        began: 30,
        scans: Reaches {
            events: Some(Reach::all(0)),
            states: Some(Reach::all(4).passed(&stream("m"), 9)),
        },
        ..subscription("sync/#")
    };
    write(
        harness,
        &[SessionChange::Subscribe(key("a"), other.clone())],
    );
    harness.reopen();
    let loaded = load(harness, "a").unwrap();
    assert_eq!(loaded.cursors, lags[1..]);
    assert_eq!(loaded.subscriptions[0], other);
    write(
        harness,
        &[SessionChange::Unsubscribe(
            key("a"),
            filter("sync/home/events"),
        )],
    );
    harness.reopen();
    let loaded = load(harness, "a").unwrap();
    assert_eq!((loaded.cursors.len(), loaded.subscriptions.len()), (0, 1));
}

pub(crate) fn progress_puts_and_drops_cursors_and_moves_scans(harness: &mut dyn SessionHarness) {
    begun(harness);
    let lags = vec![cursor("sync/#", "home", 1), cursor("sync/#", "home/x", 1)];
    let mut first = progress(lags, vec![]);
    let scans = Reaches {
        events: Some(Reach::all(2)),
        states: None,
    };
    first.scans = vec![(filter("sync/#"), scans.clone())];
    write(harness, &[SessionChange::Progress(key("a"), first)]);
    harness.reopen();
    assert_eq!(load(harness, "a").unwrap().subscriptions[0].scans, scans);
    let mut second = progress(
        vec![cursor("sync/#", "home", 5)],
        vec![(filter("sync/#"), stream("home/x"))],
    );
    second.scans = vec![(filter("sync/#"), Reaches::default())];
    write(harness, &[SessionChange::Progress(key("a"), second)]);
    harness.reopen();
    let loaded = load(harness, "a").unwrap();
    assert_eq!(loaded.cursors, [cursor("sync/#", "home", 5)]);
    assert_eq!(loaded.subscriptions[0], subscription("sync/#"));
}

pub(crate) fn progress_of_what_is_not_followed_changes_nothing(harness: &mut dyn SessionHarness) {
    begun(harness);
    let mut late = progress(
        vec![cursor("sync/gone/events", "gone", 1)],
        vec![(filter("sync/#"), stream("never"))],
    );
    late.scans = vec![(filter("sync/gone/events"), Reaches::default())];
    write(harness, &[SessionChange::Progress(key("a"), late)]);
    let loaded = load(harness, "a").unwrap();
    assert_eq!((loaded.cursors.len(), loaded.subscriptions.len()), (0, 2));
}

pub(crate) fn changes_of_one_write_follow_each_other(harness: &mut dyn SessionHarness) {
    let changes = [
        SessionChange::Begin(session("a")),
        SessionChange::Subscribe(key("a"), subscription("sync/#")),
        SessionChange::End(key("a")),
        SessionChange::Begin(session("a")),
        SessionChange::Subscribe(key("a"), subscription("sync/+/events")),
    ];
    write(harness, &changes);
    harness.reopen();
    let loaded = load(harness, "a").unwrap();
    assert_eq!(loaded.subscriptions, [subscription("sync/+/events")]);
}

pub(crate) fn a_group_that_is_erased_is_named_nowhere(harness: &mut dyn SessionHarness) {
    begun(harness);
    let lags = [
        cursor("sync/#", "home", 1),
        cursor("sync/#", "home/x", 1),
        cursor("sync/#", "homes", 1),
        cursor("sync/home/events", "home", 1),
    ];
    write(
        harness,
        &[SessionChange::Progress(
            key("a"),
            progress(lags.to_vec(), vec![]),
        )],
    );
    let erased = harness.store().erase_group(&"home".parse().unwrap());
    assert_eq!(erased.unwrap(), 4);
    harness.reopen();
    let loaded = load(harness, "a").unwrap();
    assert_eq!(loaded.cursors, [cursor("sync/#", "homes", 1)]);
    assert_eq!(loaded.subscriptions, [subscription("sync/#")]);
}

pub(crate) fn keys_that_contain_each_other_are_apart(harness: &mut dyn SessionHarness) {
    let of = |principal: &str, client_id: &str| StoredSession {
        key: SessionKey {
            principal: principal.to_owned(),
            client_id: client_id.to_owned(),
        },
        ..session("")
    };
    let all = [
        of("", "ab"),
        of("a", "b"),
        of("ab", ""),
        of("a", "bü\u{1F3B5}"),
    ];
    for one in &all {
        let follow = subscription(&format!("sync/g{}/events", one.key.client_id.len()));
        let subscribe = SessionChange::Subscribe(one.key.clone(), follow);
        write(harness, &[SessionChange::Begin(one.clone()), subscribe]);
    }
    write(harness, &[SessionChange::End(all[1].key.clone())]);
    harness.reopen();
    for one in &all {
        let loaded = harness.store().load(&one.key).unwrap();
        let follows = loaded.map(|it| it.subscriptions.len());
        assert_eq!(follows, (*one != all[1]).then_some(1), "{one:?}");
    }
}
