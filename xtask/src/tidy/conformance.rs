//! Each row of `docs/mqtt-conformance.md` names tests that exist, or says that there is none, or why none is needed.

use std::collections::HashSet;

use crate::tidy::Finding;
use crate::tidy::source::{Source, Tree};

const TABLE: &str = "docs/mqtt-conformance.md";

/// How a row begins that names no test.
const WITHOUT: [&str; 2] = ["untested", "n/a:"];

pub(super) fn rows(tree: &Tree) -> Vec<Finding> {
    let Some(table) = tree.get(TABLE) else {
        return Vec::new();
    };
    let tests: HashSet<&str> = tree.rust().flat_map(test_names).collect();
    let mut findings = Vec::new();
    for (line, shown_by) in shown_by(table) {
        let names: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        let missing = names.iter().filter(|name| !tests.contains(*name));
        findings.extend(missing.map(|name| {
            let what = format!("no test is called {name}");
            Finding::new(
                TABLE,
                line,
                what,
                "name the test that shows it, or say untested",
            )
        }));
        let says_so = WITHOUT.iter().any(|word| shown_by.starts_with(word));
        if names.is_empty() && !says_so {
            let what = "names no test".to_owned();
            let remedy =
                "name one in backticks, or begin with `untested` or `n/a: ` and the reason";
            findings.push(Finding::new(TABLE, line, what, remedy));
        }
    }
    findings
}

/// The last cell of every row about a statement, with its line.
fn shown_by(table: &Source) -> impl Iterator<Item = (usize, &str)> {
    table.text.lines().enumerate().filter_map(|(index, line)| {
        let row = line.strip_prefix("| MQTT-")?.trim_end().strip_suffix('|')?;
        let (_, last) = row.rsplit_once('|')?;
        Some((index + 1, last.trim()))
    })
}

/// The names of functions after an attribute that makes them tests.
fn test_names(source: &Source) -> impl Iterator<Item = &str> {
    let parts = source.text.split("#[test]").skip(1);
    let tokio = source.text.split("#[tokio::test").skip(1);
    parts.chain(tokio).filter_map(|part| {
        let (_, rest) = part.split_once("fn ")?;
        rest.split_once('(').map(|(name, _)| name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings;

    const TEST: &str =
        "#[test]\nfn it_is_shown() {}\n#[tokio::test]\nasync fn so_is_this() {}\nfn helper() {}";

    fn found(table: &str) -> Vec<String> {
        findings(rows, &[(TABLE, table), ("tests/tests/a.rs", TEST)])
    }

    #[test]
    fn a_row_with_a_test_that_does_not_exist_is_found() {
        let table = "| id | what | shown by |\n| --- | --- | --- |\n| MQTT-1.5.4-1 | x | `it_is_shown`, `helper` |\n";
        assert_eq!(found(table), ["docs/mqtt-conformance.md:3"]);
    }

    #[test]
    fn a_row_that_says_nothing_is_found() {
        assert_eq!(
            found("| MQTT-1.5.4-1 | x |  |\n"),
            ["docs/mqtt-conformance.md:1"]
        );
        assert_eq!(
            found("| MQTT-1.5.4-1 | x | surely |\n"),
            ["docs/mqtt-conformance.md:1"]
        );
    }

    #[test]
    fn a_row_names_tests_or_says_that_there_is_none() {
        let table = "| MQTT-1 | x | `it_is_shown`, `so_is_this` |\n| MQTT-2 | x | untested |\n| MQTT-3 | x | n/a: for clients |\n";
        assert_eq!(found(table), [""; 0]);
    }
}
