//! The contract of ordinary messages: queued, under way, retained.

use super::*;

pub(crate) fn what_waits_comes_in_order_and_is_bounded(harness: &mut dyn SessionHarness) {
    begun(harness);
    let limit = QueueLimit {
        messages_max: 3,
        bytes_max: 12,
    };
    let enqueue = |text| SessionChange::Enqueue(key("a"), message("t", text), limit);
    let written = write(harness, &["1", "2", "3"].map(enqueue));
    assert!(written.refused.is_empty());
    assert_eq!(
        write(harness, &["4"].map(enqueue)).refused,
        [0],
        "three are the limit"
    );
    harness.reopen();
    let numbers = |harness: &dyn SessionHarness, after, events| {
        let limit = ReadLimit { events, bytes: 8 };
        let queued = harness.store().queued(&key("a"), QueueNumber(after), limit);
        let number = |it: Queued| (it.number.0, it.message.payload);
        queued.unwrap().into_iter().map(number).collect::<Vec<_>>()
    };
    let is = |number: u64, text: &'static str| (number, Bytes::from(text));
    assert_eq!(numbers(harness, 0, 1), [is(1, "1")]);
    assert_eq!(
        numbers(harness, 0, 9),
        [is(1, "1"), is(2, "2")],
        "8 bytes are two"
    );
    assert_eq!(numbers(harness, 2, 9), [is(3, "3")]);
    assert_eq!(harness.store().waiting().unwrap(), 3);
    let dequeue = |number| SessionChange::Dequeue(key("a"), QueueNumber(number));
    write(harness, &[2, 1, 1].map(dequeue));
    let refused = write(harness, &["12345", "1234"].map(enqueue)).refused;
    assert_eq!(refused, [1], "it says which one");
    harness.reopen();
    assert_eq!(
        numbers(harness, 0, 9),
        [is(3, "3")],
        "the first and what fits"
    );
    assert_eq!(
        numbers(harness, 3, 9),
        [is(4, "12345")],
        "a number is never used again"
    );
    write(harness, &[4].map(dequeue));
    assert_eq!(numbers(harness, 0, 9), [is(3, "3")], "one by one");
    write(harness, &[3].map(dequeue));
    let nothing = write(harness, &["123456789"].map(enqueue)).refused;
    assert!(nothing.is_empty());
}

pub(crate) fn packet_ids_are_opened_and_closed(harness: &mut dyn SessionHarness) {
    begun(harness);
    let ids = [
        (Side::Client, 1),
        (Side::Client, 65_535),
        (Side::Broker, 1),
        (Side::Sent, 7),
    ];
    let ids = ids.map(|(side, id)| PacketId { side, id });
    let open = |id| SessionChange::Open(key("a"), id);
    write(harness, &[ids[3], ids[2], ids[1], ids[0], ids[0]].map(open));
    harness.reopen();
    assert_eq!(load(harness, "a").unwrap().packets, ids);
    write(harness, &[SessionChange::Close(key("a"), ids[1])]);
    let left = [ids[0], ids[2], ids[3]];
    assert_eq!(load(harness, "a").unwrap().packets, left);
}

pub(crate) fn retained_messages_are_replaced_cleared_and_listed(harness: &mut dyn SessionHarness) {
    let plain = Message {
        retain: false,
        expires_at: None,
        properties: Bytes::new(),
        ..message("b", "2")
    };
    let changes = [
        SessionChange::Retain(message("a", "0")),
        SessionChange::Retain(message("a", "1")),
        SessionChange::Retain(plain.clone()),
        SessionChange::Retain(message("c/d", "3")),
        SessionChange::Retain(message("x", "4")),
        SessionChange::Clear("x".to_owned()),
    ];
    write(harness, &changes);
    harness.reopen();
    let store = harness.store();
    assert_eq!(store.retained("a").unwrap(), Some(message("a", "1")));
    assert_eq!(store.retained("x").unwrap(), None);
    let listed = store.retained_after(None, 2).unwrap();
    assert_eq!(listed, [message("a", "1"), plain]);
    assert_eq!(
        store.retained_after(Some("b"), 9).unwrap(),
        [message("c/d", "3")]
    );
}
