//! The client over real sockets against a model of the broker.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

#[path = "../../core/tests/model/mod.rs"]
mod model;
mod server;

use std::time::Duration;

use server::Server;
use syncline_client::{
    Client, Content, DeviceId, NotSaved, NotSeen, Options, Phase, Store, Value, map,
};
use syncline_protocol::Seq;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("it takes too long")
}

fn options(server: &Server) -> Options {
    Options::new(&server.address(), "music").unwrap()
}

fn star(album: &str) -> Value {
    map([("album_id", album)])
}

async fn until_saved(client: &Client) {
    let mut status = client.status();
    let saved = status.wait_for(|it| it.phase == Phase::Online && it.pending == 0);
    within(saved).await.unwrap();
}

async fn until_online(client: &Client) {
    let mut status = client.status();
    within(status.wait_for(|it| it.phase == Phase::Online))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_one_stars_the_other_sees() {
    let server = Server::start().await;
    let phone = Client::open(options(&server).device_name("phone"))
        .await
        .unwrap();
    let window = Client::open(options(&server)).await.unwrap();
    until_online(&phone).await;
    until_online(&window).await;
    let (mut changes, mut events) = (window.changes(), window.events());
    let receipt = phone.publish("star_album", star("a1")).await.unwrap();
    assert!(phone.contains("albums", "a1").await.unwrap());
    assert_eq!(within(receipt.saved()).await.unwrap().seq.unwrap().get(), 1);
    let change = within(changes.recv()).await.unwrap();
    assert_eq!(
        (change.collection.as_str(), change.keys),
        ("albums", vec!["a1".to_owned()])
    );
    assert!(!within(events.recv()).await.unwrap().own);
    assert!(window.contains("albums", "a1").await.unwrap());
    phone.close().await;
    window.close().await;
}

#[tokio::test]
async fn refuse_2_a_refusal_reaches_the_receipt_and_the_app() {
    let server = Server::start().await;
    let client = Client::open(options(&server)).await.unwrap();
    let mut set_aside = client.set_aside();
    let receipt = client.publish("forbidden", star("a1")).await.unwrap();
    let NotSaved::Refused(refusal) = within(receipt.saved()).await.unwrap_err() else {
        panic!("not refused");
    };
    assert_eq!(
        (refusal.name.as_str(), refusal.reason.as_str()),
        ("not_allowed", "said the model")
    );
    assert_eq!(within(set_aside.recv()).await.unwrap().refusal, refusal);
    client.close().await;
}

#[tokio::test]
async fn g11_what_was_queued_offline_arrives_once_and_in_order_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::File(folder.path().join("outbox.redb"));
    let server = Server::start().await;
    let offline = options(&server).store(store.clone()).online(false);
    let client = Client::open(offline).await.unwrap();
    for n in 0..500 {
        client
            .publish("star_album", star(&format!("a{n:03}")))
            .await
            .unwrap();
    }
    client.close().await;
    let client = Client::open(options(&server).store(store)).await.unwrap();
    until_saved(&client).await;
    let expected: Vec<String> = (0..500).map(|n| format!("a{n:03}")).collect();
    assert_eq!(server.albums(), expected);
    assert_eq!(client.entries("albums").await.unwrap().len(), 500);
    client.close().await;
}

#[tokio::test]
async fn outbox_7_a_lost_connection_repeats_and_loses_nothing() {
    let server = Server::start().await;
    let client = Client::open(options(&server)).await.unwrap();
    let mut receipts = Vec::new();
    for round in 0..5 {
        for n in 0..40 {
            let album = star(&format!("{round}-{n:02}"));
            receipts.push(client.publish("star_album", album).await.unwrap());
        }
        server.cut();
    }
    until_saved(&client).await;
    for (seq, receipt) in (1..).zip(receipts) {
        assert_eq!(
            within(receipt.saved()).await.unwrap().seq.unwrap().get(),
            seq
        );
    }
    let said = |round| (0..40).map(move |n| format!("{round}-{n:02}"));
    assert_eq!(server.albums(), (0..5).flat_map(said).collect::<Vec<_>>());
    client.close().await;
}

#[tokio::test]
async fn open_3_the_view_is_there_before_any_connection() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::File(folder.path().join("outbox.redb"));
    let server = Server::start().await;
    let client = Client::open(options(&server).store(store.clone()))
        .await
        .unwrap();
    let mut events = client.events();
    client.publish("star_album", star("a1")).await.unwrap();
    until_saved(&client).await;
    assert!(within(events.recv()).await.unwrap().own);
    client.set_online(false).await.unwrap();
    client.publish("star_album", star("a2")).await.unwrap();
    let again = || Client::open(options(&server).store(store.clone()).online(false));
    assert!(again().await.unwrap_err().to_string().contains("in use"));
    let device = client.device().await.unwrap();
    client.close().await;
    let client = again().await.unwrap();
    assert_eq!(client.device().await.unwrap(), device);
    let entries = client.entries("albums").await.unwrap();
    assert_eq!(entries.into_keys().collect::<Vec<_>>(), ["a1", "a2"]);
    assert_eq!(client.status().borrow().pending, 1);
    client.close().await;
}

#[tokio::test]
async fn fork_3_a_copied_store_becomes_a_device_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let server = Server::start().await;
    let open = |name: &str| Client::open(options(&server).store(Store::File(path(name))));
    let client = open("one").await.unwrap();
    client.publish("star_album", star("a1")).await.unwrap();
    until_saved(&client).await;
    client.close().await;
    std::fs::copy(path("one"), path("two")).unwrap();
    let one = open("one").await.unwrap();
    one.publish("star_album", star("a2")).await.unwrap();
    until_saved(&one).await;
    let device = one.device().await.unwrap();
    one.close().await;
    let two = open("two").await.unwrap();
    let receipt = two.publish("star_album", star("a3")).await.unwrap();
    within(receipt.saved()).await.unwrap();
    assert_ne!(two.device().await.unwrap(), device);
    assert_eq!(server.albums(), ["a1", "a2", "a3"]);
    two.close().await;
}

#[tokio::test]
async fn replica_7_a_disk_that_was_rolled_back_is_followed() {
    let server = Server::start().await;
    let client = Client::open(options(&server)).await.unwrap();
    for album in ["a1", "a2", "a3"] {
        client.publish("star_album", star(album)).await.unwrap();
    }
    until_saved(&client).await;
    let mut changes = client.changes();
    server.roll_back(1);
    let change = within(changes.recv()).await.unwrap();
    assert_eq!(change.keys, ["a2", "a3"]);
    client.publish("unstar_album", star("a1")).await.unwrap();
    until_saved(&client).await;
    assert_eq!(client.entries("albums").await.unwrap().len(), 0);
    assert_eq!(server.live_albums(), 0);
    client.close().await;
}

#[tokio::test]
async fn told_1_what_was_saved_in_another_history_is_seen_by_nobody() {
    let server = Server::start().await;
    let client = Client::open(options(&server)).await.unwrap();
    client.publish("star_album", star("a1")).await.unwrap();
    let receipt = client.publish("star_album", star("a2")).await.unwrap();
    within(receipt.saved()).await.unwrap();
    let other = DeviceId::from_bytes([9; 16]);
    let waiting = tokio::spawn({
        let receipt = receipt.clone();
        async move { receipt.seen_by(other).await }
    });
    until_saved(&client).await;
    server.roll_back(1);
    let told = within(waiting).await.unwrap();
    assert!(matches!(told, Err(NotSeen::OtherHistory)), "{told:?}");
    client.close().await;
}

#[tokio::test]
async fn told_3_whoever_dismisses_last_can_close() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::File(folder.path().join("outbox.redb"));
    let server = Server::start().await;
    let client = Client::open(options(&server).store(store.clone())).await;
    let client = client.unwrap();
    let receipt = client.publish("forbidden", star("a1")).await.unwrap();
    within(receipt.saved()).await.unwrap_err();
    client.close().await;

    let client = Client::open(options(&server).store(store.clone()).online(false)).await;
    let client = client.unwrap();
    client.publish("star_album", star("a1")).await.unwrap();
    let kept = client.all_set_aside().await.unwrap();
    assert!(client.dismiss(kept[0].id).await.unwrap());
    within(client.close()).await;

    let client = Client::open(options(&server).store(store).online(false)).await;
    let client = client.unwrap();
    assert_eq!(client.all_set_aside().await.unwrap().len(), 0);
    assert_eq!(client.pending_events().await.unwrap().len(), 1);
    client.close().await;
}

#[tokio::test]
async fn store_1_closing_first_makes_durable_what_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::File(folder.path().join("outbox.redb"));
    let server = Server::start().await;
    let client = Client::open(options(&server).store(store).online(false))
        .await
        .unwrap();
    let published = client.publish("star_album", star("a1"));
    let (published, ()) = tokio::join!(published, client.clone().close());
    assert!(published.is_ok());
    let closed = client.publish("star_album", star("a2")).await.unwrap_err();
    assert_eq!(closed.to_string(), "the client is closed");
}

#[tokio::test]
async fn retry_1_without_a_broker_it_waits_and_says_why() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::open(Options::new(&nobody.to_string(), "music").unwrap())
        .await
        .unwrap();
    let mut status = client.status();
    let waiting = within(status.wait_for(|it| it.next_retry_at.is_some()))
        .await
        .unwrap()
        .clone();
    assert_eq!(waiting.phase, Phase::Offline);
    assert!(waiting.reason.is_some());
    client.close().await;
}

fn item(key: &str, after: Value) -> Value {
    map([
        ("item_id", Value::text(key)),
        ("playlist_id", Value::text("sunday")),
        ("track_id", Value::text("t1")),
        ("after", after),
    ])
}

/// A client that knows the schema.
async fn offline(server: &Server) -> Client {
    let client = Client::open(options(server)).await.unwrap();
    until_online(&client).await;
    client.set_online(false).await.unwrap();
    client
}

async fn order(client: &Client) -> Vec<String> {
    let items = client.list("playlists", Some("sunday")).await.unwrap();
    items.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test]
async fn overlay_4_a_list_is_in_order_before_and_after_it_is_saved() {
    let server = Server::start().await;
    let phone = offline(&server).await;
    let window = Client::open(options(&server)).await.unwrap();
    until_online(&window).await;
    let mut changes = window.changes();
    for (key, after) in [("a", Value::Nil), ("b", "a".into()), ("c", "a".into())] {
        let put = phone.publish("put_in_playlist", item(key, after)).await;
        put.unwrap();
    }
    phone
        .publish("play_track", map([("track_id", "t1")]))
        .await
        .unwrap();
    assert_eq!(order(&phone).await, ["a", "c", "b"]);
    phone.set_online(true).await.unwrap();
    until_saved(&phone).await;
    while order(&window).await != ["a", "c", "b"]
        || window.value("plays", "t1").await.unwrap().is_none()
    {
        within(changes.recv()).await.unwrap();
    }
    let mut changes = window.changes();
    phone
        .publish("put_in_playlist", item("a", "b".into()))
        .await
        .unwrap();
    while order(&window).await != ["c", "b", "a"] {
        let change = within(changes.recv()).await.unwrap();
        assert_eq!(
            (change.collection.as_str(), change.keys),
            ("playlists", vec!["a".to_owned()])
        );
    }
    phone.close().await;
    window.close().await;
}

#[tokio::test]
async fn overlay_5_a_conflict_shows_and_is_settled_by_writing_again() {
    let server = Server::start().await;
    let note = |text: &str| map([("album_id", "a1"), ("text", text)]);
    let mut clients = Vec::new();
    for text in ["one", "two"] {
        let client = Client::open(options(&server)).await.unwrap();
        until_saved(&client).await;
        client.set_online(false).await.unwrap();
        client.publish("write_note", note(text)).await.unwrap();
        clients.push(client);
    }
    for client in &clients {
        client.set_online(true).await.unwrap();
        until_saved(client).await;
    }
    let mut changes = clients[0].changes();
    let mut open = clients[0].open_values("notes", "a1").await.unwrap();
    while open.len() < 2 {
        within(changes.recv()).await.unwrap();
        open = clients[0].open_values("notes", "a1").await.unwrap();
    }
    let device = clients[1].device().await.unwrap();
    assert_eq!(open[0].content, Content::Live("two".into()));
    assert_eq!(open[0].device, device);
    let receipt = clients[0]
        .publish("write_note", note("both"))
        .await
        .unwrap();
    assert!(
        clients[0]
            .open_values("notes", "a1")
            .await
            .unwrap()
            .is_empty()
    );
    within(receipt.saved()).await.unwrap();
    let mut changes = clients[1].changes();
    while clients[1].value("notes", "a1").await.unwrap() != Some("both".into()) {
        within(changes.recv()).await.unwrap();
    }
    assert!(
        clients[1]
            .open_values("notes", "a1")
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn outbox_10_what_is_superseded_has_the_receipt_of_what_superseded_it() {
    let server = Server::start().await;
    let client = offline(&server).await;
    let mut receipts = Vec::new();
    for event_type in ["star_album", "unstar_album", "star_album"] {
        receipts.push(client.publish(event_type, star("a1")).await.unwrap());
    }
    // Not durable yet when it is superseded.
    let (first, second) = tokio::join!(
        client.publish("star_album", star("a2")),
        client.publish("unstar_album", star("a2"))
    );
    receipts.extend([first.unwrap(), second.unwrap()]);
    assert_eq!(client.status().borrow().pending, 2);
    client.set_online(true).await.unwrap();
    let mut seqs = Vec::new();
    for receipt in receipts {
        seqs.push(within(receipt.saved()).await.unwrap().seq.unwrap().get());
    }
    assert_eq!((seqs, server.events(None)), (vec![1, 1, 1, 2, 2], 2));
    client.close().await;
}

#[tokio::test]
async fn replica_8_a_state_in_parts_and_a_bridge_in_parts_are_taken() {
    let server = Server::start().await;
    let writer = Client::open(options(&server)).await.unwrap();
    for n in 0..200 {
        let album = star(&format!("a{n:03}"));
        writer.publish("star_album", album).await.unwrap();
    }
    until_saved(&writer).await;
    let late = Client::open(options(&server)).await.unwrap();
    until_online(&late).await;
    assert_eq!(late.entries("albums").await.unwrap().len(), 200);
    let mut changes = late.changes();
    server.ask(|broker| {
        let head = broker.head();
        broker.raise_horizon(head);
        broker.begin_epoch();
    });
    server.wake();
    writer.publish("star_album", star("b")).await.unwrap();
    until_saved(&writer).await;
    while late.entries("albums").await.unwrap().len() < 201 {
        within(changes.recv()).await.unwrap();
    }
    writer.close().await;
    late.close().await;
}

#[tokio::test]
async fn refuse_5_long_offline_work_arrives_where_nothing_changed_and_is_set_aside_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let stored = options(&server).store(Store::Folder(folder.path().join("music")));
    let phone = Client::open(stored.clone()).await.unwrap();
    for album in ["a1", "a2"] {
        phone.publish("star_album", star(album)).await.unwrap();
    }
    until_saved(&phone).await;
    phone.set_online(false).await.unwrap();
    for album in ["a1", "a2"] {
        phone.publish("unstar_album", star(album)).await.unwrap();
    }
    phone.publish("star_album", star("a3")).await.unwrap();
    phone.close().await;
    let window = Client::open(options(&server)).await.unwrap();
    window.publish("star_album", star("a2")).await.unwrap();
    until_saved(&window).await;
    server.ask(|broker| broker.raise_horizon(Seq::new(3).unwrap()));
    let phone = Client::open(stored).await.unwrap();
    let mut set_aside = phone.set_aside();
    until_saved(&phone).await;
    let aside = within(set_aside.recv()).await.unwrap();
    assert_eq!(aside.refusal.name, "overtaken");
    assert_eq!(aside.intent.event_data, star("a2"));
    let live: Vec<String> = phone.entries("albums").await.unwrap().into_keys().collect();
    assert_eq!(live, ["a2", "a3"]);
    assert_eq!(server.albums(), ["a1", "a2", "a2", "a1", "a3"]);
    phone.close().await;
    window.close().await;
}

#[tokio::test]
async fn channels_of_a_group_share_a_folder_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    let stored = options(&server).store(Store::Folder(folder.path().to_owned()));
    let library = Client::open(stored.clone()).await.unwrap();
    let room = library.channel("listening-room").await.unwrap();
    let twice = library.channel("listening-room").await.unwrap_err();
    assert!(twice.to_string().contains("in use"), "{twice}");
    assert!(library.channel("events").await.is_err());
    let devices = (
        library.device().await.unwrap(),
        room.device().await.unwrap(),
    );
    assert_ne!(devices.0, devices.1);
    for n in 0..3 {
        let album = star(&format!("a{n}"));
        library.publish("star_album", album.clone()).await.unwrap();
        room.publish("unstar_album", album).await.unwrap();
    }
    until_saved(&library).await;
    until_saved(&room).await;
    assert_eq!(
        (server.events(None), server.events(Some("listening-room"))),
        (3, 3)
    );
    assert_eq!(library.entries("albums").await.unwrap().len(), 3);
    assert_eq!(room.entries("albums").await.unwrap().len(), 0);
    library.close().await;
    room.close().await;
    let room = Client::open(stored.channel("listening-room").unwrap())
        .await
        .unwrap();
    assert_eq!(room.device().await.unwrap(), devices.1);
    room.close().await;
}
