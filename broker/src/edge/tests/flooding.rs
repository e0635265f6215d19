//! Who publishes much, and who does not read: neither has the broker to itself.

use super::*;

use crate::edge::mailbox::Mailbox;
use crate::edge::ordinary::{Entering, Terms};
use crate::edge::peer::Peer;
use crate::store::sessions::SessionKey;
use crate::transport::Caller;
use bytes::BytesMut;

/// Longer than a publisher rests.
const REST: Duration = Duration::from_millis(2);

impl Broker {
    /// One whose boxes have room for one message.
    fn with_small_boxes() -> Self {
        let mut options = edge_options();
        options.ordinary.pending.messages_max = 1;
        Self::with(options)
    }

    /// A connection whose bytes nobody moves.
    async fn peer(&self, id: &str) -> Peer {
        let shared = Arc::clone(&self.edge.shared);
        let mut peer = Peer::new(shared, Caller::default(), id.to_owned(), Instant::now());
        let connect = connect(Version::V3_1_1, id, None);
        let mut input = BytesMut::from(&connect.to_continuous_buffer()[..]);
        while peer.output().is_empty() {
            peer.work(Instant::now(), &mut input, || false);
            tokio::task::yield_now().await;
            peer.mail(Instant::now());
        }
        peer.output().clear();
        peer
    }

    /// So many who follow `flood` and never take anything.
    fn deaf(&self, count: usize) -> Vec<Arc<Mailbox>> {
        let topics = &self.edge.shared.topics;
        let one = |n: usize| {
            let mailbox = Arc::new(Mailbox::among(topics.pending()));
            let key = SessionKey {
                principal: String::new(),
                client_id: format!("deaf-{n}"),
            };
            let id = topics.enter(Entering {
                key: &key,
                kept: false,
                resumed: false,
                mailbox: Arc::clone(&mailbox),
                who: None,
            });
            let terms = Terms {
                qos: 0,
                no_local: false,
                retain_as_published: false,
                identifier: None,
            };
            topics.follow(id, &"flood".parse().unwrap(), terms);
            mailbox
        };
        (0..count).map(one).collect()
    }
}

fn floods(count: usize) -> BytesMut {
    BytesMut::from(&b"\x30\x08\0\x05flood!".repeat(count)[..])
}

#[test]
fn g10_who_publishes_for_many_that_do_not_read_is_not_read_for_a_while() {
    run(async {
        let broker = Broker::with_small_boxes();
        let _deaf = broker.deaf(500);
        let mut peer = broker.peer("flooder").await;
        let (begin, mut input) = (Instant::now(), floods(6));
        // The first fills the boxes; two more find no room, a thousand times.
        assert!(!peer.work(begin, &mut input, || false));
        assert_eq!(input.len(), floods(3).len());
        assert!(!peer.wants_input());
        assert!(peer.next_timeout().is_some_and(|at| at <= begin + REST));
        peer.work(begin + REST, &mut input, || false);
        assert_eq!(input.len(), floods(1).len());
        let dropped = broker.edge.shared.counters.of(Count::DroppedSlow);
        assert_eq!(dropped, 4 * 500, "each is counted");
    });
}

#[test]
fn g10_whoever_makes_much_work_lets_others_go_first_between_its_messages() {
    run(async {
        let broker = Broker::start();
        let mut peer = broker.peer("worker").await;
        let mut input = floods(3);
        for left in [2, 1] {
            assert!(peer.work(Instant::now(), &mut input, || true));
            assert_eq!(input.len(), floods(left).len());
        }
        assert!(!peer.work(Instant::now(), &mut input, || true));
        assert!(input.is_empty());
    });
}

#[test]
fn g10_who_was_not_read_for_a_while_is_read_on_whatever_else_is_due() {
    run(async {
        let mut options = edge_options();
        options.publish.messages_per_s = 1;
        let broker = Broker::with(options);
        let mut peer = broker.peer("hasty").await;
        // Refused one by one, which is told on a topic before the PUBACK: held back at first, and then not read.
        let refused = b"\x32\x0e\0\x0async/a/x/y\0\x01";
        let mut input = BytesMut::from(&refused.repeat(6)[..]);
        let begin = Instant::now();
        peer.work(begin, &mut input, || false);
        let left = input.len();
        assert!(left > 0 && !peer.wants_input());
        peer.work(begin + Duration::from_secs(31), &mut input, || false);
        assert!(input.len() < left);
    });
}

#[test]
fn g10_a_box_that_was_full_has_room_once_something_was_taken_out() {
    run(async {
        let broker = Broker::with_small_boxes();
        let mut peer = broker.peer("publisher").await;
        let deaf = broker.deaf(1);
        let taken = |mailbox: &Mailbox| std::iter::from_fn(|| mailbox.next_letter(true)).count();
        for _ in 0..2 {
            peer.work(Instant::now(), &mut floods(3), || false);
            assert_eq!(taken(&deaf[0]), 1);
        }
    });
}

#[test]
fn g10_nothing_more_is_written_out_for_a_client_whose_transport_takes_nothing() {
    run(async {
        let broker = Broker::start();
        let (mut reader, mut writer) = (broker.peer("reader").await, broker.peer("writer").await);
        let subscribe = b"\x82\x0a\0\x01\0\x05flood\0";
        reader.work(Instant::now(), &mut BytesMut::from(&subscribe[..]), || {
            false
        });
        reader.output().clear();
        let mut heard = |stuck| {
            writer.work(Instant::now(), &mut floods(1), || false);
            reader.set_stuck(stuck);
            reader.work(Instant::now(), &mut BytesMut::new(), || false);
            reader.output().len() / floods(1).len()
        };
        assert_eq!(heard(false), 1);
        assert_eq!(heard(true), 1);
        assert_eq!(heard(false), 3);
    });
}
