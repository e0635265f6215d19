//! Users, what they may do, and what becomes of that while they are connected, with Mosquitto's programs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use syncline_client::{Client, Options, Phase, map};
use syncline_tests::broker::{self, Broker, Setup};
use syncline_tests::mosquitto::{self, Subscriber};
use syncline_tests::star::Star;
use syncline_tests::wait::PATIENCE;
use syncline_tests::wire::{Connect, Version, Wire};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::limits::counted_for;
use crate::scene::PHONE;

const BOTH: [Version; 2] = [Version::V311, Version::V5];

const RULES: &str = r#"
[users.ana]
groups = { home = "rw", office = "r" }
topics = ["rw rooms/%u/#"]
[users.bob]
groups = { office = "rw" }
"#;

/// A folder with the files of `[auth]`.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        fs::write(files.path("acl.toml"), RULES).unwrap();
        for (user, password) in [("ana", "a-right"), ("bob", "b-right")] {
            let output = files.passwd(&[user, "--stdin"], password);
            assert!(output.status.success(), "{output:?}");
        }
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `syncline passwd`, told a password.
    fn passwd(&self, arguments: &[&str], password: &str) -> Output {
        let mut command = Command::new(broker::binary());
        command.arg("passwd").arg(self.path("passwords"));
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{password}").unwrap();
        drop(input);
        child.wait_with_output().unwrap()
    }

    fn setup(&self) -> Setup {
        let text = |name: &str| self.path(name).display().to_string();
        Setup::new()
            .variable("SYNCLINE__AUTH__PASSWORDS", text("passwords"))
            .variable("SYNCLINE__AUTH__ACL", text("acl.toml"))
            .variable("SYNCLINE__AUTH__FAILURES_MAX", "1000")
            .variable("SYNCLINE__AUTH__ADDRESS_FAILURES_MAX", "1000")
    }
}

fn event(album: &str) -> String {
    Star::album(album).json()
}

fn publish(at: &Broker, version: Version, user: &[&str], topic: &str, payload: &str) -> Output {
    let message = ["-q", "1", "-t", topic, "-m", payload];
    mosquitto::publish_with(at.mqtt(), version, &[user, &message].concat())
}

const ANA: [&str; 4] = ["-u", "ana", "-P", "a-right"];
const BOB: [&str; 4] = ["-u", "bob", "-P", "b-right"];

fn follow(at: &Broker, version: Version, user: &[&str], filter: &str) -> Subscriber {
    let subscriber = Subscriber::come_back(at.mqtt(), version, filter, user);
    subscriber.wait_for_suback();
    subscriber
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn wall_1_g9_right_wrong_unknown_and_nothing_at_both_versions() {
    let files = Files::new();
    let mode = fs::metadata(files.path("passwords")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let broker = files.setup().start();
    for version in BOTH {
        let tries =
            |user: &[&str]| publish(&broker, version, user, "sync/home/events", &event("x"));
        assert!(tries(&ANA).status.success());
        for wrong in [
            &["-u", "ana", "-P", "b-right"][..],
            &["-u", "eve", "-P", "a-right"],
            &["-u", "ana"],
            &[],
        ] {
            let output = tries(wrong);
            assert!(!output.status.success(), "{wrong:?}");
            let why = said(&output).to_lowercase();
            let expected = if wrong.is_empty() {
                "not authori"
            } else {
                "bad user"
            };
            assert!(why.contains(expected), "{wrong:?}: {why}");
        }
    }
    for secret in ["a-right", "b-right"] {
        assert!(!broker.log().contains(secret));
    }
}

#[test]
fn wall_3_g9_a_wildcard_is_narrowed_and_a_reload_narrows_it_further_while_it_is_connected() {
    let files = Files::new();
    let broker = files.setup().start();
    for version in BOTH {
        fs::write(files.path("acl.toml"), RULES).unwrap();
        assert!(broker.ask(&["reload"]).status.success());
        let ana = follow(&broker, version, &ANA, "$json/sync/#");
        let of = |group: &str| format!("sync/{group}/events");
        let hears = |group: &str, album: &str| {
            let message = ana.message(album, |line| line.contains("/events "));
            assert!(
                message.starts_with(&of(group)) && message.contains(album),
                "{message}"
            );
        };
        assert!(
            publish(&broker, version, &BOB, &of("office"), &event("one"))
                .status
                .success()
        );
        hears("office", "one");
        fs::write(
            files.path("acl.toml"),
            RULES.replace("office = \"r\"", "cellar = \"r\""),
        )
        .unwrap();
        let reload = broker.ask(&["reload"]);
        assert!(said(&reload).contains("2 users"), "{}", said(&reload));
        assert!(
            publish(&broker, version, &BOB, &of("office"), &event("two"))
                .status
                .success()
        );
        assert!(
            publish(&broker, version, &ANA, &of("home"), &event("three"))
                .status
                .success()
        );
        hears("home", "three");
    }
}

#[test]
fn g9_a_reload_of_something_broken_changes_nothing_and_says_why() {
    let files = Files::new();
    let broker = files.setup().start();
    let ana = follow(&broker, Version::V5, &ANA, "$json/sync/office/events");
    let passwords = fs::read_to_string(files.path("passwords")).unwrap();
    let broken = [
        ("acl.toml", "[users.ana]\ngroup = {}", RULES, "line 2"),
        ("passwords", "ana:plain", &*passwords, "line 1"),
    ];
    for (name, text, good, why) in broken {
        fs::write(files.path(name), text).unwrap();
        let reload = broker.ask(&["reload"]);
        assert!(!reload.status.success());
        assert!(
            said(&reload).contains("nothing was changed"),
            "{}",
            said(&reload)
        );
        assert!(said(&reload).contains(why), "{}", said(&reload));
        assert!(!said(&reload).contains("plain"));
        let sent = publish(
            &broker,
            Version::V5,
            &BOB,
            "sync/office/events",
            &event(name),
        );
        assert!(sent.status.success());
        assert!(ana.message(name, |_| true).contains(name));
        fs::write(files.path(name), good).unwrap();
    }
    broker.signal("HUP");
    assert!(broker.ask(&["reload"]).status.success());
}

#[test]
fn wall_4_g9_who_is_removed_is_disconnected_and_does_not_come_in_again() {
    let files = Files::new();
    let broker = files.setup().start();
    for version in BOTH {
        let told = files.passwd(&["bob", "--stdin"], "b-right");
        assert!(told.status.success() && broker.ask(&["reload"]).status.success());
        let bob = follow(&broker, version, &BOB, "$json/sync/#");
        let told = files.passwd(&["bob", "--delete"], "");
        assert!(told.status.success(), "{}", said(&told));
        assert!(broker.ask(&["reload"]).status.success());
        // It tries again and is told why not.
        // One of 3.1.1 is closed, comes again and hears why not.
        let told = match version {
            Version::V5 => "Received DISCONNECT (135)",
            Version::V311 => "received CONNACK (4)",
        };
        let _ = bob.line("the end", |line| line.contains(told));
        let sent = publish(&broker, version, &BOB, "sync/office/events", &event("x"));
        assert!(!sent.status.success());
    }
}

#[test]
fn g9_ordinary_topics_belong_to_whom_the_rules_say() {
    let files = Files::new();
    let broker = files.setup().start();
    let ana = follow(&broker, Version::V5, &ANA, "#");
    let sent = publish(&broker, Version::V5, &BOB, "rooms/ana/lamp", "no");
    assert!(
        said(&sent).to_lowercase().contains("not authori"),
        "{}",
        said(&sent)
    );
    let sent = publish(&broker, Version::V311, &BOB, "rooms/bob/lamp", "no");
    assert!(sent.status.success(), "3.1.1 has no word for it");
    let sent = publish(&broker, Version::V5, &ANA, "rooms/ana/lamp", "on");
    assert!(sent.status.success(), "{}", said(&sent));
    assert_eq!(ana.message("the lamp", |_| true), "rooms/ana/lamp on");
    for version in BOTH {
        let refused = Subscriber::come_back(broker.mqtt(), version, "rooms/bob/lamp", &ANA);
        let code = if version == Version::V5 { 0x87 } else { 0x80 };
        let line = refused.line("the SUBACK", |line| line.starts_with("Subscribed"));
        assert!(line.ends_with(&code.to_string()), "{line}");
    }
}

#[test]
fn g9_who_shows_nothing_comes_in_only_where_that_is_meant() {
    let files = Files::new();
    let rules = format!("{RULES}\n[anonymous]\ngroups = {{ office = \"r\" }}");
    fs::write(files.path("acl.toml"), rules).unwrap();
    let broker = files
        .setup()
        .variable("SYNCLINE__AUTH__ANONYMOUS", "true")
        .start();
    let nobody = follow(&broker, Version::V311, &[], "$json/sync/#");
    assert!(
        publish(&broker, Version::V5, &ANA, "sync/home/events", &event("1"))
            .status
            .success()
    );
    assert!(
        publish(
            &broker,
            Version::V5,
            &BOB,
            "sync/office/events",
            &event("2")
        )
        .status
        .success()
    );
    let message = nobody.message("an event", |line| line.contains("/events "));
    assert!(message.starts_with("sync/office/events"), "{message}");
    let sent = publish(&broker, Version::V5, &[], "sync/office/events", &event("3"));
    assert!(
        said(&sent).to_lowercase().contains("not authori"),
        "{}",
        said(&sent)
    );
}

#[test]
fn g9_a_share_goes_to_those_of_its_members_who_may_read() {
    let files = Files::new();
    let broker = files.setup().start();
    let shared = "$share/g/rooms/#";
    let _bob = follow(&broker, Version::V5, &BOB, shared);
    let ana = follow(&broker, Version::V5, &ANA, shared);
    for n in 0..4 {
        let text = format!("job-{n}");
        assert!(
            publish(&broker, Version::V5, &ANA, "rooms/ana/x", &text)
                .status
                .success()
        );
        let message = ana.message("her job", |line| line.contains(&text));
        assert_eq!(message, format!("rooms/ana/x {text}"));
    }
}

#[test]
fn event_11_g12_a_device_stays_its_owners_after_a_kill() {
    let files = Files::new();
    fs::write(
        files.path("acl.toml"),
        "[everyone]\ngroups = { home = \"rw\" }",
    )
    .unwrap();
    let mut broker = files.setup().start();
    let tries = |broker: &Broker, user: &[&str]| {
        let user = [user, &["-i", PHONE]].concat();
        publish(broker, Version::V5, &user, "sync/home/events", &event("x"))
    };
    assert!(tries(&broker, &ANA).status.success());
    broker.kill().unwrap();
    broker.start_again();
    assert!(said(&tries(&broker, &BOB)).contains("another user"));
    assert!(tries(&broker, &ANA).status.success());
}

#[test]
fn wall_3_g9_nothing_more_waits_for_who_is_away_than_it_may_read() {
    const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
    let files = Files::new();
    let bob = "\n[users.bob]\ntopics = [\"rw rooms/#\"]\n";
    let rules = "[users.ana]\ntopics = [\"r rooms/%u/#\"]\n";
    fs::write(files.path("acl.toml"), [rules, bob].concat()).unwrap();
    let mut broker = files.setup().start();
    let kept = Connect::new(Version::V311, "kept").credentials("ana", "a-right");
    let mut ana = Wire::connect(broker.mqtt(), &kept.back()).unwrap();
    assert_eq!(ana.subscribe_all(&[("#", 1)]).unwrap(), [1]);
    ana.disconnect().unwrap();
    let told = |broker: &Broker, topic: &str| {
        let bob = Connect::new(Version::V5, "").credentials("bob", "b-right");
        let mut bob = Wire::connect(broker.mqtt(), &bob).unwrap();
        bob.publish(topic, "on").unwrap().code
    };
    assert_eq!(told(&broker, "rooms/ana/lamp"), 0);
    assert_eq!(told(&broker, "rooms/bob/lamp"), NO_MATCHING_SUBSCRIBERS);
    // After a crash nobody has come yet who could say whose the session is.
    broker.kill().unwrap();
    broker.start_again();
    assert_eq!(told(&broker, "rooms/ana/lamp"), 0);
    assert_eq!(told(&broker, "rooms/bob/lamp"), NO_MATCHING_SUBSCRIBERS);
    fs::write(files.path("acl.toml"), bob).unwrap();
    assert!(broker.ask(&["reload"]).status.success());
    assert_eq!(told(&broker, "rooms/ana/lamp"), NO_MATCHING_SUBSCRIBERS);
}

#[test]
fn wall_3_a_will_that_a_reload_forbids_is_not_published_and_counted() {
    let files = Files::new();
    let broker = files
        .setup()
        .variable("SYNCLINE__SYS__INTERVAL_S", "1")
        .start();
    let wills = BOTH.map(|version| {
        let ana = Connect::new(version, "").credentials("ana", "a-right");
        Wire::connect(broker.mqtt(), &ana.will("rooms/ana/lamp", "gone")).unwrap()
    });
    let rules = "[users.ana]\n[users.bob]\ntopics = [\"rw rooms/#\", \"r $SYS/#\"]\n";
    fs::write(files.path("acl.toml"), rules).unwrap();
    assert!(broker.ask(&["reload"]).status.success());
    let bob = Connect::new(Version::V5, "").credentials("bob", "b-right");
    let mut follower = Wire::connect(broker.mqtt(), &bob).unwrap();
    assert_eq!(follower.subscribe("rooms/#").unwrap(), 1);
    drop(wills);
    counted_for(&broker, &bob, "wills/refused", 2);
    follower.ping().unwrap();
    assert_eq!(follower.waiting(), 0, "nothing is published");
}

#[test]
fn wall_1_g10_who_guesses_at_ana_does_not_lock_out_bob() {
    let files = Files::new();
    let setup = files.setup().variable("SYNCLINE__AUTH__FAILURES_MAX", "2");
    let setup = setup.variable("SYNCLINE__AUTH__FAILURE_INTERVAL_MS", "600000");
    let socket = files.path("mqtt.sock");
    let setup = setup.variable("SYNCLINE__MQTT__UNIX_SOCKET", socket.display().to_string());
    let broker = setup.start();
    let tries = |user: &str, password: &str| {
        let user = ["-u", user, "-P", password];
        tries_at(&broker, &user)
    };
    for guess in ["one", "two"] {
        assert!(tries("ana", guess).contains("bad user"));
    }
    assert!(tries("ana", "a-right").contains("rate exceeded"));
    assert_eq!(tries("bob", "b-right"), "");
    let local = |user: &str, password: &str| {
        let shown = [
            "-u",
            user,
            "-P",
            password,
            "--unix",
            &socket.display().to_string(),
        ]
        .map(str::to_owned);
        let shown: Vec<_> = shown.iter().map(String::as_str).collect();
        tries_at(&broker, &shown)
    };
    for guess in ["one", "two"] {
        assert!(local("bob", guess).contains("bad user"));
    }
    assert!(local("bob", "b-right").contains("rate exceeded"));
    assert!(!local("ana", "a-right").contains("rate exceeded"));
}

fn tries_at(at: &Broker, shown: &[&str]) -> String {
    said(&publish(
        at,
        Version::V5,
        shown,
        "sync/office/events",
        &event("x"),
    ))
    .to_lowercase()
}

#[test]
fn g10_who_guesses_is_slowed_down() {
    let files = Files::new();
    let setup = files.setup().variable("SYNCLINE__AUTH__FAILURES_MAX", "3");
    let broker = setup
        .variable("SYNCLINE__AUTH__FAILURE_INTERVAL_MS", "600000")
        .start();
    let tries = |password: &str| {
        let user = ["-u", "ana", "-P", password];
        publish(&broker, Version::V5, &user, "sync/home/events", &event("x"))
    };
    for guess in ["one", "two", "three"] {
        assert!(!tries(guess).status.success());
    }
    let output = tries("a-right");
    assert!(!output.status.success());
    assert!(
        said(&output).to_lowercase().contains("rate exceeded"),
        "{}",
        said(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn g9_a_client_of_the_sdk_says_who_it_is_and_waits_where_it_is_not_believed() {
    let files = Files::new();
    let broker = files.setup().start();
    let client = async |password: &str| {
        let options = Options::new(&broker.mqtt().to_string(), "home").unwrap();
        let client = Client::open(options.credentials("ana", password)).await;
        let client = client.unwrap();
        let data = map([("album_id", password)]);
        client.publish("star_album", data).await.unwrap();
        client
    };
    let (right, wrong) = (client("a-right").await, client("b-right").await);
    let mut status = right.status();
    let saved = status.wait_for(|it| it.phase == Phase::Online && it.pending == 0);
    timeout(PATIENCE, saved).await.unwrap().unwrap();
    let mut status = wrong.status();
    let refused = status.wait_for(|it| it.reason.is_some());
    let refused = timeout(PATIENCE, refused).await.unwrap().unwrap().clone();
    assert_eq!(refused.pending, 1, "{refused:?}");
    let mut needs_auth = wrong.needs_auth();
    let told = needs_auth.wait_for(|it| *it);
    assert!(*timeout(PATIENCE, told).await.unwrap().unwrap());
    assert!(!*right.needs_auth().borrow());
}
