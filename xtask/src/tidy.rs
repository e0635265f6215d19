//! Style as a test: what no compiler checks. Every rule says what is wrong, where, and what to do,
//! and has a bad sample among its tests. Findings are made from a [`Tree`] in memory, so that the
//! samples need no files.

mod calls;
mod conformance;
mod promises;
mod rooms;
mod shape;
mod source;
mod words;

use std::fmt;

use crate::failure::Failure;
use crate::project::Project;
use crate::tidy::source::Tree;

pub(crate) struct Finding {
    file: String,
    line: usize,
    what: String,
    remedy: &'static str,
}

impl Finding {
    fn new(
        file: impl Into<String>,
        line: usize,
        what: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self {
            file: file.into(),
            line,
            what: what.into(),
            remedy,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}\n    {}",
            self.file, self.line, self.what, self.remedy
        )
    }
}

type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [(&str, Rule); 12] = [
    ("rooms use only the rooms below them", rooms::imports),
    ("pure crates stay pure", rooms::purity),
    ("rumqttd is named in one file", rooms::bus),
    ("time is an argument", calls::ambient_time),
    ("nobody sleeps", calls::sleeps),
    ("libraries do not print", calls::prints),
    ("nothing is left for later", calls::leftovers),
    ("short functions and files", shape::lengths),
    ("no dead files", shape::dead_files),
    ("no words that do not belong", words::unwanted),
    ("every rule of a SPEC has a test", promises::quoted),
    (
        "rows of the conformance table name tests",
        conformance::rows,
    ),
];

pub(crate) fn run(project: &Project) -> Result<(), Failure> {
    let tree = Tree::read(project.root())
        .map_err(|error| Failure::new(format!("reading the repository: {error}")))?;
    let mut count = 0;
    for (name, rule) in RULES {
        let findings = rule(&tree);
        if !findings.is_empty() {
            println!("{name}:");
        }
        for finding in &findings {
            println!("  {finding}");
        }
        count += findings.len();
    }
    match count {
        0 => {
            println!(
                "tidy: {} rules, {} files, nothing found",
                RULES.len(),
                tree.len()
            );
            Ok(())
        }
        _ => Err(Failure::new(format!("tidy: {count} findings"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one rule over samples of (path, text).
    pub(super) fn findings(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        let tree = Tree::of(files.collect());
        rule(&tree)
            .iter()
            .map(|finding| format!("{}:{}", finding.file, finding.line))
            .collect()
    }

    #[test]
    fn a_finding_says_where_what_and_the_remedy() {
        let finding = Finding::new("a.rs", 3, "is wrong", "do it right");
        assert_eq!(finding.to_string(), "a.rs:3: is wrong\n    do it right");
    }
}
