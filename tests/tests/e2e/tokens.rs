//! Tokens: who comes in by one, until when, and how a connection goes on with a fresh one.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use syncline_client::{Client, Options, Phase, Token, map};
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::mosquitto;
use syncline_tests::star::Star;
use syncline_tests::token::Issuer;
use syncline_tests::wait::PATIENCE;
use syncline_tests::wire::{Connect, Outgoing, Packet, Version, Wire};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

const TOPIC: &str = "$syncline/token";
const HOME: &str = "sync/home/events";
const OFFICE: &str = "sync/office/events";
const NOT_AUTHORIZED: u8 = 0x87;

/// A folder with the files of `[auth]`, and who issues tokens.
struct Files {
    folder: TempDir,
    secret: Issuer,
    key: Issuer,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            folder: TempDir::new().unwrap(),
            secret: Issuer::with_secret("a secret of two and thirty bytes, or so"),
            key: Issuer::with_key(),
        };
        files.secret.write(&files.path("secret"));
        files.key.write(&files.path("jwks"));
        let rules =
            "[everyone]\ntopics = [\"rw rooms/%u/#\"]\n[users.ana]\ngroups = { office = \"r\" }";
        fs::write(files.path("acl.toml"), rules).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn setup(&self) -> Setup {
        let text = |name: &str| self.path(name).display().to_string();
        Setup::new()
            .variable("SYNCLINE__AUTH__TOKENS__SECRET", text("secret"))
            .variable("SYNCLINE__AUTH__TOKENS__JWKS", text("jwks"))
            .variable("SYNCLINE__AUTH__TOKENS__USER_NAME", "token")
            .variable("SYNCLINE__AUTH__TOKENS__LEEWAY_S", "0")
            .variable("SYNCLINE__AUTH__ACL", text("acl.toml"))
            .variable("SYNCLINE__AUTH__ADDRESS_FAILURES_MAX", "1000")
    }

    /// A token of ana's that may write to `home`.
    fn ana(&self, expires_in_s: i64) -> String {
        self.key.token("ana", expires_in_s, &home())
    }
}

fn home() -> Value {
    json!({"sync": {"home": "rw"}})
}

fn connect(version: Version, user: &str, token: &str) -> Connect {
    Connect::new(version, "").credentials(user, token)
}

fn enter(broker: &Broker, version: Version, token: &str) -> Wire {
    Wire::connect(broker.mqtt(), &connect(version, "", token)).unwrap()
}

fn code(broker: &Broker, connect: &Connect) -> u8 {
    match Wire::connect_raw(broker.mqtt(), connect).unwrap().1 {
        Packet::ConnAck { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

/// The code of the v5 DISCONNECT at the end, with its sentence.
fn end(mut wire: Wire) -> Option<(u8, String)> {
    let said = wire.until_closed().unwrap();
    said.into_iter().find_map(|said| match said {
        Packet::Disconnect { code, properties } => {
            Some((code, properties.reason.unwrap_or_default()))
        }
        _ => None,
    })
}

fn star(album: &str) -> String {
    Star::album(album).json()
}

#[test]
fn wall_6_g9_right_wrong_expired_and_anothers_at_both_versions() {
    let files = Files::new();
    let broker = files.setup().start();
    let stranger = Issuer::with_key();
    for version in Version::BOTH {
        let (bad, not_allowed) = match version {
            Version::V5 => (0x86, NOT_AUTHORIZED),
            Version::V311 => (4, 5),
        };
        let right = files.ana(60);
        for user in ["", "ana", "token"] {
            assert_eq!(code(&broker, &connect(version, user, &right)), 0, "{user}");
        }
        for wrong in [
            connect(version, "bob", &right),
            connect(version, "", &stranger.token("ana", 60, &home())),
            connect(
                version,
                "",
                &files.key.token("ana", 60, &json!({"sub": ""})),
            ),
            connect(
                version,
                "",
                &files.key.token("ana", 60, &json!({"aud": "mail"})),
            ),
            connect(version, "ana", "a password"),
            connect(version, "ana", ""),
        ] {
            assert_eq!(code(&broker, &wrong), bad, "{wrong:?}");
        }
        assert_eq!(
            code(&broker, &connect(version, "", &files.ana(-1))),
            not_allowed
        );
        let early = files
            .key
            .token("ana", 60, &json!({"nbf": 4_000_000_000_u64}));
        assert_eq!(code(&broker, &connect(version, "", &early)), not_allowed);
        assert_eq!(code(&broker, &Connect::new(version, "")), not_allowed);
        // Its rights: the rule file's for its `sub`, and its own.
        let mut ana = enter(&broker, version, &right);
        assert_eq!(ana.publish(HOME, star("a")).unwrap().refusal(), None);
        assert_eq!(ana.subscribe(OFFICE).unwrap(), 1);
        let refused = if version == Version::V5 {
            NOT_AUTHORIZED
        } else {
            0x80
        };
        assert_eq!(ana.subscribe("sync/cellar/events").unwrap(), refused);
        assert_eq!(ana.subscribe("rooms/ana/x").unwrap(), 1);
    }
    assert!(!broker.log().contains("eyJ"));
}

#[test]
fn wall_6_stock_clients_show_a_token_as_their_password() {
    let files = Files::new();
    let broker = files.setup().start();
    for version in Version::BOTH {
        let publish = |user: &str, token: &str| {
            let message = ["-q", "1", "-t", HOME, "-m", &star("a")].map(str::to_owned);
            let user = ["-u", user, "-P", token].map(str::to_owned);
            let arguments = [user.to_vec(), message.to_vec()].concat();
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            mosquitto::publish_with(broker.mqtt(), version, &arguments)
                .status
                .success()
        };
        assert!(publish("ana", &files.ana(60)));
        assert!(publish("token", &files.secret.token("bob", 60, &home())));
        assert!(!publish("bob", &files.ana(60)) && !publish("ana", &files.ana(-1)));
    }
}

#[test]
fn wall_7_g9_a_connection_ends_with_its_token_and_its_session_stays() {
    let files = Files::new();
    let broker = files.setup().start();
    for version in Version::BOTH {
        let kept = |token: &str| {
            let kept = Connect::new(version, "kept").credentials("", token).back();
            match version {
                Version::V5 => kept.expiry(600),
                Version::V311 => kept,
            }
        };
        let (mut ana, _) = Wire::connect_raw(broker.mqtt(), &kept(&files.ana(2))).unwrap();
        assert_eq!(ana.subscribe(HOME).unwrap(), 1);
        let told = end(ana);
        match version {
            Version::V5 => {
                let (code, reason) = told.unwrap();
                assert_eq!((code, &*reason), (NOT_AUTHORIZED, "the token has expired"));
            }
            Version::V311 => assert_eq!(told, None),
        }
        let (_, again) = Wire::connect_raw(broker.mqtt(), &kept(&files.ana(60))).unwrap();
        let Packet::ConnAck {
            session_present, ..
        } = again
        else {
            panic!("{again:?}")
        };
        assert!(session_present);
    }
}

#[test]
fn wall_8_a_token_is_renewed_in_place_by_publishing_it() {
    let files = Files::new();
    let broker = files.setup().start();
    for version in Version::BOTH {
        let mut watch = enter(
            &broker,
            version,
            &files.secret.token("eve", 60, &json!({"sync": {"*": "rw"}})),
        );
        watch.subscribe("+/token").unwrap();
        watch.subscribe("$syncline/#").unwrap();
        let mut ana = enter(&broker, version, &files.ana(3));
        assert_eq!(ana.subscribe("sync/cellar/events").unwrap() & 0x80, 0x80);
        // More, and for longer: both count before the answer comes.
        let more = files
            .key
            .token("ana", 60, &json!({"sync": {"home": "r", "cellar": "rw"}}));
        let answer = ana.publish(TOPIC, &more).unwrap();
        assert_eq!(answer.refusal(), None);
        assert_eq!(ana.subscribe("sync/cellar/events").unwrap(), 1);
        assert_eq!(
            ana.publish("sync/cellar/events", star("a"))
                .unwrap()
                .refusal(),
            None
        );
        if version == Version::V5 {
            let home = ana.publish(HOME, star("a")).unwrap();
            assert!(home.refusal().unwrap().starts_with("not_allowed"));
        }
        // At QoS 0 and 2, and short again: the newest token counts.
        ana.send_qos0(TOPIC, files.ana(60)).unwrap();
        let id = ana.send_qos2(TOPIC, files.ana(2)).unwrap();
        assert_eq!(ana.pubrec(id).unwrap().refusal(), None);
        ana.send_ack(0x62, id).unwrap();
        assert_eq!(ana.pubcomp(id).unwrap(), 0);
        let told = end(ana).map(|(code, _)| code);
        assert_eq!(told, (version == Version::V5).then_some(NOT_AUTHORIZED));
        // Nobody has seen one.
        watch.ping().unwrap();
        assert_eq!(watch.waiting(), 0);
    }
    assert!(!broker.log().contains("eyJ"));
}

#[test]
fn wall_8_a_token_is_kept_nowhere_however_it_comes() {
    let files = Files::new();
    let mut broker = files.setup().start();
    let rights = |key: &Issuer, user| key.token(user, 60, &json!({"sync": {"*": "rw"}}));
    let fresh = |qos| Outgoing::new(TOPIC, rights(&files.key, "ana")).qos(qos);
    for version in Version::BOTH {
        let kept = Connect::new(version, "kept").credentials("", &rights(&files.key, "ana"));
        let (mut ana, answer) = Wire::connect_websocket(broker.http(), &kept.back()).unwrap();
        assert!(matches!(answer, Packet::ConnAck { code: 0, .. }));
        for message in [fresh(0).retain(), fresh(1).retain(), fresh(2).retain()] {
            assert_eq!(ana.publish_message(&message).unwrap().refusal(), None);
        }
        // Twice under one id, as after a PUBREC that was lost.
        let twice = fresh(2);
        ana.publish_as(77, &twice).unwrap();
        assert_eq!(ana.pubrec(77).unwrap().refusal(), None);
        ana.publish_as(77, &twice.dup()).unwrap();
        assert_eq!(ana.pubrec(77).unwrap().refusal(), None);
        ana.send_ack(0x62, 77).unwrap();
        assert_eq!(ana.pubcomp(77).unwrap(), 0);
        if version == Version::V5 {
            // By a number in place of its topic.
            let number = [0x23, 0, 1];
            for topic in [TOPIC, ""] {
                let by_number = Outgoing::new(topic, rights(&files.key, "ana")).property(&number);
                let answer = ana.publish_message(&by_number.qos(1)).unwrap();
                assert_eq!(answer.refusal(), None);
            }
        }
        // Another's is refused by whichever way: it was looked at, and not passed on.
        let another = Outgoing::new(TOPIC, rights(&files.key, "bob"))
            .qos(1)
            .retain();
        let refused = ana.publish_message(&another).unwrap().refusal().is_some();
        assert_eq!(refused, version == Version::V5);
        ana.disconnect().unwrap();
        let will = connect(version, "", &rights(&files.key, "ana")).will_of(fresh(0));
        assert_ne!(code(&broker, &will), 0, "it cannot be a last will");
        let mut watch = enter(&broker, version, &rights(&files.secret, "eve"));
        for filter in ["#", "$syncline/#", "+/token"] {
            watch.subscribe(filter).unwrap();
        }
        watch.ping().unwrap();
        assert_eq!(watch.waiting(), 0);
    }
    broker.terminate();
    let folder = fs::read_dir(broker.data()).unwrap();
    let files = folder.map(|it| it.unwrap().path());
    for file in files.filter(|it| it.is_file()) {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(3).any(|it| it == b"eyJ");
        assert!(!found, "a token is in {}", file.display());
    }
    assert!(!broker.log().contains("eyJ"));
}

#[test]
fn wall_8_a_fresh_token_that_is_refused_leaves_the_old_one() {
    let files = Files::new();
    let broker = files.setup().start();
    for version in Version::BOTH {
        let mut ana = enter(&broker, version, &files.ana(60));
        for (fresh, why) in [
            (files.key.token("bob", 60, &home()), "another user"),
            (files.ana(-1), "expired"),
            (
                Issuer::with_key().token("ana", 60, &home()),
                "bad user name, password or token",
            ),
            ("nothing".to_owned(), "bad user name, password or token"),
        ] {
            let answer = ana.publish(TOPIC, fresh).unwrap();
            match version {
                Version::V5 => {
                    let reason = answer.properties.reason.unwrap();
                    assert_eq!(answer.code, NOT_AUTHORIZED);
                    assert!(reason.contains(why), "{reason}");
                }
                Version::V311 => assert_eq!(answer.refusal(), None, "it has no word for it"),
            }
            assert_eq!(ana.publish(HOME, star("a")).unwrap().refusal(), None);
        }
    }
}

#[test]
fn wall_8_mqtt_4_12_1_a_token_is_renewed_by_auth() {
    let files = Files::new();
    let broker = files.setup().start();
    let by_method = |token: &str| Connect::new(Version::V5, "").method("token", token);
    let (mut ana, answer) = Wire::connect_raw(broker.mqtt(), &by_method(&files.ana(60))).unwrap();
    let Packet::ConnAck {
        code: 0,
        properties,
        ..
    } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(properties.text(0x15), Some("token"), "MQTT-4.12.0-5");
    let more = files
        .key
        .token("ana", 60, &json!({"sync": {"cellar": "rw"}}));
    ana.authenticate("token", &more).unwrap();
    let Packet::Auth {
        code: 0,
        properties,
    } = ana.receive().unwrap()
    else {
        panic!("no AUTH")
    };
    assert_eq!(properties.text(0x15), Some("token"));
    assert_eq!(ana.subscribe("sync/cellar/events").unwrap(), 1);
    ana.authenticate("token", &files.key.token("bob", 60, &home()))
        .unwrap();
    let (code, reason) = end(ana).unwrap();
    assert!(
        code == NOT_AUTHORIZED && reason.contains("another user"),
        "{reason}"
    );
    assert_eq!(
        self::code(&broker, &by_method(&files.ana(-1))),
        NOT_AUTHORIZED
    );
    assert_eq!(self::code(&broker, &by_method("nothing")), 0x86);
    assert_eq!(
        self::code(&broker, &Connect::new(Version::V5, "").method("other", "x")),
        0x8c
    );
    let mut other = Wire::connect(broker.mqtt(), &by_method(&files.ana(60))).unwrap();
    other.authenticate("other", &files.ana(60)).unwrap();
    assert_eq!(end(other).map(|(code, _)| code), Some(0x82));
    let mut plain = enter(&broker, Version::V5, &files.ana(60));
    plain.authenticate("token", &files.ana(60)).unwrap();
    assert_eq!(end(plain).map(|(code, _)| code), Some(0x82));
}

#[test]
fn wall_8_without_tokens_none_is_taken() {
    let broker = Broker::start();
    let files = Files::new();
    let mut nobody = Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "")).unwrap();
    let answer = nobody.publish(TOPIC, files.ana(60)).unwrap();
    assert_eq!(answer.refusal(), Some("not_allowed"));
    let by_method = Connect::new(Version::V5, "").method("token", &files.ana(60));
    assert_eq!(code(&broker, &by_method), 0x8c);
}

#[test]
fn wall_7_g9_who_came_in_by_a_key_that_is_gone_ends_at_a_reload() {
    let files = Files::new();
    let broker = files.setup().start();
    for version in Version::BOTH {
        let gone = enter(&broker, version, &files.ana(60));
        let mut stays = enter(&broker, version, &files.secret.token("ana", 60, &home()));
        fs::write(files.path("jwks"), "{\"keys\": []}").unwrap();
        assert!(
            !broker.ask(&["reload"]).status.success(),
            "a file without keys changes nothing"
        );
        let next = Issuer::with_key();
        next.write(&files.path("jwks"));
        let reload = broker.ask(&["reload"]);
        let told = String::from_utf8_lossy(&reload.stdout).into_owned();
        assert!(
            reload.status.success() && told.contains("2 keys of tokens"),
            "{told}"
        );
        let told = end(gone).map(|(code, _)| code);
        assert_eq!(told, (version == Version::V5).then_some(NOT_AUTHORIZED));
        assert_eq!(stays.publish(HOME, star("a")).unwrap().refusal(), None);
        assert_eq!(
            code(
                &broker,
                &connect(version, "", &next.token("ana", 60, &home()))
            ),
            0
        );
        assert_ne!(code(&broker, &connect(version, "", &files.ana(60))), 0);
        files.key.write(&files.path("jwks"));
        assert!(broker.ask(&["reload"]).status.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wall_8_a_client_of_the_sdk_shows_a_token_and_goes_on_with_fresh_ones() {
    const SHORT_S: i64 = 4;
    let files = Arc::new(Files::new());
    let broker = files
        .setup()
        .variable("SYNCLINE__LOG__LEVEL", "syncline_broker=debug")
        .start();
    let (asked, mut count) = watch::channel(0);
    let provider = {
        let files = Arc::clone(&files);
        move || {
            let nth = *asked.borrow();
            asked.send_replace(nth + 1);
            let token = files.ana(SHORT_S);
            async move {
                match nth {
                    // Then it is asked again, as after any connection that failed.
                    0 => Err("nobody is logged in"),
                    _ => Ok(Token::new(token).renew_in(Duration::from_secs(1))),
                }
            }
        }
    };
    let options = Options::new(&broker.mqtt().to_string(), "home").unwrap();
    let client = Client::open(options.token(provider)).await.unwrap();
    let mut status = client.status();
    let told = status.wait_for(|it| {
        it.reason
            .as_deref()
            .is_some_and(|it| it.contains("nobody is logged in"))
    });
    drop(timeout(PATIENCE, told).await.unwrap().unwrap());
    let online = status.wait_for(|it| it.phase == Phase::Online);
    drop(timeout(PATIENCE, online).await.unwrap().unwrap());
    assert!(!*client.needs_auth().borrow());
    // Longer than any of its tokens lasts.
    let renewed = count.wait_for(|it| *it >= 8);
    tokio::select! {
        renewed = timeout(PATIENCE, renewed) => drop(renewed.unwrap().unwrap()),
        left = status.wait_for(|it| it.phase != Phase::Online) => panic!("{left:?}"),
    }
    let data = map([("album_id", "a")]);
    let receipt = client.publish("star_album", data).await.unwrap();
    timeout(PATIENCE, receipt.saved()).await.unwrap().unwrap();
    let log = broker.log();
    assert_eq!(log.matches("connected peer=").count(), 1, "{log}");
    client.close().await;
}
