//! The tests' own client is checked against Mosquitto before anybody believes what it sees.

use syncline_tests::mosquitto::{self, Mosquitto, Subscriber};
use syncline_tests::wire::{Connect, Version, Wire};

#[test]
fn the_tests_client_speaks_both_versions_with_mosquitto() {
    let mosquitto = Mosquitto::start().expect("mosquitto is installed");
    for version in Version::BOTH {
        let connect = Connect::new(version, "")
            .user("device", "x")
            .receive_maximum(7);
        let connect = if version == Version::V5 {
            connect
        } else {
            Connect::new(version, "a")
        };
        let mut wire = Wire::connect(mosquitto.address(), &connect).unwrap();
        assert_eq!(wire.subscribe_all(&[("a/#", 1), ("b", 0)]).unwrap(), [1, 0]);
        let sub = Subscriber::start(mosquitto.address(), version, "a/+");
        assert_eq!(wire.publish("a/b", "hello").unwrap().code, 0);
        assert_eq!(sub.messages(1), ["a/b hello"]);
        let message = wire.message().unwrap();
        assert_eq!((message.topic.as_str(), message.qos), ("a/b", 1));
        let output = mosquitto::publish(mosquitto.address(), version, "b", "there");
        assert!(output.status.success());
        assert_eq!(wire.message().unwrap().payload, b"there");
        wire.unsubscribe("a/#").unwrap();
        wire.ping().unwrap();
        wire.disconnect().unwrap();
    }
}

#[test]
fn the_tests_client_sees_a_connection_end_and_a_will() {
    let mosquitto = Mosquitto::start().expect("mosquitto is installed");
    let connect = Connect::new(Version::V5, "w").will("will/of/w", "gone");
    let mut wire = Wire::connect(mosquitto.address(), &connect).unwrap();
    let sub = Subscriber::start(mosquitto.address(), Version::V311, "will/#");
    wire.send_bytes(&[0xf0, 0x7f]).unwrap();
    wire.send_bytes(&[0x00, 0x00]).unwrap();
    drop(wire);
    assert_eq!(sub.messages(1), ["will/of/w gone"]);
}
