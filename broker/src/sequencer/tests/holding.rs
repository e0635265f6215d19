//! What one stream may hold.

use super::*;
use crate::sequencer::{Refusals, StateSize, StreamOptions};

fn limited(stream: StreamOptions) -> Options {
    Options {
        stream,
        ..options()
    }
}

fn no_star(album: &str) -> Intent {
    let data = Value::from_json(format!(r#"{{"album_id":"{album}"}}"#).as_bytes()).unwrap();
    Intent::new("unstar_album".parse().unwrap(), data)
}

impl Rig {
    fn raise(&self, stream: &StreamId, to: u64) {
        let (tell, told) = channel();
        let done = Box::new(move |head: Result<_, _>| tell.send(head.is_ok()).unwrap());
        self.sequencer.raise_horizon(stream.clone(), at(to), done);
        assert!(told.recv_timeout(PATIENCE).unwrap());
    }

    /// Whether an event is accepted.
    fn takes(&mut self, stream: &StreamId, intent: Intent) -> bool {
        match self.ask(stream, device(1), intent) {
            Outcome::Saved { .. } => true,
            other => {
                assert_eq!(refused(&other), RefusalName::QuotaExceeded);
                false
            }
        }
    }

    fn restart(&mut self, options: &Options) {
        self.sequencer.drain();
        let shared: Arc<dyn EventStore> = self.store.clone();
        let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
        let hooks = self.outside.hooks();
        self.sequencer = Sequencer::start(options, shared, schema, hooks).unwrap();
        self.reconnect();
    }
}

#[test]
fn g10_a_full_stream_takes_repeats_alone_until_some_of_it_is_history_and_others_go_on() {
    let options = limited(StreamOptions {
        events_max: 5,
        ..StreamOptions::default()
    });
    let (mut rig, home, other) = (Rig::with(&options), stream("home"), stream("other"));
    let number = |n| numbered(device(1), n);
    // Taken together, so that what is not kept yet counts.
    (1..=7).for_each(|n| rig.submit(&home, device(1), number(n)));
    (1..=5).for_each(|n| assert_eq!(saved(&rig.answer().1), n));
    (0..2).for_each(|_| assert_eq!(refused(&rig.answer().1), RefusalName::QuotaExceeded));
    for again in [false, true] {
        if again {
            rig.restart(&options);
        }
        assert_eq!(repeat(&rig.ask(&home, device(1), number(3))), 3);
        assert!(!rig.takes(&home, number(8)));
        assert!(rig.takes(&other, star("a")));
    }
    assert_eq!(*rig.outside.full.lock().unwrap(), vec![home.clone(); 4]);
    assert_eq!(
        rig.sequencer.refusals(),
        Refusals {
            founding: 0,
            full: 1
        }
    );
    rig.raise(&home, 2);
    assert!(rig.takes(&home, number(8)) && rig.takes(&home, number(9)));
    assert!(!rig.takes(&home, number(10)));
}

#[test]
fn g10_the_bytes_of_a_stream_are_bounded_also_after_a_restart() {
    let options = limited(StreamOptions {
        bytes_max: 20_000,
        ..StreamOptions::default()
    });
    let (mut rig, home) = (Rig::with(&options), stream("home"));
    let long = |n: u64| star(&format!("{n}{}", "x".repeat(1_000)));
    let taken = (1..=40).filter(|n| rig.takes(&home, long(*n))).count() as u64;
    assert!((12..20).contains(&taken), "{taken}");
    let kept = rig.store.read(&home, at(0), ALL).unwrap();
    let bytes: usize = kept.iter().map(|it| it.payload().len()).sum();
    assert!((18_000..=20_000).contains(&bytes), "{bytes}");
    rig.restart(&options);
    assert!(!rig.takes(&home, long(0)));
    assert!(rig.takes(&stream("other"), long(0)));
    rig.raise(&home, 5);
    let room = (1..=40).filter(|n| rig.takes(&home, long(*n))).count();
    assert!((4..=5).contains(&room), "{room}");
}

#[test]
fn g10_a_state_that_is_too_large_takes_deletions_of_what_is_there_alone() {
    let options = limited(StreamOptions {
        state_bytes_max: 10_000,
        ..StreamOptions::default()
    });
    let (mut rig, home) = (Rig::with(&options), stream("home"));
    let is = |rig: &Rig, bytes, is_live| {
        *rig.outside.state.lock().unwrap() = StateSize { bytes, is_live };
    };
    is(&rig, 10_000, false);
    assert!(rig.takes(&home, star("a")));
    is(&rig, 10_001, false);
    assert!(!rig.takes(&home, star("b")));
    assert!(!rig.takes(&home, no_star("never there")));
    let play = Value::from_json(br#"{"track_id":"t","times":1}"#).unwrap();
    assert!(!rig.takes(&home, Intent::new("play_track".parse().unwrap(), play)));
    let unknown = Intent::new("chat".parse().unwrap(), Value::text("hello"));
    assert!(rig.takes(&home, unknown), "it changes no state");
    is(&rig, 10_001, true);
    assert!(rig.takes(&home, no_star("a")));
    assert!(!rig.takes(&home, star("b")));
    is(&rig, 9_000, false);
    assert!(!rig.takes(&home, star("b")), "nobody is asked so soon");
    rig.outside.set_now(11_000);
    assert!(rig.takes(&home, star("b")));
    is(&rig, 10_001, false);
    assert!(
        !rig.takes(&home, star("c")),
        "it is asked after each commit"
    );
    is(&rig, 9_000, false);
    assert!(rig.takes(&stream("other"), star("c")));
}
