//! How much clients may, and that everybody is told and counted who is beyond it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::json;
use syncline_tests::broker::{Broker, Setup};
use syncline_tests::mosquitto;
use syncline_tests::star::Star;
use syncline_tests::wait::{PATIENCE, until};
use syncline_tests::wire::{Connect, Packet, Version, Wire};

use crate::scene::{PHONE, device, guest, star};

fn limited(key: &str, value: &str) -> Broker {
    Setup::new()
        .variable("SYNCLINE__SYS__INTERVAL_S", "1")
        .variable(&format!("SYNCLINE__LIMITS__{key}"), value)
        .start()
}

/// What a figure comes to be.
pub(crate) fn counted(broker: impl Into<SocketAddr>, name: &str, at_least: u64) {
    counted_for(broker, &Connect::new(Version::V5, ""), name, at_least);
}

/// The same for somebody in particular.
pub(crate) fn counted_for(broker: impl Into<SocketAddr>, who: &Connect, name: &str, at_least: u64) {
    let at = broker.into();
    // Those that have just gone may still be counted.
    let mut figures = until("a place", || Wire::connect(at, who).ok());
    let topic = format!("$SYS/broker/syncline/{name}");
    assert_eq!(figures.subscribe(&topic).unwrap(), 1, "{topic}");
    until(name, || {
        let text = figures.message().unwrap().payload;
        let figure: u64 = String::from_utf8(text).unwrap().parse().unwrap();
        (figure >= at_least).then_some(())
    });
}

#[test]
fn g10_an_address_has_so_many_connections_and_others_are_told_at_both_versions() {
    let broker = limited("CONNECTIONS_PER_ADDRESS_MAX", "3");
    let mut all: Vec<_> = (0..2).map(|_| guest(&broker)).collect();
    let last = guest(&broker);
    for (version, why) in [
        (Version::V5, "Quota exceeded"),
        (Version::V311, "Connection Refused"),
    ] {
        let message = ["-q", "1", "-t", "sync/home/events", "-m", "{}"];
        let refused = mosquitto::publish_with(broker.mqtt(), version, &message);
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(said.contains(&why.to_lowercase()), "{said}");
    }
    drop(last);
    star(&mut all[0], "sync/home", "a");
    until("a place", || {
        Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "")).ok()
    });
    all.pop();
    counted(&broker, "connections/refused/quota", 2);
}

#[test]
fn g10_a_websocket_too_many_of_its_address_is_told_so_at_both_versions() {
    let broker = limited("CONNECTIONS_PER_ADDRESS_MAX", "2");
    let _all = [(); 2].map(|()| {
        until("a place", || {
            Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "")).ok()
        })
    });
    for (version, refused) in [(Version::V5, 0x97), (Version::V311, 3)] {
        let connect = Connect::new(version, "");
        let (mut wire, answer) = Wire::connect_websocket(broker.http(), &connect).unwrap();
        assert!(
            matches!(answer, Packet::ConnAck { code, .. } if code == refused),
            "{answer:?}"
        );
        assert_eq!(wire.until_closed().unwrap(), []);
    }
}

#[test]
fn g10_a_flood_is_slowed_down_loses_nothing_and_others_do_not_wait() {
    let broker = limited("PUBLISH_MESSAGES_PER_S", "50");
    let mut other = guest(&broker);
    let mut flood = guest(&broker);
    let begin = Instant::now();
    for n in 1..=150 {
        assert_eq!(star(&mut flood, "sync/flood", &format!("album-{n}")), n);
    }
    let took = begin.elapsed();
    assert!(took.as_millis() >= 1_900, "150 at 50 per second: {took:?}");
    star(&mut other, "sync/home", "a");
    counted(&broker, "publish/held", 1);
}

#[test]
fn g10_an_address_publishes_at_a_rate_over_all_its_connections_and_gains_nothing_by_coming_again() {
    for version in [Version::V5, Version::V311] {
        let broker = limited("ADDRESS_PUBLISH_MESSAGES_PER_S", "50");
        let begin = Instant::now();
        for round in 0..15 {
            let mut wire = Wire::connect(broker.mqtt(), &Connect::new(version, "")).unwrap();
            for n in 0..10 {
                let album = Star::album(&format!("album-{round}-{n}")).json();
                wire.publish("sync/flood/events", album).unwrap();
            }
        }
        let took = begin.elapsed();
        assert!(took.as_millis() >= 1_900, "150 at 50 per second: {took:?}");
    }
}

#[test]
fn g10_a_connection_too_many_that_never_connects_is_counted_as_what_it_is() {
    let broker = limited("CONNECTIONS_PER_ADDRESS_MAX", "2");
    // The one that asked whether the broker is ready may still be counted.
    let [_guest, mut figures] = [(); 2].map(|()| {
        until("a place", || {
            Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "")).ok()
        })
    });
    let all = "$SYS/broker/syncline/connections/#";
    assert_eq!(figures.subscribe(all).unwrap(), 1);
    let mut silent = TcpStream::connect(broker.mqtt()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed");
    until("it is counted", || {
        let told = figures.message().unwrap();
        let quota = told.topic.ends_with("refused/quota") && told.payload == b"1";
        let is_other = told.topic.ends_with("no connect") || told.topic.ends_with("lost");
        assert!(!is_other || told.payload == b"0", "{told:?}");
        quota.then_some(())
    });
}

#[test]
fn g10_requests_over_http_that_are_refused_are_counted_by_reason() {
    let broker = limited("CONNECTIONS_PER_ADDRESS_MAX", "8");
    let at = broker.http();
    let ask = |path: &str, headers: &str| {
        let mut socket = TcpStream::connect(at).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let host = format!("Host: {at}\r\n");
    assert!(ask("/nothing/here", &host).contains(" 404 "));
    assert!(ask("/healthz", "Host: evil.example\r\n").contains(" 421 "));
    let origin = format!("{host}Origin: http://evil.example\r\n");
    assert!(ask("/mqtt", &origin).contains(" 403 "));
    assert!(ask("/mqtt", &host).contains(" 400 "));
    let come = || Wire::connect(broker.mqtt(), &Connect::new(Version::V5, "")).ok();
    let mut all = Vec::new();
    until("a connection too many", || {
        all.extend(come());
        ask("/healthz", &host).contains(" 429 ").then_some(())
    });
    drop(all);
    for name in ["not found", "host", "origin", "other", "too many"] {
        counted(&broker, &format!("http/refused/{name}"), 1);
    }
    counted(&broker, "bus/resyncs", 1);
}

#[test]
fn wall_3_a_will_that_is_refused_is_counted() {
    let broker = limited("CONNECTIONS_PER_ADDRESS_MAX", "9");
    let unknown = Star::of("star_album", json!({})).json();
    for version in [Version::V5, Version::V311] {
        let connect = Connect::new(version, "").will("sync/home/events", &unknown);
        drop(Wire::connect(broker.mqtt(), &connect).unwrap());
    }
    counted(&broker, "wills/refused", 2);
}

#[test]
fn g10_no_more_streams_begin_than_may_and_those_that_are_there_go_on() {
    for key in ["STREAMS_MAX", "STREAMS_PER_USER_PER_H"] {
        let mut broker = limited(key, "2");
        for again in [false, true] {
            if again && key == "STREAMS_MAX" {
                broker.kill().unwrap();
                broker.start_again();
            }
            let mut wire = guest(&broker);
            star(&mut wire, "sync/one", "a");
            star(&mut wire, "sync/one/rooms", "a");
            let third = wire.publish("sync/two/events", Star::album("a").json());
            let third = third.unwrap();
            assert_eq!(
                (third.code, third.refusal()),
                (0x97, Some("quota_exceeded"))
            );
            star(&mut wire, "sync/one", "b");
            let mut old = device(&broker, Version::V311, PHONE);
            let errors = format!("sync/two/errors/{PHONE}");
            assert_eq!(old.subscribe(&errors).unwrap(), 1);
            old.send("sync/two/events", Star::album("a").json())
                .unwrap();
            let told = old.message_on(&errors).unwrap().payload;
            let name = b"quota_exceeded";
            assert!(told.windows(name.len()).any(|it| it == name), "{told:?}");
        }
        counted(&broker, "publish/streams refused", 2);
    }
}

const NO_MORE: (u8, Option<&str>) = (0x97, Some("quota_exceeded"));

/// Stars albums until one is refused; how many were taken.
fn stars_until_refused(wire: &mut Wire, stream: &str) -> u64 {
    let topic = format!("{stream}/events");
    let refused = (1..).find(|n| {
        let album = Star::album(&format!("album-{n}")).json();
        let answer = wire.publish(&topic, album).unwrap();
        assert!(answer.code == 0 || (answer.code, answer.refusal()) == NO_MORE);
        answer.code > 0
    });
    refused.unwrap() - 1
}

#[test]
fn g10_a_stream_is_full_until_some_of_it_is_history_and_others_go_on() {
    for (key, value, history) in [
        ("STREAM_EVENTS_MAX", "30", "MAX_EVENTS"),
        ("STREAM_BYTES_MAX", "6_000", "MAX_BYTES"),
    ] {
        let setup = |min_age_ms: &str| {
            Setup::new()
                .variable("SYNCLINE__SYS__INTERVAL_S", "1")
                .variable("SYNCLINE__LIMITS__EVENT_BYTES_MAX", "1_000")
                .variable("SYNCLINE__HISTORY__INTERVAL_MS", "10")
                .variable("SYNCLINE__HISTORY__MIN_AGE_MS", min_age_ms)
                .variable(&format!("SYNCLINE__HISTORY__{history}"), "20")
                .variable(&format!("SYNCLINE__LIMITS__{key}"), value)
        };
        let mut young = setup("3_600_000").start();
        let mut wire = guest(&young);
        assert!((20..=30).contains(&stars_until_refused(&mut wire, "sync/home")));
        star(&mut wire, "sync/other", "a");
        let mut old = device(&young, Version::V311, PHONE);
        let errors = format!("sync/home/errors/{PHONE}");
        assert_eq!(old.subscribe(&errors).unwrap(), 1);
        old.send("sync/home/events", Star::album("a").json())
            .unwrap();
        let told = old.message_on(&errors).unwrap().payload;
        let name = b"quota_exceeded";
        assert!(told.windows(name.len()).any(|it| it == name), "{told:?}");
        counted(&young, "publish/stream full", 2);
        young.kill().unwrap();
        young.start_again();
        let refused = guest(&young).publish("sync/home/events", Star::album("a").json());
        let refused = refused.unwrap();
        assert_eq!((refused.code, refused.refusal()), NO_MORE);
        // Where it is folded after a second, it fills up and goes on again and again.
        let folding = setup("1_000").start();
        let mut wire = guest(&folding);
        for _ in 0..2 {
            stars_until_refused(&mut wire, "sync/home");
            until("room", || {
                let album = Star::album("again").json();
                let answer = wire.publish("sync/home/events", album).unwrap();
                (answer.code == 0).then_some(())
            });
        }
    }
}

#[test]
fn g10_a_state_takes_so_many_bytes_and_shrinks_by_deletions() {
    let broker = limited("STREAM_STATE_BYTES_MAX", "100_000");
    let mut wire = guest(&broker);
    let note = |n: u64| {
        let data = json!({ "album_id": format!("album-{n}"), "text": "x".repeat(10_000) });
        Star::of("write_note", data).json()
    };
    let events = "sync/home/events";
    let written = (0..30).filter(|n| wire.publish(events, note(*n)).unwrap().code == 0);
    let written = written.count();
    assert!((8..=11).contains(&written), "{written}");
    let refused = wire.publish(events, note(30)).unwrap();
    assert_eq!((refused.code, refused.refusal()), NO_MORE);
    let delete = |n: u64| Star::of("delete_note", json!({ "album_id": format!("album-{n}") }));
    let nothing = wire.publish(events, delete(99).json()).unwrap();
    assert_eq!((nothing.code, nothing.refusal()), NO_MORE);
    for n in 0..3 {
        assert_eq!(wire.publish(events, delete(n).json()).unwrap().code, 0);
    }
    assert_eq!(wire.publish(events, note(31)).unwrap().code, 0);
    star(&mut wire, "sync/other", "a");
    counted(&broker, "publish/stream full", 2);
}
