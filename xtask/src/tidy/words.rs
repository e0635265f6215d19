//! Words that do not belong into the repository: tests switched off, notes to oneself, and the
//! paths of somebody's machine.

use crate::tidy::Finding;
use crate::tidy::source::{Source, Tree, is_word, whole_words};

const NOTES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];
const PLACES: [&str; 4] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt"),
];

pub(super) fn unwanted(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.all() {
        findings.extend(ignored_tests(source));
        findings.extend(notes(source));
        findings.extend(places(source));
    }
    findings
}

fn ignored_tests(source: &Source) -> Vec<Finding> {
    let remedy = "make it pass or take it out";
    let ignored = source.code.match_indices("#[ignore");
    ignored
        .map(|(at, _)| found(source, at, "a test is switched off", remedy))
        .collect()
}

/// In Rust only comments can hold a note; elsewhere every line can.
fn notes(source: &Source) -> Vec<Finding> {
    let text = if source.is_rust() {
        &source.words
    } else {
        &source.text
    };
    let notes = NOTES.iter().flat_map(|note| whole_words(text, note));
    notes
        .map(|at| found(source, at, "a note to oneself", "do it, or file an issue"))
        .collect()
}

fn places(source: &Source) -> Vec<Finding> {
    let remedy = "name it relative to the repository";
    let places = PLACES
        .iter()
        .flat_map(|place| source.text.match_indices(place));
    // A path of a machine begins at its root, unlike `sync/home/events` and `{id}/home/events`.
    let is_inside = |at: usize| source.text[..at].ends_with(|c| is_word(c) || "}>/+.".contains(c));
    places
        .filter(|(at, _)| !is_inside(*at))
        .map(|(at, _)| found(source, at, "a path of one machine", remedy))
        .collect()
}

fn found(source: &Source, at: usize, what: &str, remedy: &'static str) -> Finding {
    Finding::new(&source.path, source.line(at), what, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings;

    #[test]
    fn an_ignored_test_is_found() {
        for text in ["#[ignore]\nfn f() {}", "#[ignore = \"slow\"]\nfn f() {}"] {
            assert_eq!(findings(unwanted, &[("a.rs", text)]), ["a.rs:1"]);
        }
        assert!(findings(unwanted, &[("a.rs", "let a = \"#[ignore]\";")]).is_empty());
    }

    #[test]
    fn notes_are_found_in_comments_and_in_other_files() {
        for note in NOTES {
            assert_eq!(
                findings(unwanted, &[("a.rs", &format!("\n// {note}: x"))]),
                ["a.rs:2"]
            );
            assert_eq!(
                findings(unwanted, &[("a.ts", &format!("// {note}"))]),
                ["a.ts:1"]
            );
        }
    }

    #[test]
    fn machine_paths_are_found_everywhere() {
        for place in PLACES {
            let text = format!("let path = \"{place}x\";");
            assert_eq!(
                findings(unwanted, &[("a.rs", &text)]),
                ["a.rs:1"],
                "{place}"
            );
            assert_eq!(
                findings(unwanted, &[("a.md", &text)]),
                ["a.md:1"],
                "{place}"
            );
        }
    }
}
