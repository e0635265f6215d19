//! Well-behaved clients: one that publishes, one that follows, of events and of an ordinary topic.

use std::io;
use std::time::{Duration, Instant};

use syncline_tests::broker::Broker;
use syncline_tests::star::Star;
use syncline_tests::wait;
use syncline_tests::wire::{Connect, Version, Wire};

const EVENTS: &str = "sync/calm/events";
const ORDINARY: &str = "calm/ordinary";
/// Between two messages.
const PACE: Duration = Duration::from_millis(5);

/// From a PUBLISH to its delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Latencies {
    pub(crate) events: Percentiles,
    pub(crate) ordinary: Percentiles,
}

pub(crate) struct Calm {
    publisher: Wire,
    follower: Wire,
}

impl Calm {
    /// For so long; an error when a message does not come.
    pub(crate) fn measure(broker: &Broker, time: Duration) -> io::Result<Latencies> {
        let mut calm = Self::start(broker)?;
        let (mut events, mut ordinary) = (Vec::new(), Vec::new());
        let begin = Instant::now();
        let mut at = 0_u64;
        while begin.elapsed() < time {
            at += 1;
            let star = Star::album(&format!("album-{}", at % 100)).with("at", at.into());
            events.push(calm.message(EVENTS, star.json().as_bytes())?);
            ordinary.push(calm.message(ORDINARY, at.to_string().as_bytes())?);
            wait::let_pass(PACE);
        }
        Ok(Latencies {
            events: percentiles(events),
            ordinary: percentiles(ordinary),
        })
    }

    fn start(broker: &Broker) -> io::Result<Self> {
        let connect = |name| Wire::connect(broker.mqtt(), &Connect::new(Version::V5, name));
        let (publisher, mut follower) = (connect("calm-publisher")?, connect("calm-follower")?);
        follower.subscribe_all(&[(EVENTS, 1), (ORDINARY, 1)])?;
        Ok(Self {
            publisher,
            follower,
        })
    }

    fn message(&mut self, topic: &str, payload: &[u8]) -> io::Result<Duration> {
        let begin = Instant::now();
        let id = self.publisher.send(topic, payload)?;
        let message = self.follower.message()?;
        let taken = begin.elapsed();
        let answer = self.publisher.puback(id)?;
        if message.topic == topic && answer.code == 0 {
            Ok(taken)
        } else {
            let what = format!(
                "{topic} was answered with {answer:?}, delivered on {}",
                message.topic
            );
            Err(io::Error::other(what))
        }
    }
}

fn percentiles(mut taken: Vec<Duration>) -> Percentiles {
    taken.sort_unstable();
    let at = |percent: usize| {
        let found = taken.get(taken.len() * percent / 100);
        found.or(taken.last()).map_or(0, |it| it.as_micros() as u64)
    };
    Percentiles {
        p50_us: at(50),
        p99_us: at(99),
    }
}
