//! What a connection makes of what a broker says, and when.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::address::Address;
use syncline_protocol::Seq;

const TEN_S: Duration = Duration::from_secs(10);
const CONNACK_5: &[u8] = b"\x20\x03\0\0\0";
const CONNACK_3: &[u8] = b"\x20\x02\0\0";

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(TEN_S, what).await.expect("in time")
}

fn device() -> DeviceId {
    "11111111-1111-4111-8111-111111111111".parse().unwrap()
}

fn id(n: u64) -> IntentId {
    IntentId::new(n)
}

struct Far {
    listener: TcpListener,
    way: Arc<Way>,
}

impl Far {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let address = Address::parse(&address).unwrap();
        #[cfg(feature = "tls")]
        let way = Way::new(address, Default::default());
        #[cfg(not(feature = "tls"))]
        let way = Way::new(address);
        Self { listener, way }
    }

    fn refuses_version_5(self) -> Self {
        let now = ambient::steady();
        let (five, refused) = (Version::Five, Opened::VersionRefused);
        self.way.versions().learn(five, refused, now);
        self
    }

    fn open(&self, credentials: Option<&Credentials>) -> Connection {
        let who = Who {
            device: device(),
            name: None,
            credentials,
            tokens: None,
        };
        Connection::open(&self.way, &who)
    }

    /// The next connection, which said a CONNECT, and the CONNECT.
    async fn accept(&self) -> (TcpStream, Vec<u8>) {
        let (mut stream, _) = within(self.listener.accept()).await.unwrap();
        let connect = packet(&mut stream).await;
        (stream, connect)
    }
}

/// The next packet; none here is longer than 127 bytes.
async fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    within(stream.read_exact(&mut head)).await.unwrap();
    let mut rest = vec![0; usize::from(head[1])];
    within(stream.read_exact(&mut rest)).await.unwrap();
    [&head[..], &rest].concat()
}

/// Behind the topic, which is `t`.
fn packet_id(publish: &[u8]) -> [u8; 2] {
    assert_eq!(publish[..1], [0x32], "PUBLISH at QoS 1");
    [publish[5], publish[6]]
}

fn disconnected(input: Input) -> String {
    match input {
        Input::Disconnected { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_comes_in_one_read_with_the_end_still_counts() {
    // PUBACK with `seq` = `7`, and DISCONNECT 0x8B, in one write.
    let far = Far::new().await;
    let mut near = far.open(None);
    let (mut stream, _) = far.accept().await;
    stream.write_all(CONNACK_5).await.unwrap();
    assert!(matches!(
        within(near.input()).await,
        Input::Connected { .. }
    ));
    for n in [1, 2] {
        assert!(near.publish(id(n), "t".into(), vec![0]));
    }
    let ids = [packet(&mut stream).await, packet(&mut stream).await];
    let mut said = Vec::new();
    for publish in ids {
        let [high, low] = packet_id(&publish);
        said.extend([0x40, 13, high, low, 0, 9, 0x26, 0, 3]);
        said.extend(b"seq\0\x017");
    }
    said.extend([0xe0, 2, 0x8b, 0]);
    stream.write_all(&said).await.unwrap();
    drop(stream);
    for n in [1, 2] {
        let answer = Answer::Saved(Seq::new(7).unwrap());
        let expected = Input::Acked { id: id(n), answer };
        assert_eq!(within(near.input()).await, expected);
    }
    let reason = disconnected(within(near.input()).await);
    assert!(reason.contains("ServerShuttingDown"), "{reason}");
}

#[tokio::test]
async fn what_comes_in_one_read_with_the_end_still_counts_at_3_1_1() {
    let far = Far::new().await.refuses_version_5();
    let mut near = far.open(None);
    let (mut stream, connect) = far.accept().await;
    assert_eq!(connect[8], 4, "the protocol level");
    let uuid = device().to_string();
    assert!(
        connect.ends_with(uuid.as_bytes()),
        "the client id is the device"
    );
    stream.write_all(CONNACK_3).await.unwrap();
    assert!(matches!(
        within(near.input()).await,
        Input::Connected { .. }
    ));
    for n in [1, 2] {
        assert!(near.publish(id(n), "t".into(), vec![0]));
    }
    // QoS 1, topic, packet id, payload: nothing else at 3.1.1.
    let [first, second] =
        [packet(&mut stream).await, packet(&mut stream).await].map(|it| packet_id(&it));
    // What follows the answers is no packet: there is none of type 15.
    let said = [&[0x40, 2], &first[..], &[0x40, 2], &second[..], &[0xf0, 0]].concat();
    stream.write_all(&said).await.unwrap();
    for n in [1, 2] {
        let answer = Answer::Taken;
        let expected = Input::Acked { id: id(n), answer };
        assert_eq!(within(near.input()).await, expected);
    }
    disconnected(within(near.input()).await);
}

#[tokio::test]
async fn refuse_3_a_late_puback_is_no_answer_to_what_was_sent_again() {
    let far = Far::new().await.refuses_version_5();
    let mut near = far.open(None);
    let (mut stream, _) = far.accept().await;
    stream.write_all(CONNACK_3).await.unwrap();
    assert!(matches!(
        within(near.input()).await,
        Input::Connected { .. }
    ));
    assert!(near.publish(id(1), "t".into(), vec![0]));
    let first = packet_id(&packet(&mut stream).await);
    // A refusal by message: the core sends it again before the PUBACK of the first try is there.
    stream.write_all(b"\x30\x04\0\x01e!").await.unwrap();
    let refusal = within(near.input()).await;
    assert!(matches!(refusal, Input::Message { .. }), "{refusal:?}");
    assert!(near.publish(id(1), "t".into(), vec![0]));
    let second = packet_id(&packet(&mut stream).await);
    let late = [&[0x40, 2], &first[..], b"\x30\x04\0\x01e?"].concat();
    stream.write_all(&late).await.unwrap();
    let next = within(near.input()).await;
    assert!(matches!(next, Input::Message { .. }), "{next:?}");
    stream
        .write_all(&[&[0x40, 2], &second[..]].concat())
        .await
        .unwrap();
    let answer = Answer::Taken;
    let expected = Input::Acked { id: id(1), answer };
    assert_eq!(within(near.input()).await, expected);
}

#[tokio::test]
async fn told_5_who_is_refused_is_told_apart_from_what_is_lost() {
    let credentials = Credentials {
        user: "ana".to_owned(),
        password: "a-right".to_owned(),
    };
    let says = |code: u8| vec![0x20, 3, 0, code, 0];
    for (said, needs_auth) in [
        (says(0x86), true),
        (says(0x87), true),
        (says(0x8c), true),
        (says(0x88), false),
        (says(0x97), false),
        (Vec::new(), false),
        // A user who may not be there any more (WALL-4).
        ([CONNACK_5, &[0xe0, 2, 0x87, 0]].concat(), true),
        ([CONNACK_5, &[0xe0, 2, 0x8b, 0]].concat(), false),
    ] {
        let far = Far::new().await;
        let mut near = far.open(Some(&credentials));
        let (mut stream, _) = far.accept().await;
        stream.write_all(&said).await.unwrap();
        drop(stream);
        let mut input = within(near.input()).await;
        if matches!(input, Input::Connected { .. }) {
            input = within(near.input()).await;
        }
        let reason = disconnected(input);
        assert_eq!(near.needs_auth(), needs_auth, "{said:?}: {reason}");
        assert!(!reason.contains("a-right"), "{reason}");
    }
    for (code, needs_auth) in [(4, true), (5, true), (3, false)] {
        let far = Far::new().await.refuses_version_5();
        let mut near = far.open(Some(&credentials));
        let (mut stream, _) = far.accept().await;
        stream.write_all(&[0x20, 2, 0, code]).await.unwrap();
        disconnected(within(near.input()).await);
        assert_eq!(near.needs_auth(), needs_auth, "3.1.1: {code}");
    }
}

#[tokio::test]
async fn fork_5_connections_at_3_1_1_that_stand_briefly_are_counted() {
    let far = Far::new().await.refuses_version_5();
    let pause = || far.way.versions().pause(Version::ThreeOneOne, 1.0);
    for _ in 0..2 {
        assert_eq!(pause(), Duration::ZERO);
        let mut near = far.open(None);
        let (mut stream, _) = far.accept().await;
        stream.write_all(CONNACK_3).await.unwrap();
        let up = within(near.input()).await;
        assert!(matches!(up, Input::Connected { .. }), "{up:?}");
        drop(stream);
        disconnected(within(near.input()).await);
    }
    assert!(pause() > Duration::ZERO);
}
