//! Sessions that outlive their connections, over byte streams in memory.

use super::*;

use std::collections::HashMap;

use mqtt_protocol_core::mqtt::packet::{Property, SessionExpiryInterval};
use syncline_protocol::Subscription;

use crate::store::sessions::{SessionKey, SessionStore};

const EVENTS: &str = "sync/a/events";

/// A CONNECT of a session that is kept.
fn kept(version: Version, id: &str, clean: bool) -> Packet {
    if version == Version::V5_0 {
        let expiry = SessionExpiryInterval::new(600).unwrap();
        let builder = v5_0::Connect::builder().client_id(id).unwrap();
        return builder
            .clean_start(clean)
            .props(vec![Property::SessionExpiryInterval(expiry)])
            .build()
            .unwrap()
            .into();
    }
    let builder = v3_1_1::Connect::builder().client_id(id).unwrap();
    builder.clean_session(clean).build().unwrap().into()
}

impl Client {
    fn connack_said(packet: &Packet) -> bool {
        match packet {
            Packet::V3_1_1Connack(it) => it.session_present(),
            Packet::V5_0Connack(it) => it.session_present(),
            other => panic!("{other}"),
        }
    }
}

impl Broker {
    /// A client of a session that is kept, and whether it was there.
    async fn returning(&self, version: Version, id: &str) -> (Client, bool) {
        let connect = kept(version, id, false);
        let (client, connack) = self.client_and_connack(version, connect).await;
        (client, Client::connack_said(&connack))
    }
}

async fn save(broker: &Broker, albums: std::ops::Range<u32>) {
    let mut author = broker.client(Version::V5_0, PHONE).await;
    for album in albums {
        author.save(EVENTS, &star(None, &album.to_string())).await;
    }
}

/// The seqs of the next events, whatever else comes.
async fn seqs(client: &mut Client, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let got = client.got().await;
        if got.topic.ends_with("/events") {
            seqs.push(Event::decode(&got.payload).unwrap().seq.get());
        }
    }
    seqs
}

#[test]
fn session_2_g12_who_was_away_gets_what_it_lacks_without_a_subscribe() {
    run(async {
        let broker = Broker::start();
        for version in BOTH {
            for filter in [EVENTS, "sync/#", "sync/+/events"] {
                let id = format!("{filter}-{version:?}");
                let (mut client, present) = broker.returning(version, &id).await;
                assert!(!present);
                client.subscribe(filter).await;
                save(&broker, 0..2).await;
                let before = seqs(&mut client, 2).await;
                drop(client);
                save(&broker, 2..5).await;
                let (mut client, present) = broker.returning(version, &id).await;
                assert!(present);
                let first = before[1] + 1;
                let mut next = seqs(&mut client, 3).await;
                // Acknowledgements that were still on their way.
                while next[0] < first {
                    next.remove(0);
                    next.extend(seqs(&mut client, 1).await);
                }
                assert_eq!(next, [first, first + 1, first + 2], "{id}");
                client.send(kept_goodbye(version)).await;
                drop(client);
                let clean = kept(version, &id, true);
                let (client, connack) = broker.client_and_connack(version, clean).await;
                assert!(!Client::connack_said(&connack));
                drop(client);
                let mut last = broker.client(version, &id).await;
                assert!(last.hears_nothing().await, "a clean start left nothing");
            }
        }
    });
}

fn kept_goodbye(version: Version) -> Packet {
    match version {
        Version::V5_0 => v5_0::Disconnect::builder().build().unwrap().into(),
        _ => v3_1_1::Disconnect::builder().build().unwrap().into(),
    }
}

#[test]
fn a_takeover_moves_the_session() {
    run(async {
        let broker = Broker::start();
        let (mut older, _) = broker.returning(Version::V5_0, "same").await;
        older.subscribe(EVENTS).await;
        save(&broker, 0..3).await;
        assert_eq!(seqs(&mut older, 3).await, [1, 2, 3]);
        older.save(EVENTS, &star(None, "acknowledged")).await;
        let (mut newer, present) = broker.returning(Version::V3_1_1, "same").await;
        assert!(present);
        while older.heard().await.is_some() {}
        save(&broker, 3..5).await;
        let mut last = 0;
        while last < 6 {
            last = seqs(&mut newer, 1).await[0];
        }
        newer.save(EVENTS, &star(None, "more")).await;
        assert_eq!(seqs(&mut newer, 1).await, [7]);
    });
}

#[test]
fn session_3_what_a_suback_says_is_on_disk() {
    run(async {
        let sessions = Arc::new(MemorySessions::default());
        let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(64));
        let broker = Broker::on(edge_options(), store, Arc::clone(&sessions));
        let (mut client, _) = broker.returning(Version::V5_0, "kept").await;
        let key = SessionKey {
            principal: String::new(),
            client_id: "kept".to_owned(),
        };
        let follows = || sessions.load(&key).unwrap().unwrap().subscriptions.len();
        assert_eq!(follows(), 0, "the CONNACK says that it is there");
        client.subscribe(EVENTS).await;
        assert_eq!(follows(), 1);
        client.subscribe("sync/#").await;
        assert_eq!(follows(), 2);
    });
}

#[test]
fn session_4_presence_is_not_kept_but_sent_as_it_is() {
    run(async {
        let broker = Broker::start();
        let (mut watcher, _) = broker.returning(Version::V5_0, "watcher").await;
        watcher.subscribe("sync/a/presence/+").await;
        drop(watcher);
        let mut phone = broker.client(Version::V5_0, PHONE).await;
        phone.subscribe(EVENTS).await;
        let (mut watcher, present) = broker.returning(Version::V5_0, "watcher").await;
        assert!(present);
        let got = watcher.got().await;
        assert!(Presence::decode(&got.payload).unwrap().online && !got.retain);
    });
}

#[test]
fn g10_a_session_too_many_is_refused_and_a_clean_one_is_not() {
    run(async {
        let broker = Broker::start();
        let mut held = Vec::new();
        for n in 0..4 {
            held.push(broker.returning(Version::V5_0, &format!("kept-{n}")).await);
        }
        let connect = kept(Version::V5_0, "fifth", false);
        let (_, connack) = broker.client_and_connack(Version::V5_0, connect).await;
        let Packet::V5_0Connack(connack) = connack else {
            panic!("{connack}")
        };
        assert_eq!(connack.reason_code() as u8, 0x97);
        broker.client(Version::V5_0, "fifth").await;
        let (_, present) = broker.returning(Version::V5_0, "kept-2").await;
        assert!(present);
    });
}

#[test]
fn mqtt_3_8_4_3_the_same_subscribe_once_more_loses_nothing() {
    run(async {
        let broker = Broker::start();
        let mut client = broker.client(Version::V5_0, "again").await;
        client.subscribe(EVENTS).await;
        broker.probe.hold();
        save(&broker, 0..3).await;
        client.subscribe(EVENTS).await;
        broker.probe.release();
        assert_eq!(seqs(&mut client, 3).await, [1, 2, 3]);
    });
}

/// A small generator (xorshift64): a seed is a test case.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A client that comes and goes, and what it has.
struct Wanderer {
    client: Option<Client>,
    /// Per topic the last seq, without holes before it.
    seen: HashMap<String, u64>,
    heads: HashMap<String, u64>,
}

impl Wanderer {
    fn lacks(&self) -> u64 {
        let lack = |(topic, head): (&String, &u64)| head - self.seen.get(topic).unwrap_or(&0);
        self.heads.iter().map(lack).sum()
    }

    /// Reads so many new events; of the last ones some are not acknowledged.
    async fn read(&mut self, new: u64, unacknowledged: u64) {
        let Some(client) = self.client.as_mut() else {
            return;
        };
        let mut left = new;
        while left > 0 {
            let got = match left > unacknowledged {
                true => client.got().await,
                false => client.got_without_puback().await,
            };
            if !got.topic.ends_with("/events") {
                continue;
            }
            let seq = Event::decode(&got.payload).unwrap().seq.get();
            let seen = self.seen.entry(got.topic.clone()).or_default();
            assert!(seq <= *seen + 1, "{}: {seq} after {seen}", got.topic);
            left -= u64::from(seq > *seen);
            *seen = seq.max(*seen);
        }
    }
}

/// Somebody who comes and goes, and a broker that dies, in some order.
async fn wander(seed: u64, version: Version, filter: &str) {
    let mut dice = Dice(seed * 0x9e37_79b9 + 1);
    let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new(64));
    let mut sessions = Arc::new(MemorySessions::default());
    let mut broker = Broker::on(edge_options(), Arc::clone(&store), Arc::clone(&sessions));
    let (mut client, _) = broker.returning(version, "wanderer").await;
    client.subscribe(filter).await;
    let mut wanderer = Wanderer {
        client: Some(client),
        seen: HashMap::new(),
        heads: HashMap::new(),
    };
    let followed = filter.parse::<Subscription>().unwrap().filter;
    for _ in 0..24 {
        match dice.below(6) {
            0 | 1 => {
                let mut author = broker.client(Version::V5_0, PHONE).await;
                for _ in 0..=dice.below(5) {
                    let topic =
                        format!("sync/{}/events", ["a", "a/x", "b"][dice.below(3) as usize]);
                    author.save(&topic, &star(None, "x")).await;
                    if followed.matches_text(&topic) {
                        *wanderer.heads.entry(topic).or_default() += 1;
                    }
                }
            }
            2 | 3 => {
                let new = dice.below(wanderer.lacks() + 1);
                wanderer.read(new, dice.below(3)).await;
            }
            4 => wanderer.client = None,
            // What a disk would have at this moment, and a new broker on it.
            _ => {
                wanderer.client = None;
                sessions = Arc::new(sessions.copy());
                broker = Broker::on(edge_options(), Arc::clone(&store), Arc::clone(&sessions));
            }
        }
        if wanderer.client.is_none() && dice.below(2) == 0 {
            let (client, present) = broker.returning(version, "wanderer").await;
            assert!(present);
            wanderer.client = Some(client);
        }
    }
    let (client, _) = broker.returning(version, "wanderer").await;
    wanderer.client = Some(client);
    wanderer.read(wanderer.lacks(), 0).await;
}

#[test]
fn g3_g12_who_comes_and_goes_misses_nothing_whatever_dies_when() {
    run(async {
        for seed in 0..16 {
            let version = BOTH[(seed % 2) as usize];
            let filter = ["sync/#", "sync/+/events", "$since/0/sync/#"][(seed % 3) as usize];
            wander(seed + 1, version, filter).await;
        }
    });
}
