//! The figures under `$SYS/broker/`, by the names that Mosquitto's users know. Pure: figures come in, topics and texts go out.

use std::time::Duration;

use super::counters::{self, Count, Counters};

/// Over how many minutes a load is averaged.
const LOADS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// What is told, and of what the load is.
const TRAFFIC: [(Count, &str, &str); 6] = [
    (Count::PacketsIn, "messages/received", "messages/received"),
    (Count::PacketsOut, "messages/sent", "messages/sent"),
    (
        Count::PublishIn,
        "publish/messages/received",
        "publish/received",
    ),
    (Count::PublishOut, "publish/messages/sent", "publish/sent"),
    (Count::BytesIn, "bytes/received", "bytes/received"),
    (Count::BytesOut, "bytes/sent", "bytes/sent"),
];

/// Everything that is dropped or refused, by reason.
const LOSSES: [(Count, &str); 7] = [
    (Count::DroppedSlow, "slow"),
    (Count::RefusedSlow, "slow refused"),
    (Count::RefusedQueueFull, "queue full"),
    (Count::RefusedRetained, "retained full"),
    (Count::Expired, "expired"),
    (Count::TooLargeForClient, "too large for client"),
    (Count::NotGranted, "not granted"),
];

/// How things stand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) uptime: Duration,
    pub(crate) connected: usize,
    /// Sessions that are kept and not connected.
    pub(crate) disconnected: usize,
    pub(crate) subscriptions: usize,
    pub(crate) retained: usize,
    /// Messages that wait in the store.
    pub(crate) waiting: u64,
    /// What the sequencer refused, by [`counters::STREAMS`].
    pub(crate) streams: [u64; counters::STREAMS.len()],
    /// What the bus lost, by [`counters::BUS`].
    pub(crate) bus: [u64; counters::BUS.len()],
}

/// What was told before, for the loads.
#[derive(Debug, Default)]
pub(crate) struct Sys {
    last: [u64; TRAFFIC.len()],
    loads: [[f64; LOADS.len()]; TRAFFIC.len()],
    connected_max: usize,
}

impl Sys {
    /// What is told now, `passed` after the last time: topics below `$SYS/broker/`, and texts.
    pub(crate) fn tell(
        &mut self,
        figures: &Figures,
        counters: &Counters,
        passed: Duration,
    ) -> Vec<(String, String)> {
        self.connected_max = self.connected_max.max(figures.connected);
        let mut told = self.standing(figures);
        let say = |topic: String, number: u64| (topic, number.to_string());
        told.push(say(
            "publish/messages/dropped".to_owned(),
            counters.dropped(),
        ));
        for (what, name) in LOSSES {
            let topic = format!("publish/messages/dropped/{name}");
            told.push(say(topic, counters.of(what)));
        }
        for (what, name) in counters::TOLD {
            told.push(say(format!("syncline/{name}"), counters.of(what)));
        }
        let streams = counters::STREAMS.into_iter().zip(figures.streams);
        for (name, number) in streams.chain(counters::BUS.into_iter().zip(figures.bus)) {
            told.push(say(format!("syncline/{name}"), number));
        }
        for (at, (what, name, load)) in TRAFFIC.into_iter().enumerate() {
            let count = counters.of(what);
            told.push(say(name.to_owned(), count));
            let more = count.saturating_sub(std::mem::replace(&mut self.last[at], count));
            told.extend(self.load(at, load, more, passed));
        }
        told
    }

    fn standing(&self, figures: &Figures) -> Vec<(String, String)> {
        let total = figures.connected + figures.disconnected;
        let stored = figures.retained as u64 + figures.waiting;
        let version = concat!("syncline version ", env!("CARGO_PKG_VERSION"));
        let uptime = format!("{} seconds", figures.uptime.as_secs());
        [
            ("version", version.to_owned()),
            ("uptime", uptime),
            ("clients/connected", figures.connected.to_string()),
            ("clients/active", figures.connected.to_string()),
            ("clients/disconnected", figures.disconnected.to_string()),
            ("clients/inactive", figures.disconnected.to_string()),
            ("clients/total", total.to_string()),
            ("clients/maximum", self.connected_max.to_string()),
            ("subscriptions/count", figures.subscriptions.to_string()),
            ("retained messages/count", figures.retained.to_string()),
            ("store/messages/count", stored.to_string()),
        ]
        .map(|(topic, text)| (topic.to_owned(), text))
        .into()
    }

    /// Per minute, averaged so that what is longer ago counts less.
    fn load(
        &mut self,
        at: usize,
        name: &str,
        more: u64,
        passed: Duration,
    ) -> Vec<(String, String)> {
        let minutes = passed.as_secs_f64() / 60.0;
        let rate = if minutes > 0.0 {
            more as f64 / minutes
        } else {
            0.0
        };
        let averages = LOADS.iter().zip(&mut self.loads[at]);
        let told = averages.map(|((span, of), average)| {
            let stays = (-minutes / of).exp();
            *average = *average * stays + rate * (1.0 - stays);
            (format!("load/{name}/{span}"), format!("{average:.2}"))
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sys: &mut Sys, counters: &Counters) -> Vec<(String, String)> {
        let figures = Figures {
            uptime: Duration::from_secs(61),
            connected: 3,
            disconnected: 2,
            retained: 5,
            waiting: 7,
            ..Figures::default()
        };
        sys.tell(&figures, counters, Duration::from_secs(60))
    }

    fn value(told: &[(String, String)], topic: &str) -> String {
        let found = told.iter().find(|(it, _)| it == topic);
        found
            .unwrap_or_else(|| panic!("{topic} in {told:?}"))
            .1
            .clone()
    }

    #[test]
    fn the_figures_have_the_names_that_users_of_mosquitto_know() {
        let counters = Counters::default();
        counters.add(Count::BytesIn, 50);
        counters.count(Count::DroppedSlow);
        let told = told(&mut Sys::default(), &counters);
        for (topic, text) in [
            ("uptime", "61 seconds"),
            ("clients/connected", "3"),
            ("clients/total", "5"),
            ("bytes/received", "50"),
            ("messages/sent", "0"),
            ("publish/messages/received", "0"),
            ("publish/messages/dropped", "1"),
            ("publish/messages/dropped/slow", "1"),
            ("retained messages/count", "5"),
            ("store/messages/count", "12"),
            ("subscriptions/count", "0"),
        ] {
            assert_eq!(value(&told, topic), text, "{topic}");
        }
        assert!(value(&told, "version").starts_with("syncline version "));
    }

    #[test]
    fn a_load_comes_near_to_a_steady_rate_and_forgets_it() {
        let (mut sys, counters) = (Sys::default(), Counters::default());
        let mut load = |more| {
            counters.add(Count::PublishIn, more);
            let told = told(&mut sys, &counters);
            value(&told, "load/publish/received/1min")
                .parse::<f64>()
                .unwrap()
        };
        assert!((load(100) - 63.21).abs() < 0.01);
        let steady = (0..20).map(|_| load(100)).last().unwrap();
        assert!((steady - 100.0).abs() < 0.01);
        let gone = (0..20).map(|_| load(0)).last().unwrap();
        assert!(gone < 0.01);
    }
}
