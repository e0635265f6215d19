//! How the broker's process and its files are, from sample to sample.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use syncline_tests::broker::Broker;

/// How much more than in the first half of the samples may be in the second: memory in percent and in bytes, files in number, bytes
/// on disk in percent.
const MEMORY_PERCENT: u64 = 10;
const MEMORY_BYTES: u64 = 4 << 20;
const OPEN_FILES: u64 = 32;
const DISK_PERCENT: u64 = 50;
const DISK_BYTES: u64 = 8 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    at: Duration,
    pub(crate) resident_bytes: u64,
    pub(crate) open_files: u64,
    pub(crate) disk_bytes: u64,
}

/// Samples that may be compared: each as long after a start as the others, or all of one process.
#[derive(Debug)]
pub(crate) struct Health {
    begin: Instant,
    samples: Vec<Sample>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            begin: Instant::now(),
            samples: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self, broker: &Broker) -> Sample {
        let sample = Sample {
            at: self.begin.elapsed(),
            resident_bytes: broker.resident_bytes(),
            open_files: broker.process().open_files() as u64,
            disk_bytes: bytes_below(broker.data()),
        };
        self.samples.push(sample);
        sample
    }

    /// What grew; nothing when all is flat.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let (first, second) = self.samples.split_at(self.samples.len() / 2);
        if first.is_empty() {
            return Vec::new();
        }
        let figures: [(&str, Figure, u64, u64); 3] = [
            (
                "resident bytes",
                |it| it.resident_bytes,
                MEMORY_PERCENT,
                MEMORY_BYTES,
            ),
            ("open files", |it| it.open_files, 0, OPEN_FILES),
            (
                "bytes on disk",
                |it| it.disk_bytes,
                DISK_PERCENT,
                DISK_BYTES,
            ),
        ];
        let mut wrong = Vec::new();
        for (name, figure, percent, more) in figures {
            let (before, now) = (median(first, figure), median(second, figure));
            if now > before + before * percent / 100 + more {
                wrong.push(format!("{name} grew from {before} to {now}"));
            }
        }
        wrong
    }

    /// KiB of memory a minute, as a straight line through the samples.
    pub(crate) fn slope_kib(&self) -> f64 {
        let count = self.samples.len() as f64;
        let minutes = |it: &Sample| it.at.as_secs_f64() / 60.0;
        let kib = |it: &Sample| it.resident_bytes as f64 / 1_024.0;
        let mean = |of: &dyn Fn(&Sample) -> f64| self.samples.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(&minutes), mean(&kib));
        let both = |it: &Sample| (minutes(it) - x) * (kib(it) - y);
        let spread = |it: &Sample| (minutes(it) - x).powi(2);
        let (rise, run) = (mean(&both), mean(&spread));
        if run > 0.0 { rise / run } else { 0.0 }
    }
}

type Figure = fn(&Sample) -> u64;

fn median(samples: &[Sample], figure: Figure) -> u64 {
    let mut figures: Vec<u64> = samples.iter().map(figure).collect();
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(it) if it.is_dir() => bytes_below(&entry.path()),
        Ok(it) => it.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(mebibytes: &[u64]) -> Health {
        let sample = |(at, resident): (usize, &u64)| Sample {
            at: Duration::from_secs(60 * at as u64),
            resident_bytes: resident << 20,
            open_files: 50,
            disk_bytes: 1 << 20,
        };
        Health {
            begin: Instant::now(),
            samples: mebibytes.iter().enumerate().map(sample).collect(),
        }
    }

    #[test]
    fn what_is_flat_is_well_and_what_grows_is_not() {
        assert!(health(&[50, 52, 49, 51, 50, 52]).wrong().is_empty());
        let growing = health(&[50, 60, 70, 80, 90, 100]);
        assert!(growing.wrong()[0].starts_with("resident bytes grew"));
        assert!((growing.slope_kib() - 10_240.0).abs() < 1.0);
    }
}
