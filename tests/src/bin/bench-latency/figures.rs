//! Percentiles of a round, medians of rounds, and ratios of medians.

use std::fmt;
use std::time::Duration;

/// In microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
}

pub(crate) fn percentiles(mut taken: Vec<Duration>) -> Percentiles {
    taken.sort();
    let at = |percent: usize| {
        let index = (taken.len() * percent / 100).min(taken.len().saturating_sub(1));
        taken.get(index).map_or(0, |time| time.as_micros() as u64)
    };
    Percentiles {
        p50: at(50),
        p99: at(99),
    }
}

pub(crate) struct Round {
    acknowledged: Percentiles,
    delivered: Percentiles,
    bytes: (usize, usize),
}

impl Round {
    pub(crate) fn of(
        acknowledged: Vec<Duration>,
        delivered: Vec<Duration>,
        bytes: (usize, usize),
    ) -> Self {
        let (acknowledged, delivered) = (percentiles(acknowledged), percentiles(delivered));
        Self {
            acknowledged,
            delivered,
            bytes,
        }
    }

    fn figures(&self) -> [u64; 4] {
        [
            self.delivered.p50,
            self.delivered.p99,
            self.acknowledged.p50,
            self.acknowledged.p99,
        ]
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [delivered_p50, delivered_p99, acked_p50, acked_p99] = self.figures();
        write!(
            f,
            "delivery p50 {delivered_p50:>5} p99 {delivered_p99:>5} us, PUBACK p50 {acked_p50:>5} p99 {acked_p99:>5} us"
        )
    }
}

/// The rounds of both brokers at one window.
pub(crate) struct Table {
    window: usize,
    rounds: Vec<(&'static str, Round)>,
}

const COLUMNS: [&str; 4] = ["delivery p50", "delivery p99", "PUBACK p50", "PUBACK p99"];

impl Table {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window,
            rounds: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &'static str, round: Round) {
        self.rounds.push((name, round));
    }

    fn median(&self, name: &str, column: usize) -> u64 {
        let mut figures: Vec<u64> = self.of(name).map(|round| round.figures()[column]).collect();
        figures.sort_unstable();
        figures.get(figures.len() / 2).copied().unwrap_or(0)
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Round> + 'a {
        self.rounds
            .iter()
            .filter(move |(known, _)| *known == name)
            .map(|(_, round)| round)
    }

    fn sizes(&self, name: &str) -> (usize, usize) {
        self.of(name).next().map_or((0, 0), |round| round.bytes)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = self.sizes("syncline");
        let theirs = self.sizes("mosquitto");
        writeln!(
            f,
            "\n{} in flight, medians over the rounds in us",
            self.window
        )?;
        writeln!(
            f,
            "payload bytes sent / delivered: syncline {} / {}, mosquitto {} / {}",
            ours.0, ours.1, theirs.0, theirs.1
        )?;
        writeln!(
            f,
            "{:<14} {:>9} {:>10} {:>7}",
            "", "syncline", "mosquitto", "ratio"
        )?;
        for (column, title) in COLUMNS.iter().enumerate() {
            let (ours, theirs) = (
                self.median("syncline", column),
                self.median("mosquitto", column),
            );
            let ratio = ours as f64 / theirs.max(1) as f64;
            writeln!(f, "{title:<14} {ours:>9} {theirs:>10} {ratio:>7.2}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_the_sorted_times() {
        let taken = (1..=100).rev().map(Duration::from_micros).collect();
        let Percentiles { p50, p99 } = percentiles(taken);
        assert_eq!((p50, p99), (51, 100));
        assert_eq!(percentiles(Vec::new()).p50, 0);
    }

    #[test]
    fn medians_and_ratios_are_of_the_rounds() {
        let mut table = Table::new(1);
        for (ours, theirs) in [(400, 100), (600, 200), (500, 900)] {
            let times = |us| vec![Duration::from_micros(us)];
            table.add("syncline", Round::of(times(ours), times(ours), (80, 200)));
            table.add(
                "mosquitto",
                Round::of(times(theirs), times(theirs), (80, 80)),
            );
        }
        assert_eq!(
            (table.median("syncline", 0), table.median("mosquitto", 0)),
            (500, 200)
        );
        assert!(table.to_string().contains("2.50"), "{table}");
    }
}
