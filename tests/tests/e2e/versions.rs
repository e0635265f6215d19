//! The Rust client at a broker, or behind a proxy, that does not speak MQTT 5.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use syncline_client::{Client, NotSaved, Options, Phase, Schema, Status, Token, map};
use syncline_protocol::Event;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::token::Issuer;
use syncline_tests::wait::PATIENCE;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::scene::watcher;

/// How version 5 is turned away.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// CONNACK 0x84, as MQTT 5 says it.
    InItsWords,
    /// CONNACK with return code 1, as MQTT 3.1.1 says it.
    InOldWords,
    /// Closed.
    Silent,
    /// Closed, and 3.1.1 as well.
    OfBoth,
    /// It is let through.
    None,
}

/// Between client and broker.
struct Proxy {
    address: SocketAddr,
    /// The protocol level of each CONNECT.
    levels: watch::Receiver<Vec<u8>>,
    refusal: watch::Sender<Refusal>,
    /// Goes up to end all connections.
    cuts: watch::Sender<u32>,
}

impl Proxy {
    async fn start(broker: SocketAddr, refusal: Refusal) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, levels) = watch::channel(Vec::new());
        let (refusal, cuts) = (watch::Sender::new(refusal), watch::Sender::new(0));
        let (refusing, cutting) = (refusal.subscribe(), cuts.subscribe());
        let sender = Arc::new(sender);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let refusal = *refusing.borrow();
                let (levels, mut cut) = (sender.clone(), cutting.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(client, broker, refusal, &levels) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            address,
            levels,
            refusal,
            cuts,
        }
    }

    fn options(&self, sync_id: &str) -> Options {
        Options::new(&format!("mqtt://{}", self.address), sync_id).unwrap()
    }

    fn levels(&self) -> Vec<u8> {
        self.levels.borrow().clone()
    }

    fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }
}

/// One byte of remaining length or more, then the name and the level.
fn level(bytes: &[u8]) -> Option<u8> {
    let name = bytes.windows(6).position(|it| it == b"\0\x04MQTT")?;
    bytes.get(name + 6).copied()
}

async fn pass(
    mut client: TcpStream,
    broker: SocketAddr,
    refusal: Refusal,
    levels: &watch::Sender<Vec<u8>>,
) {
    let mut begin = Vec::new();
    let level = loop {
        if let Some(level) = level(&begin) {
            break level;
        }
        if client.read_buf(&mut begin).await.unwrap_or(0) == 0 {
            return;
        }
    };
    levels.send_modify(|it| it.push(level));
    let answer: &[u8] = match (level, refusal) {
        (5, Refusal::InItsWords) => b"\x20\x03\0\x84\0",
        (5, Refusal::InOldWords) => b"\x20\x02\0\x01",
        (5, Refusal::Silent) | (_, Refusal::OfBoth) => b"",
        _ => {
            let mut broker = TcpStream::connect(broker).await.unwrap();
            broker.write_all(&begin).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut broker).await;
            return;
        }
    };
    let _ = client.write_all(answer).await;
    let _ = client.shutdown().await;
}

async fn until(client: &Client, is_so: impl FnMut(&Status) -> bool) -> Status {
    let mut status = client.status();
    let told = timeout(PATIENCE, status.wait_for(is_so)).await;
    told.expect("in time").unwrap().clone()
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time")
}

fn album(id: &str) -> syncline_client::Value {
    map([("album_id", id)])
}

/// The albums that were starred, in the order of the stream, each by its own `device_seq`.
fn albums(broker: &Broker, stream: &str, count: usize) -> Vec<(u64, String)> {
    let mut watcher = watcher(broker, &format!("$since/0/{stream}/events"));
    let read = || {
        let event = Event::decode(&watcher.message().unwrap().payload).unwrap();
        let data: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
        let album = data["event_data"]["album_id"].as_str().unwrap().to_owned();
        (event.device_seq.unwrap().get(), album)
    };
    std::iter::repeat_with(read).take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_version_5_is_spoken_to_at_3_1_1() {
    let broker = Broker::start();
    for (refusal, levels) in [
        (Refusal::InItsWords, vec![5, 4]),
        (Refusal::InOldWords, vec![5, 4]),
        (Refusal::Silent, vec![5, 5, 4]),
    ] {
        let proxy = Proxy::start(broker.mqtt(), refusal).await;
        let group = format!("{refusal:?}");
        let client = Client::open(proxy.options(&group)).await.unwrap();
        let mut events = client.events();
        until(&client, |it| it.phase == Phase::Online).await;
        assert_eq!(proxy.levels(), levels, "{refusal:?}");
        let receipt = client.publish("star_album", album("blue")).await.unwrap();
        let saved = within(receipt.saved()).await.unwrap();
        assert_eq!(saved.seq, None, "ANSWER-1: 3.1.1 does not say where");
        let event = within(events.recv()).await.unwrap();
        assert!(event.own && event.event.seq.get() == 1);
        assert_eq!(event.event.device, client.device().await.unwrap());
        // Remembered, whatever the broker takes by now.
        proxy.refusal.send_replace(Refusal::None);
        let mut status = client.status();
        proxy.cut();
        within(status.wait_for(|it| it.phase != Phase::Online))
            .await
            .unwrap();
        until(&client, |it| it.phase == Phase::Online).await;
        assert_eq!(proxy.levels(), [levels, vec![4]].concat(), "{refusal:?}");
        client.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_closes_whatever_comes_was_not_too_old() {
    let broker = Broker::start();
    let proxy = Proxy::start(broker.mqtt(), Refusal::OfBoth).await;
    let client = Client::open(proxy.options("music")).await.unwrap();
    let mut levels = proxy.levels.clone();
    within(levels.wait_for(|it| it.len() >= 3)).await.unwrap();
    proxy.refusal.send_replace(Refusal::None);
    until(&client, |it| it.phase == Phase::Online).await;
    assert_eq!(proxy.levels()[..4], [5, 5, 4, 5]);
    assert_eq!(proxy.levels().last(), Some(&5));
    client.close().await;
}

/// Another schema than the broker's, by which it does not see what the broker refuses.
const LAX: &str = r#"
[collections.albums]
kind = "set"
conflict = "last_write_wins"
key = "other"
add = "star_album"
remove = "unstar_album"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn refuse_1_answer_3_at_3_1_1_a_refusal_is_told_and_what_follows_is_saved() {
    let broker = Broker::start();
    let proxy = Proxy::start(broker.mqtt(), Refusal::InItsWords).await;
    let options = proxy.options("music").online(false);
    let options = options.schema(Schema::parse(LAX).unwrap());
    let client = Client::open(options).await.unwrap();
    let mut set_aside = client.set_aside();
    let bad = map([("other", "b")]);
    let bad = client.publish("star_album", bad).await.unwrap();
    let good = map([("other", "c"), ("album_id", "c")]);
    let good = client.publish("star_album", good).await.unwrap();
    client.set_online(true).await.unwrap();
    let error = within(bad.saved()).await.unwrap_err();
    let is_named = matches!(&error, NotSaved::Refused(it) if it.name == "bad_data");
    assert!(is_named, "{error}");
    let aside = within(set_aside.recv()).await.unwrap();
    assert_eq!(aside.refusal.name, "bad_data");
    within(good.saved()).await.unwrap();
    assert_eq!(albums(&broker, "sync/music", 1)[0].1, "c");
    let mut state = watcher(&broker, "$json/sync/music/state");
    let head = &state.message().unwrap().json()["head"];
    assert_eq!(head, 1, "what was refused has no place");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g11_outbox_7_at_3_1_1_lost_connections_repeat_and_lose_nothing() {
    const COUNT: u64 = 300;
    let broker = Broker::start();
    let proxy = Proxy::start(broker.mqtt(), Refusal::InItsWords).await;
    let options = proxy.options("music").online(false);
    let client = Client::open(options).await.unwrap();
    for n in 1..=COUNT {
        client
            .publish("star_album", album(&format!("{n}")))
            .await
            .unwrap();
    }
    client.set_online(true).await.unwrap();
    let mut status = client.status();
    for left in [250, 150, 50] {
        within(status.wait_for(|it| it.pending <= left))
            .await
            .unwrap();
        proxy.cut();
    }
    until(&client, |it| it.pending == 0).await;
    let expected: Vec<_> = (1..=COUNT).map(|n| (n, n.to_string())).collect();
    assert_eq!(albums(&broker, "sync/music", expected.len()), expected);
    let state = watcher(&broker, "$json/sync/music/state")
        .message()
        .unwrap()
        .json();
    assert_eq!(state["head"], COUNT, "nothing came twice");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wall_6_told_5_a_token_that_is_refused_is_asked_for_once_more_at_once_at_both_versions() {
    let folder = TempDir::new().unwrap();
    let issuer = Issuer::with_secret("a secret of two and thirty bytes, or so");
    issuer.write(&folder.path().join("secret"));
    let secret = folder.path().join("secret").display().to_string();
    let setup = Setup::new().variable("SYNCLINE__AUTH__TOKENS__SECRET", secret);
    let broker = setup
        .variable("SYNCLINE__AUTH__ADDRESS_FAILURES_MAX", "1000")
        .start();
    let rights = json!({"sync": {"home": "rw"}});
    let right = issuer.token("ana", 600, &rights);
    let stale = issuer.token("ana", -60, &rights);
    for refusal in [Refusal::None, Refusal::InItsWords] {
        let proxy = Proxy::start(broker.mqtt(), refusal).await;
        let (asked, mut count) = watch::channel(0);
        let (right, stale) = (right.clone(), stale.clone());
        let is_over = watch::Sender::new(false);
        let over = is_over.subscribe();
        // Version 5 is refused before anybody looks at a token.
        let wrong_until = if matches!(refusal, Refusal::None) {
            1
        } else {
            2
        };
        let options = proxy.options("home").token(move || {
            asked.send_modify(|it| *it += 1);
            let is_stale = *over.borrow() || *asked.borrow() <= wrong_until;
            let token = if is_stale {
                stale.clone()
            } else {
                right.clone()
            };
            async { Ok::<_, std::io::Error>(Token::new(token)) }
        });
        let client = Client::open(options).await.unwrap();
        let mut needs_auth = client.needs_auth();
        until(&client, |it| it.phase == Phase::Online).await;
        assert_eq!(*count.borrow(), wrong_until + 1, "{refusal:?}");
        assert!(!needs_auth.has_changed().unwrap(), "{refusal:?}");
        // Then there are only stale ones.
        is_over.send_replace(true);
        proxy.cut();
        within(needs_auth.wait_for(|it| *it)).await.unwrap();
        let before = *count.borrow_and_update();
        assert!(
            before >= wrong_until + 3,
            "{refusal:?}: asked once more at once"
        );
        is_over.send_replace(false);
        until(&client, |it| it.phase == Phase::Online).await;
        assert!(!*needs_auth.borrow(), "{refusal:?}");
        client.close().await;
    }
}
