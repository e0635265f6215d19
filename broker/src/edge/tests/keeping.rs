//! Sessions that outlive their connections, over byte streams in memory.

use super::*;

use mqtt_protocol_core::mqtt::packet::{Property, SessionExpiryInterval};

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
fn g12_who_was_away_gets_what_it_lacks_without_a_subscribe() {
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
