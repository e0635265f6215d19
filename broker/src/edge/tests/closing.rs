//! Connections that the broker ends: what the client hears.

use super::*;

use crate::edge::peer::Peer;
use crate::transport::Caller;
use bytes::BytesMut;
use mqtt_protocol_core::mqtt::packet::{MaximumPacketSize, Property};
use tokio::net::{TcpListener, TcpStream};

/// Read in vain by a broker that has said its last words.
const CHATTER_BYTES: usize = 1 << 20;

#[test]
fn a_client_that_is_still_talking_hears_why_it_is_closed() {
    run(async {
        let broker = Broker::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = broker.edge.serve(listener.into());
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut said = connect(Version::V5_0, "talker", None).to_continuous_buffer();
        said.resize(said.len() + CHATTER_BYTES, 0);
        socket.write_all(&said).await.unwrap();
        let mut heard = Vec::new();
        let read = timeout(Duration::from_secs(20), socket.read_to_end(&mut heard));
        read.await.expect("an end in time").expect("no reset");
        assert_eq!(heard[heard.len() - 4..], [0xe0, 2, 0x81, 0]);
        listening.abort();
    });
}

#[test]
fn view_4_a_client_that_cannot_take_the_opening_state_gets_no_events_without_it() {
    run(async {
        let broker = Broker::start();
        let mut author = broker.client(Version::V5_0, PHONE).await;
        for album in ["one", "two"] {
            let album = album.repeat(100);
            author.save("sync/a/events", &star(None, &album)).await;
        }
        let small = Property::MaximumPacketSize(MaximumPacketSize::new(300).unwrap());
        let connect = v5_0::Connect::builder().client_id("small").unwrap();
        let connect = connect
            .clean_start(true)
            .props(vec![small])
            .build()
            .unwrap();
        let mut reader = broker.client_saying(Version::V5_0, connect.into()).await;
        reader.subscribe("$since/0-0/sync/a/events").await;
        let last = reader.next().await;
        assert!(
            matches!(&last, Packet::V5_0Disconnect(it)
            if it.reason_code().is_some_and(|code| code as u8 == 0x95)),
            "{last}"
        );
        assert!(reader.heard().await.is_none());
    });
}

#[test]
fn g10_a_client_whose_connection_panics_is_lost_and_its_will_is_sent() {
    run(async {
        let broker = Broker::start();
        let mut watcher = broker.client(Version::V5_0, "watcher").await;
        watcher.subscribe("sync/a/events").await;
        let shared = Arc::clone(&broker.edge.shared);
        let mut peer = Peer::new(shared, Caller::default(), "x".to_owned(), Instant::now());
        let connect = connect(Version::V5_0, PHONE, Some("sync/a/events"));
        let mut input = BytesMut::from(&connect.to_continuous_buffer()[..]);
        while peer.output().is_empty() {
            peer.work(Instant::now(), &mut input, || false);
            tokio::task::yield_now().await;
            peer.mail(Instant::now());
        }
        // What the end of a task that panicked does.
        drop(peer);
        assert_eq!(watcher.event().await.seq.get(), 1);
    });
}
