//! QoS 2 both ways, over lost connections and `kill -9`.

use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wire::Version;

use super::{client, kept, message};

#[test]
fn g12_a_publish_at_qos_2_is_taken_once_over_kill_9() {
    for version in Version::BOTH {
        let mut broker = Broker::start();
        let mut away = kept(broker.mqtt(), version, "away", false);
        away.subscribe_all(&[("home/#", 2)]).unwrap();
        away.disconnect().unwrap();
        let mut publisher = kept(broker.mqtt(), version, "p", false);
        publisher.publish_as(9, &message("once").qos(2)).unwrap();
        assert_eq!(publisher.pubrec(9).unwrap().code, 0);
        broker.kill().unwrap();
        broker.start_again();
        let mut publisher = kept(broker.mqtt(), version, "p", true);
        publisher
            .publish_as(9, &message("once").qos(2).dup())
            .unwrap();
        assert_eq!(publisher.pubrec(9).unwrap().code, 0);
        publisher.send_ack(0x62, 9).unwrap();
        assert_eq!(publisher.pubcomp(9).unwrap(), 0);
        publisher.publish_as(9, &message("twice").qos(2)).unwrap();
        publisher.pubrec(9).unwrap();
        let mut back = kept(broker.mqtt(), version, "away", true);
        let got = [(); 2].map(|()| back.take().unwrap().payload);
        assert_eq!(got, [b"once".to_vec(), b"twice".to_vec()]);
        back.ping().unwrap();
        assert_eq!(back.waiting(), 0);
    }
}

#[test]
fn g12_a_delivery_at_qos_2_is_shown_once_over_kill_9() {
    for version in Version::BOTH {
        let mut broker = Broker::start();
        let mut subscriber = kept(broker.mqtt(), version, "s", false);
        subscriber.subscribe_all(&[("home/#", 2)]).unwrap();
        let mut publisher = client(&broker, version, "p");
        for text in ["a", "b"] {
            publisher.publish_message(&message(text).qos(2)).unwrap();
        }
        let sent = [(); 2].map(|()| subscriber.message_unacknowledged().unwrap());
        let ids = sent.each_ref().map(|it| it.id.unwrap());
        subscriber.send_ack(0x50, ids[1]).unwrap();
        subscriber.pubrel(ids[1]).unwrap();
        broker.kill().unwrap();
        broker.start_again();
        let mut back = kept(broker.mqtt(), version, "s", true);
        back.pubrel(ids[1]).unwrap();
        back.send_ack(0x70, ids[1]).unwrap();
        let again = back.take().unwrap();
        assert_eq!(
            (again.id, again.dup, &again.payload[..]),
            (Some(ids[0]), true, &b"a"[..])
        );
        back.ping().unwrap();
        assert_eq!(back.waiting(), 0);
        drop(back);
        let mut back = kept(broker.mqtt(), version, "s", true);
        back.ping().unwrap();
        assert_eq!(back.waiting(), 0, "both are over");
    }
}

#[test]
fn topic_9_g1_an_event_at_qos_2_is_saved_once() {
    let broker = Broker::start();
    for (n, version) in Version::BOTH.into_iter().enumerate() {
        let mut phone = kept(broker.mqtt(), version, "phone", false);
        let event = Star::album(&format!("a{n}")).json();
        let star = syncline_tests::wire::Outgoing::new("sync/home/events", &event).qos(2);
        phone.publish_as(5, &star).unwrap();
        let answer = phone.pubrec(5).unwrap();
        if version == Version::V5 {
            assert_eq!(answer.seq(), Some(n as u64 + 1));
        }
        drop(phone);
        let mut phone = kept(broker.mqtt(), version, "phone", true);
        phone.publish_as(5, &star.clone().dup()).unwrap();
        phone.pubrec(5).unwrap();
        phone.send_ack(0x62, 5).unwrap();
        assert_eq!(phone.pubcomp(5).unwrap(), 0);
        let answer = client(&broker, Version::V5, "other").publish("sync/home/count", "{}");
        assert_eq!(answer.unwrap().code, 0x90);
        phone.disconnect().unwrap();
    }
    let mut watcher = client(&broker, Version::V5, "watcher");
    watcher
        .subscribe("$json/$since/0/sync/home/events")
        .unwrap();
    let seqs = [(); 2].map(|()| watcher.message().unwrap().json()["seq"].as_u64());
    assert_eq!(seqs, [Some(1), Some(2)]);
    watcher.ping().unwrap();
    assert_eq!(watcher.waiting(), 0, "no repeat was saved");
}

#[test]
fn mqtt_4_3_3_a_pubrel_of_nothing_is_answered() {
    let broker = Broker::start();
    for (version, code) in [(Version::V5, 0x92), (Version::V311, 0)] {
        let mut someone = client(&broker, version, "someone");
        someone.send_ack(0x62, 77).unwrap();
        assert_eq!(someone.pubcomp(77).unwrap(), code);
    }
}
