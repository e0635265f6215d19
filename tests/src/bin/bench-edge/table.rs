//! Medians of the rounds, and their ratios to those of the first broker.

use std::fmt;

/// Figures by what was measured, of whom.
pub(crate) struct Table {
    names: Vec<&'static str>,
    titles: Vec<&'static str>,
    figures: Vec<(&'static str, &'static str, f64)>,
}

impl Table {
    /// Ratios are to the first of the names.
    pub(crate) fn new(names: Vec<&'static str>) -> Self {
        Self {
            names,
            titles: Vec::new(),
            figures: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, title: &'static str, name: &'static str, figure: f64) {
        if !self.titles.contains(&title) {
            self.titles.push(title);
        }
        self.figures.push((title, name, figure));
    }

    fn median(&self, title: &str, name: &str) -> Option<f64> {
        let of_it = self.figures.iter();
        let mut figures: Vec<f64> = of_it
            .filter(|(known, of, _)| *known == title && *of == name)
            .map(|(_, _, figure)| *figure)
            .collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    }

    fn row(&self, title: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{title:<30}")?;
        let base = self.names.first().and_then(|name| self.median(title, name));
        for (at, name) in self.names.iter().enumerate() {
            match self.median(title, name) {
                None => write!(f, "{:>12}", "-")?,
                Some(figure) => write!(f, "{figure:>12.0}")?,
            }
            if at > 0 {
                let ratio = self
                    .median(title, name)
                    .zip(base)
                    .map(|(it, base)| it / base);
                match ratio {
                    None => write!(f, "{:>7}", "-")?,
                    Some(ratio) => write!(f, "{ratio:>7.2}")?,
                }
            }
        }
        writeln!(f)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<30}", "")?;
        for (at, name) in self.names.iter().enumerate() {
            write!(f, "{name:>12}")?;
            if at > 0 {
                write!(f, "{:>7}", "ratio")?;
            }
        }
        writeln!(f)?;
        self.titles.iter().try_for_each(|title| self.row(title, f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_to_the_first_are_printed() {
        let mut table = Table::new(vec!["theirs", "ours", "nobody"]);
        for (theirs, ours) in [(100.0, 400.0), (200.0, 600.0), (900.0, 500.0)] {
            table.add("rate", "theirs", theirs);
            table.add("rate", "ours", ours);
        }
        assert_eq!(table.median("rate", "theirs"), Some(200.0));
        let text = table.to_string();
        let row: Vec<&str> = text
            .lines()
            .nth(1)
            .unwrap_or("")
            .split_whitespace()
            .collect();
        assert_eq!(row, ["rate", "200", "500", "2.50", "-", "-"]);
    }
}
