//! The table.

use std::fmt;

use crate::after::After;
use crate::calm::{Latencies, Percentiles};

/// More than this is marked.
const RATIO_MAX: f64 = 2.0;

pub(crate) const HEADER: &str = "\
                                      sync/ events, us: sink -> broker          ordinary, us: sink -> broker            memory, KiB
attack                       conns    p50            x     p99            x     p50            x     p99            x   before > after";

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) connections: u64,
    pub(crate) unable: u64,
    pub(crate) megabytes: u64,
    pub(crate) control: Latencies,
    pub(crate) attacked: Latencies,
    pub(crate) refused: Vec<(String, u64)>,
    pub(crate) after: After,
}

impl Row {
    fn pairs(&self) -> [(u64, u64); 4] {
        let both = |it: fn(&Latencies) -> Percentiles| (it(&self.control), it(&self.attacked));
        let (events, ordinary) = (both(|it| it.events), both(|it| it.ordinary));
        [
            (events.0.p50_us, events.1.p50_us),
            (events.0.p99_us, events.1.p99_us),
            (ordinary.0.p50_us, ordinary.1.p50_us),
            (ordinary.0.p99_us, ordinary.1.p99_us),
        ]
    }

    fn is_calm(&self) -> bool {
        self.pairs().iter().all(|pair| ratio(*pair) <= RATIO_MAX)
    }
}

fn ratio((control, attacked): (u64, u64)) -> f64 {
    attacked as f64 / control.max(1) as f64
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<27}{:>7}", self.name, self.connections)?;
        for pair in self.pairs() {
            let ratio = ratio(pair);
            let mark = if ratio > RATIO_MAX { '!' } else { ' ' };
            write!(f, " {:>6} {:>6}{ratio:>5.1}{mark}", pair.0, pair.1)?;
        }
        let after = &self.after;
        let (before, now) = (after.before_bytes >> 10, after.after_bytes >> 10);
        write!(f, "  {before:>7} {now:>7} {:+} %", after.percent())?;
        if self.megabytes > 0 {
            write!(f, "\n    {} MiB were taken", self.megabytes)?;
        }
        if self.unable > 0 {
            write!(f, "\n    {} connections could not be opened", self.unable)?;
        }
        for (name, count) in &self.refused {
            write!(f, "\n    counted: {name} {count}")?;
        }
        for wrong in after.wrong() {
            write!(f, "\n    WRONG: {wrong}")?;
        }
        Ok(())
    }
}

/// Whether nothing was wrong; `whole`: of the whole run, from the end of the warm-up on.
pub(crate) fn verdict(rows: &[Row], whole: &After) -> bool {
    let (before, now) = (whole.before_bytes >> 10, whole.after_bytes >> 10);
    let percent = whole.percent();
    println!("hostile: memory over all attacks, KiB: {before} > {now}, {percent:+} %");
    let slower: Vec<_> = rows.iter().filter(|it| !it.is_calm()).collect();
    if slower.is_empty() {
        println!(
            "hostile: nobody waited more than {RATIO_MAX} times as long as in the control runs"
        );
    } else {
        let names: Vec<_> = slower.iter().map(|it| it.name).collect();
        let names = names.join(", ");
        println!("hostile: more than {RATIO_MAX} times the control run's latency: {names}");
    }
    let each = rows.iter().map(|row| (row.name, row.after.wrong()));
    let wrong: Vec<_> = each
        .chain([("all of them", whole.wrong())])
        .filter(|(_, wrong)| !wrong.is_empty())
        .collect();
    for (name, wrong) in &wrong {
        println!("hostile: FAILED: {name}: {}", wrong.join("; "));
    }
    if wrong.is_empty() {
        println!(
            "hostile: {} attacks, broker alive, no thread gone, no message lost, memory back",
            rows.len()
        );
    }
    wrong.is_empty()
}
