//! Who reaches what (G9), over byte streams in memory: rules that change while clients are connected.

use super::*;

use std::collections::BTreeSet;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicUsize, Ordering};

use mqtt_protocol_core::mqtt::packet::{Property, SessionExpiryInterval};

use crate::auth::{Admission, Authenticator, Credentials, Denied, Proof};

const RULES: &str = r#"
    [users.ana]
    groups = { home = "rw", office = "r" }
    [users.bob]
    groups = { office = "rw" }
    [users.gate]
    groups = { "*" = "rw" }
    gateway = true
    [users.none]
"#;

/// Knows everybody by name, with rules that change.
struct Doorman {
    policy: Mutex<Policy>,
    gone: Mutex<BTreeSet<String>>,
    /// How often somebody was looked at again.
    reviewed: AtomicUsize,
}

impl Doorman {
    fn policy(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap()
    }

    fn admit(&self, user: &str) -> Result<Admission, Denied> {
        if self.gone.lock().unwrap().contains(user) {
            return Err(Denied::BadCredentials);
        }
        Ok(Admission {
            user: user.to_owned(),
            rights: self.policy().rights(user),
            expires_at: None,
            proof: Proof::Anonymous,
        })
    }
}

impl Authenticator for Doorman {
    fn at_once(&self, _: &Credentials) -> Option<Result<Admission, Denied>> {
        None
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Admission, Denied> {
        self.admit(credentials.user.as_deref().unwrap_or_default())
    }

    fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
        self.reviewed.fetch_add(1, Ordering::SeqCst);
        self.admit(&admission.user)
    }
}

/// A broker with rules.
struct Walled {
    broker: Broker,
    doorman: Arc<Doorman>,
    sessions: Arc<MemorySessions>,
}

impl Walled {
    fn start() -> Self {
        let doorman = Arc::new(Doorman {
            policy: Mutex::new(Policy::parse(RULES).unwrap()),
            gone: Mutex::default(),
            reviewed: AtomicUsize::new(0),
        });
        let guard = Guard::at_once(Arc::clone(&doorman) as Arc<dyn Authenticator>);
        let store = Arc::new(MemoryStore::new(64));
        let sessions: Arc<MemorySessions> = Arc::default();
        let kept = Arc::clone(&sessions);
        let broker = Broker::behind(edge_options(), store, kept, |it| it.guarded_by(guard));
        Self {
            broker,
            doorman,
            sessions,
        }
    }

    async fn client(&self, version: Version, user: &str, id: &str) -> Client {
        let connect = entering(version, user, id, 0);
        self.broker.client_saying(version, connect).await
    }

    fn change(&self, rules: &str) {
        *self.doorman.policy() = Policy::parse(rules).unwrap();
        self.broker.edge.review();
    }

    async fn save(&self, group: &str, album: &str) {
        let mut gate = self.client(Version::V5_0, "gate", "gate").await;
        let topic = format!("sync/{group}/events");
        gate.save(&topic, &star(None, album)).await;
    }
}

fn entering(version: Version, user: &str, id: &str, expiry_s: u32) -> Packet {
    if version == Version::V5_0 {
        let expiry = SessionExpiryInterval::new(expiry_s).unwrap();
        let builder = v5_0::Connect::builder().client_id(id).unwrap();
        let builder = builder.user_name(user).unwrap().clean_start(expiry_s == 0);
        let props = vec![Property::SessionExpiryInterval(expiry)];
        return builder.props(props).build().unwrap().into();
    }
    let builder = v3_1_1::Connect::builder().client_id(id).unwrap();
    let builder = builder
        .user_name(user)
        .unwrap()
        .clean_session(expiry_s == 0);
    builder.build().unwrap().into()
}

impl Client {
    /// The code of the SUBACK.
    async fn asks_for(&mut self, filter: &str) -> u8 {
        let opts = SubOpts::new().set_qos(Qos::AtLeastOnce);
        let entries = vec![SubEntry::new(filter, opts).unwrap()];
        let id = self.mqtt.acquire_packet_id().unwrap();
        let packet: Packet = if self.version == Version::V5_0 {
            let builder = v5_0::Subscribe::builder().packet_id(id).entries(entries);
            builder.build().unwrap().into()
        } else {
            let builder = v3_1_1::Subscribe::builder().packet_id(id).entries(entries);
            builder.build().unwrap().into()
        };
        self.send(packet).await;
        loop {
            match self.next().await {
                Packet::V3_1_1Suback(it) => return it.return_codes()[0] as u8,
                Packet::V5_0Suback(it) => return it.reason_codes()[0] as u8,
                Packet::V3_1_1Publish(_) | Packet::V5_0Publish(_) => {}
                other => panic!("{other}"),
            }
        }
    }

    /// The code of the PUBACK; of 3.1.1 always 0.
    async fn tries(&mut self, topic: &str, payload: &[u8]) -> u8 {
        self.publish(topic, payload).await;
        match self.next().await {
            Packet::V3_1_1Puback(_) => 0,
            Packet::V5_0Puback(it) => it.reason_code().map_or(0, |code| code as u8),
            other => panic!("{other}"),
        }
    }

    /// Topic and seq of the next event; states and presence are passed over.
    async fn next_event(&mut self) -> (String, u64) {
        loop {
            let got = self.got().await;
            if got.topic.ends_with("/events") {
                let event = Event::decode(&got.payload).unwrap();
                return (got.topic, event.seq.get());
            }
        }
    }
}

fn at(group: &str, seq: u64) -> (String, u64) {
    (format!("sync/{group}/events"), seq)
}

#[test]
fn wall_2_g9_who_may_do_what_at_both_versions() {
    // Principal, group, may read, may write.
    let table = [
        ("ana", "home", true, true),
        ("ana", "office", true, false),
        ("ana", "other", false, false),
        ("bob", "home", false, false),
        ("bob", "office", true, true),
        ("gate", "other", true, true),
        ("none", "home", false, false),
    ];
    run(async {
        let walled = Walled::start();
        for version in BOTH {
            let refused = if version == Version::V5_0 { 0x87 } else { 0x80 };
            for (user, group, reads, writes) in table {
                let mut client = walled
                    .client(version, user, &format!("{user}-{group}"))
                    .await;
                let (yes, no) = (1, refused);
                for filter in [
                    "events",
                    "room/events",
                    "state",
                    "presence/6a3b0c52-8d64-4d5e-9f39-2f1f2a3b4c5d",
                    "nothing",
                ] {
                    let filter = format!("sync/{group}/{filter}");
                    let got = client.asks_for(&filter).await;
                    assert_eq!(got, if reads { yes } else { no }, "{user} {filter}");
                }
                for view in ["$since/0-0/", "$since/0/", "$json/"] {
                    let filter = format!("{view}sync/{group}/views/events");
                    let got = client.asks_for(&filter).await;
                    assert_eq!(got, if reads { yes } else { no }, "{user} {filter}");
                }
                let past = client
                    .asks_for(&format!("$at/0/sync/{group}/past/state"))
                    .await;
                assert_eq!(past, if reads { yes } else { no }, "{user} {group}");
                assert_eq!(client.asks_for(&format!("sync/{group}/#")).await, yes);
                assert_eq!(client.asks_for("$SYS/broker/schema").await, yes);
                if version == Version::V5_0 {
                    let mut writer = walled.client(version, user, "writer").await;
                    let topic = format!("sync/{group}/written/events");
                    let got = writer.tries(&topic, &star(None, "x")).await;
                    assert_eq!(got, if writes { 0 } else { 0x87 }, "{user} {group}");
                }
            }
        }
    });
}

#[test]
fn wall_2_g9_a_wildcard_brings_what_is_granted_live_replayed_and_retained() {
    run(async {
        let walled = Walled::start();
        for (group, album) in [
            ("home", "1"),
            ("office", "2"),
            ("secret", "3"),
            ("home", "4"),
        ] {
            walled.save(group, album).await;
        }
        while walled.broker.edge.shared.hub.brought() < 4 {
            tokio::task::yield_now().await;
        }
        for version in BOTH {
            let mut live = walled.client(version, "bob", "live").await;
            assert_eq!(live.asks_for("sync/#").await, 1);
            let state = live.got().await;
            assert_eq!((&*state.topic, state.retain), ("sync/office/state", true));
            let mut replayed = walled.client(version, "ana", "replayed").await;
            replayed.subscribe("$since/0/sync/+/events").await;
            let mut got = Vec::new();
            for _ in 0..3 {
                got.push(replayed.next_event().await);
            }
            assert_eq!(got[..], [at("home", 1), at("home", 2), at("office", 1)]);
            assert!(replayed.hears_nothing().await && live.hears_nothing().await);
        }
    });
}

#[test]
fn wall_3_g9_a_revoked_stream_is_not_delivered_and_holds_up_nothing() {
    run(async {
        for version in BOTH {
            let walled = Walled::start();
            let mut wild = walled.client(version, "ana", "wild").await;
            wild.subscribe("sync/+/events").await;
            let mut exact = walled.client(version, "ana", "exact").await;
            exact.subscribe("sync/office/events").await;
            exact.subscribe("sync/home/events").await;
            walled.save("office", "1").await;
            assert_eq!(wild.next_event().await, at("office", 1));
            assert_eq!(exact.next_event().await, at("office", 1));
            walled.change("[users.ana]\ngroups = { home = \"rw\" }\n[users.gate]\ngroups = { \"*\" = \"rw\" }");
            for (group, album) in [("office", "2"), ("office", "3"), ("home", "4")] {
                walled.save(group, album).await;
            }
            assert_eq!(wild.next_event().await, at("home", 1));
            assert_eq!(exact.next_event().await, at("home", 1));
            assert!(wild.hears_nothing().await && exact.hears_nothing().await);
            walled.change(RULES);
            assert_eq!(exact.next_event().await, at("office", 2), "without a hole");
            assert_eq!(exact.next_event().await, at("office", 3));
            walled.save("office", "5").await;
            assert_eq!(exact.next_event().await, at("office", 4));
            assert_eq!(wild.next_event().await, at("office", 4), "as of now");
        }
    });
}

#[test]
fn wall_3_g9_what_waits_for_a_slow_client_is_asked_about_again() {
    run(async {
        for version in BOTH {
            let walled = Walled::start();
            let mut author = walled.client(Version::V5_0, "gate", "author").await;
            for album in 0..150 {
                let event = star(None, &album.to_string());
                author.save("sync/office/events", &event).await;
            }
            author
                .send(v5_0::Disconnect::builder().build().unwrap().into())
                .await;
            assert!(author.heard().await.is_none());
            let mut slow = walled.client(version, "ana", "slow").await;
            slow.subscribe("$since/0/sync/+/events").await;
            // As many as may be under way.
            let window = edge_options().inflight_max;
            for _ in 0..window {
                slow.got_without_puback().await;
            }
            let before = walled.doorman.reviewed.load(Ordering::SeqCst);
            walled.change("[users.ana]\ngroups = { home = \"rw\" }\n[users.gate]\ngroups = { \"*\" = \"rw\" }");
            while walled.doorman.reviewed.load(Ordering::SeqCst) == before {
                tokio::task::yield_now().await;
            }
            walled.save("home", "x").await;
            // Room again.
            for id in 1..=window {
                let [high, low] = id.to_be_bytes();
                slow.io.write_all(&[0x40, 2, high, low]).await.unwrap();
            }
            let (group, seq) = slow.next_event().await;
            assert_eq!(group, "sync/home/events", "{version:?} {seq}");
        }
    });
}

#[test]
fn wall_3_g9_who_named_a_stream_goes_on_in_it_without_a_hole() {
    run(async {
        for version in BOTH {
            let walled = Walled::start();
            let mut author = walled.client(Version::V5_0, "bob", "author").await;
            for album in 0..100 {
                let event = star(None, &album.to_string());
                author.save("sync/office/events", &event).await;
            }
            let mut exact = walled.client(version, "ana", "exact").await;
            exact.subscribe("$since/0/sync/office/events").await;
            let window = edge_options().inflight_max;
            for _ in 0..window {
                exact.got_without_puback().await;
            }
            let before = walled.doorman.reviewed.load(Ordering::SeqCst);
            walled.change(&RULES.replace("office = \"r\"", "cellar = \"r\""));
            // Both are looked at.
            while walled.doorman.reviewed.load(Ordering::SeqCst) < before + 2 {
                tokio::task::yield_now().await;
            }
            for id in 1..=window {
                let [high, low] = id.to_be_bytes();
                exact.io.write_all(&[0x40, 2, high, low]).await.unwrap();
            }
            assert!(exact.hears_nothing().await);
            walled.change(RULES);
            for seq in u64::from(window) + 1..=100 {
                assert_eq!(exact.next_event().await, at("office", seq));
            }
        }
    });
}

#[test]
fn wall_3_g9_a_kept_session_goes_on_with_the_rules_of_today() {
    run(async {
        for version in BOTH {
            let walled = Walled::start();
            for filter in ["sync/#", "sync/office/events"] {
                let connect = entering(version, "ana", "kept", 600);
                let mut client = walled.broker.client_saying(version, connect).await;
                client.subscribe(filter).await;
            }
            walled.change("[users.ana]\ngroups = { home = \"rw\" }\n[users.gate]\ngroups = { \"*\" = \"rw\" }");
            walled.save("office", "1").await;
            walled.save("home", "2").await;
            let connect = entering(version, "ana", "kept", 600);
            let mut client = walled.broker.client_saying(version, connect).await;
            assert_eq!(client.next_event().await, at("home", 1));
            drop(walled.sessions);
        }
    });
}

#[test]
fn wall_5_g9_a_session_belongs_to_a_principal_and_a_client_id() {
    run(async {
        let walled = Walled::start();
        for version in BOTH {
            let id = format!("shared-{}", version as u8);
            let connect = entering(version, "ana", &id, 600);
            let (mut ana, _) = walled.broker.client_and_connack(version, connect).await;
            ana.subscribe("sync/home/events").await;
            let connect = entering(version, "bob", &id, 600);
            let (_bob, connack) = walled.broker.client_and_connack(version, connect).await;
            let present = match connack {
                Packet::V3_1_1Connack(it) => it.session_present(),
                Packet::V5_0Connack(it) => it.session_present(),
                other => panic!("{other}"),
            };
            assert!(!present);
            assert!(ana.hears_nothing().await, "it is not taken over");
        }
    });
}

#[test]
fn wall_4_g9_whoever_is_gone_ends_and_does_not_come_in_again() {
    run(async {
        let walled = Walled::start();
        let mut old = walled.client(Version::V3_1_1, "bob", "old").await;
        let mut new = walled.client(Version::V5_0, "bob", "new").await;
        let mut other = walled.client(Version::V5_0, "ana", "other").await;
        walled.doorman.gone.lock().unwrap().insert("bob".to_owned());
        walled.broker.edge.review();
        assert!(old.heard().await.is_none());
        match new.next().await {
            Packet::V5_0Disconnect(it) => {
                assert_eq!(it.reason_code().map(|code| code as u8), Some(0x87));
            }
            other => panic!("{other}"),
        }
        assert!(other.hears_nothing().await);
        for (version, code) in [(Version::V3_1_1, 4), (Version::V5_0, 0x86)] {
            let connect = entering(version, "bob", "again", 0);
            let (_, connack) = walled.broker.client_and_connack(version, connect).await;
            let said = match connack {
                Packet::V3_1_1Connack(it) => it.return_code() as u8,
                Packet::V5_0Connack(it) => it.reason_code() as u8,
                other => panic!("{other}"),
            };
            assert_eq!(said, code);
        }
    });
}

#[test]
fn event_11_a_bound_device_is_its_owners_and_so_are_its_errors() {
    run(async {
        let walled = Walled::start();
        let mut bob = walled.client(Version::V5_0, "bob", PHONE).await;
        bob.save("sync/office/events", &star(Some(PHONE), "1"))
            .await;
        walled.change(&RULES.replace("office = \"r\"", "office = \"rw\""));
        let errors = format!("sync/office/errors/{PHONE}");
        let mut ana = walled.client(Version::V5_0, "ana", PHONE).await;
        let event = star(Some(PHONE), "2");
        assert_eq!(ana.tries("sync/office/events", &event).await, 0x87);
        assert_eq!(ana.tries("sync/home/events", &event).await, 0, "per group");
        assert_eq!(ana.asks_for(&errors).await, 0x87);
        assert_eq!(ana.asks_for("sync/office/errors/#").await, 1);
        let mut watcher = walled.client(Version::V5_0, "bob", "watcher").await;
        watcher.subscribe(&errors).await;
        let mut old = walled.client(Version::V3_1_1, "bob", PHONE).await;
        old.save("sync/office/events", b"no event").await;
        let notice = Notice::decode(&watcher.got().await.payload).unwrap();
        assert_eq!(notice.error, "not_an_event");
        assert!(ana.hears_nothing().await);
        let mut gate = walled.client(Version::V5_0, "gate", "gate").await;
        assert_eq!(gate.tries("sync/office/events", &event).await, 0, "for it");
    });
}

#[test]
fn event_11_nobody_has_anothers_changes_refused_or_takes_a_device_by_reading() {
    run(async {
        let walled = Walled::start();
        // Whoever may only read comes first, and gets nothing of the device by that.
        let mut reader = walled.client(Version::V5_0, "ana", PHONE).await;
        reader.subscribe("sync/office/events").await;
        let mut bob = walled.client(Version::V5_0, "bob", PHONE).await;
        bob.save("sync/office/events", &star(Some(PHONE), "1"))
            .await;
        let mut watcher = walled.client(Version::V5_0, "bob", "watcher").await;
        watcher
            .subscribe(&format!("sync/office/errors/{PHONE}"))
            .await;
        for user in ["none", "ana"] {
            let mut other = walled.client(Version::V3_1_1, user, PHONE).await;
            let event = star(Some(PHONE), "2");
            assert_eq!(other.tries("sync/office/events", &event).await, 0);
        }
        let mut old = walled.client(Version::V3_1_1, "bob", PHONE).await;
        old.save("sync/office/events", b"no event").await;
        let notice = Notice::decode(&watcher.got().await.payload).unwrap();
        assert_eq!(notice.error, "not_an_event", "of its owner alone");
    });
}
