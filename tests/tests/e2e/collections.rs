//! What an app does with the Rust client, against the real broker.

use std::path::Path;

use syncline_client::{
    After, Client, Content, Counter, DeviceId, List, Map, NotSaved, NotUndone, Options,
    PublishError, Schema, Set, Status, Store, UndoError, map,
};
use syncline_tests::broker::{Broker, Setup};
use tokio::time::timeout;

const ALBUMS: Set = Set::new("albums");
const RATINGS: Map<u32> = Map::new("ratings");
const NOTES: Map<String> = Map::new("notes");
const PLAYS: Counter = Counter::new("plays");
const PLAYLISTS: List<String> = List::new("playlists");

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(syncline_tests::wait::PATIENCE, what)
        .await
        .expect("in time")
}

fn options(broker: &Broker) -> Options {
    Options::new(&broker.mqtt().to_string(), "music").unwrap()
}

async fn client(broker: &Broker, name: &str) -> Client {
    let client = Client::open(options(broker).device_name(name))
        .await
        .unwrap();
    until(&client, |it| it.label() == syncline_client::Label::Saved).await;
    client
}

async fn until(client: &Client, is_so: impl FnMut(&Status) -> bool) {
    let mut status = client.status();
    within(status.wait_for(is_so)).await.unwrap();
}

/// Until another client sees what was done.
async fn agree<T: PartialEq, F: Future<Output = T>>(
    client: &Client,
    want: T,
    read: impl Fn() -> F,
) {
    let mut changes = client.changes();
    let seen = async {
        while read().await != want {
            changes.recv().await.unwrap();
        }
    };
    within(seen).await;
}

fn music() -> Schema {
    Schema::parse(include_str!("../../../config/schemas/music.toml")).unwrap()
}

#[tokio::test]
async fn collections_of_every_kind_agree_on_two_devices() {
    let broker = Broker::start();
    let (phone, laptop) = (
        client(&broker, "phone").await,
        client(&broker, "laptop").await,
    );
    ALBUMS.of(&phone).add("a1").await.unwrap();
    RATINGS.of(&phone).put("t1", 4).await.unwrap();
    PLAYS.of(&phone).add("t1", 3).await.unwrap();
    let sunday = PLAYLISTS.of(&phone, Some("sunday"));
    for (item, track) in [("i1", "t1"), ("i2", "t2"), ("i3", "t3")] {
        sunday
            .put(item, track.to_owned(), After::End)
            .await
            .unwrap();
    }
    let moved = sunday.move_to("i3", After::Beginning).await.unwrap();
    within(moved.unwrap().saved()).await.unwrap();
    assert!(sunday.move_to("i9", After::End).await.unwrap().is_none());

    let theirs = PLAYLISTS.of(&laptop, Some("sunday"));
    let items = [("i3", "t3"), ("i1", "t1"), ("i2", "t2")];
    let items = items
        .map(|(item, track)| (item.to_owned(), track.to_owned()))
        .to_vec();
    agree(&laptop, items, || async { theirs.items().await.unwrap() }).await;
    assert_eq!(ALBUMS.of(&laptop).keys().await.unwrap(), ["a1"]);
    assert_eq!(RATINGS.of(&laptop).get("t1").await.unwrap(), Some(4));
    assert_eq!(PLAYS.of(&laptop).get("t1").await.unwrap(), 3);
    let error = Counter::new("albums")
        .of(&phone)
        .add("a1", 1)
        .await
        .unwrap_err();
    assert!(matches!(error, PublishError::CannotSay(_)), "{error}");
}

#[tokio::test]
async fn told_1_g11_the_ladder_goes_from_here_to_the_broker_to_another_device() {
    let broker = Broker::start();
    let phone = client(&broker, "phone").await;
    let laptop = client(&broker, "laptop").await;
    let device = laptop.device().await.unwrap();
    laptop.set_online(false).await.unwrap();
    let receipt = ALBUMS.of(&phone).add("a1").await.unwrap();
    let saved = within(receipt.saved()).await.unwrap();
    assert_eq!(saved.seq.map(syncline_client::Seq::get), Some(1));
    // Not before the laptop has it: the broker tells of that at most once a second.
    let seen = receipt.clone();
    let mut waiting = tokio::spawn(async move { seen.seen_by(device).await });
    let mut devices = phone.devices();
    let gone = |all: &std::sync::Arc<[syncline_client::Device]>| {
        all.iter().any(|it| it.id == device && !it.online)
    };
    within(devices.wait_for(gone)).await.unwrap();
    assert!(!waiting.is_finished());
    laptop.set_online(true).await.unwrap();
    within(&mut waiting).await.unwrap().unwrap();
    assert!(ALBUMS.of(&laptop).contains("a1").await.unwrap());
    let own: Vec<_> = phone
        .devices()
        .borrow()
        .iter()
        .filter(|it| it.own)
        .cloned()
        .collect();
    assert_eq!(own[0].name.as_deref(), Some("phone"));
    phone.close().await;
    let error = within(receipt.seen_by(DeviceId::from_bytes([9; 16])))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

#[tokio::test]
async fn conflicts_are_told_with_both_sides_and_their_names_and_settled_by_one_call() {
    let broker = Broker::start();
    let (phone, laptop) = (
        client(&broker, "phone").await,
        client(&broker, "laptop").await,
    );
    for client in [&phone, &laptop] {
        client.set_online(false).await.unwrap();
    }
    NOTES.of(&phone).put("a1", "loud".to_owned()).await.unwrap();
    NOTES
        .of(&laptop)
        .put("a1", "quiet".to_owned())
        .await
        .unwrap();
    assert_eq!(phone.conflicts("notes").await.unwrap(), []);
    for client in [&phone, &laptop] {
        client.set_online(true).await.unwrap();
    }
    let two = || async { phone.conflicts("notes").await.unwrap().len() };
    agree(&phone, 1, two).await;
    let both_here = |all: &std::sync::Arc<[syncline_client::Device]>| {
        all.iter().filter(|it| it.online).count() == 2
    };
    within(phone.devices().wait_for(both_here)).await.unwrap();
    let conflict = phone.conflicts("notes").await.unwrap().remove(0);
    let mut sides: Vec<_> = conflict
        .values
        .iter()
        .map(|it| (it.device_name.clone().unwrap(), it.open.content.clone()))
        .collect();
    sides.sort_by(|a, b| a.0.cmp(&b.0));
    let said = |name: &str, text: &str| (name.to_owned(), Content::Live(text.into()));
    assert_eq!(sides, [said("laptop", "quiet"), said("phone", "loud")]);
    let choice = Content::Live("loud and quiet".into());
    phone.settle("notes", &conflict.key, choice).await.unwrap();
    let text = || async { NOTES.of(&laptop).get("a1").await.unwrap() };
    agree(&laptop, Some("loud and quiet".to_owned()), text).await;
    assert_eq!(laptop.conflicts("notes").await.unwrap(), []);
}

#[tokio::test]
async fn undo_reaches_the_other_devices_and_leaves_their_changes() {
    let broker = Broker::start();
    let (phone, laptop) = (
        client(&broker, "phone").await,
        client(&broker, "laptop").await,
    );
    RATINGS.of(&phone).put("t1", 2).await.unwrap();
    RATINGS.of(&phone).put("t1", 5).await.unwrap();
    within(phone.undo().await.unwrap().saved()).await.unwrap();
    let rating = || async { RATINGS.of(&laptop).get("t1").await.unwrap() };
    agree(&laptop, Some(2), rating).await;
    within(phone.redo().await.unwrap().saved()).await.unwrap();
    agree(&laptop, Some(5), rating).await;
    RATINGS.of(&laptop).put("t1", 1).await.unwrap();
    let here = || async { RATINGS.of(&phone).get("t1").await.unwrap() };
    agree(&phone, Some(1), here).await;
    let error = phone.undo().await.unwrap_err();
    assert!(
        matches!(error, UndoError::NotUndone(NotUndone::ChangedSince { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn told_3_what_is_set_aside_outlives_the_client_until_it_is_dismissed() {
    let broker = Setup::new()
        .variable("SYNCLINE__LIMITS__EVENT_BYTES_MAX", "2000")
        .start();
    let folder = tempfile::tempdir().unwrap();
    let open = || Client::open(options(&broker).store(Store::Folder(folder.path().into())));
    let phone = open().await.unwrap();
    let large = "x".repeat(3_000);
    let note = map([("album_id", "a1"), ("text", large.as_str())]);
    let receipt = phone.publish("write_note", note).await.unwrap();
    let NotSaved::Refused(refusal) = within(receipt.saved()).await.unwrap_err() else {
        panic!("not refused");
    };
    phone.close().await;

    let phone = open().await.unwrap();
    let kept = phone.all_set_aside().await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0].refusal, kept[0].intent.event_type.as_str()),
        (&refusal, "write_note")
    );
    assert!(phone.dismiss(kept[0].id).await.unwrap());
    assert!(!phone.dismiss(kept[0].id).await.unwrap());
    phone.close().await;

    let phone = open().await.unwrap();
    assert_eq!(phone.all_set_aside().await.unwrap().len(), 0);
}

#[tokio::test]
async fn told_4_a_store_is_its_users_and_is_gone_when_it_is_wiped() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("music.redb");
    let of = |user: &str| {
        let options = options(&broker).online(false).schema(music());
        Client::open(options.store(Store::File(file.clone())).user(user))
    };
    let ana = of("ana").await.unwrap();
    // From the first moment, without having seen any broker.
    ALBUMS.of(&ana).add("a1").await.unwrap();
    assert_eq!(ana.pending_events().await.unwrap().len(), 1);
    ana.close().await;
    let error = of("bob").await.unwrap_err();
    assert!(error.to_string().contains("ana"), "{error}");
    let ana = of("ana").await.unwrap();
    assert_eq!(ALBUMS.of(&ana).keys().await.unwrap(), ["a1"]);
    let also_ana = ana.clone();
    assert_eq!(ana.wipe().await.unwrap().pending, 1);
    assert!(!Path::new(&file).exists());
    assert!(ALBUMS.of(&also_ana).add("a2").await.is_err());
    let bob = of("bob").await.unwrap();
    assert_eq!(ALBUMS.of(&bob).keys().await.unwrap().len(), 0);
}

#[tokio::test]
async fn without_any_schema_a_change_of_a_collection_says_what_to_do() {
    let options = Options::new("127.0.0.1:1", "music").unwrap();
    let client = Client::open(options.online(false)).await.unwrap();
    let error = ALBUMS.of(&client).add("a1").await.unwrap_err();
    assert!(error.to_string().contains("Options::schema"), "{error}");
}
