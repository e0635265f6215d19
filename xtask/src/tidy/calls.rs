//! Calls that have no place: ambient time, sleeping, printing from a library, and leftovers.

use crate::tidy::Finding;
use crate::tidy::source::{Source, Tree};

/// Where the clock may be read: drivers, which pass `now` on, and programs that measure.
const CLOCKS: &[&str] = &[
    "broker/src/admin/",
    "broker/src/compactor/thread.rs",
    "broker/src/edge/connection.rs",
    "broker/src/fuzzing.rs",
    "broker/src/router/",
    "broker/src/run.rs",
    "client-sdk/rust/src/ambient.rs",
    "fuzz/",
    "tests/",
    "xtask/",
];

/// The one place that may pause between two looks at a condition.
const WAITING: &str = "tests/src/wait.rs";

/// Libraries and the rooms of the broker; programs print, libraries return.
const LIBRARIES: [&str; 5] = [
    "protocol/src/",
    "broker/src/",
    "client-sdk/core/src/",
    "client-sdk/rust/src/",
    "tests/src/",
];
const PRINTERS: [&str; 3] = ["broker/src/main.rs", "broker/src/cli.rs", "tests/src/bin/"];

pub(super) fn ambient_time(tree: &Tree) -> Vec<Finding> {
    let remedy = "take `now` as an argument; drivers are listed in xtask/src/tidy/calls.rs";
    let elsewhere = |source: &Source, at| !starts(&source.path, CLOCKS) && !source.is_test_at(at);
    find(
        tree,
        &["SystemTime::now", "Instant::now"],
        elsewhere,
        remedy,
    )
}

pub(super) fn sleeps(tree: &Tree) -> Vec<Finding> {
    let remedy = "wait for the condition with a deadline (syncline_tests::wait)";
    let elsewhere = |source: &Source, _: usize| source.path != WAITING;
    let mut findings = find(tree, &["thread::sleep", "sleep_ms"], elsewhere, remedy);
    let in_test = |source: &Source, at| source.path != WAITING && source.is_test_at(at);
    findings.extend(find(
        tree,
        &["time::sleep", "tokio::time::sleep_until"],
        in_test,
        remedy,
    ));
    findings
}

pub(super) fn prints(tree: &Tree) -> Vec<Finding> {
    let remedy = "return it, or log it with tracing";
    let in_library = |source: &Source, at| {
        starts(&source.path, &LIBRARIES)
            && !starts(&source.path, &PRINTERS)
            && (!source.is_test_at(at) || source.path.starts_with("tests/src/"))
    };
    find(
        tree,
        &["println!", "print!", "eprintln!", "eprint!"],
        in_library,
        remedy,
    )
}

pub(super) fn leftovers(tree: &Tree) -> Vec<Finding> {
    let remedy = "finish it or take it out";
    find(
        tree,
        &["todo!", "unimplemented!", "dbg!"],
        |_, _| true,
        remedy,
    )
}

fn starts(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

fn find(
    tree: &Tree,
    calls: &[&str],
    applies: impl Fn(&Source, usize) -> bool,
    remedy: &'static str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.rust() {
        let uses = calls
            .iter()
            .flat_map(|call| source.uses(call).map(move |at| (*call, at)));
        for (call, at) in uses.filter(|(_, at)| applies(source, *at)) {
            findings.push(Finding::new(
                &source.path,
                source.line(at),
                format!("calls {call}"),
                remedy,
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings;

    #[test]
    fn ambient_time_outside_drivers_is_found() {
        let bad = [(
            "broker/src/edge/session.rs",
            "\nlet t = std::time::Instant::now();",
        )];
        assert_eq!(
            findings(ambient_time, &bad),
            ["broker/src/edge/session.rs:2"]
        );
        let good = [
            ("broker/src/run.rs", "Instant::now()"),
            (
                "broker/src/store/a.rs",
                "// Instant::now\n#[cfg(test)]\nmod t { fn f() { Instant::now(); } }",
            ),
        ];
        assert!(findings(ambient_time, &good).is_empty());
    }

    #[test]
    fn sleeping_is_found() {
        let bad = [
            ("broker/src/run.rs", "std::thread::sleep(second)"),
            (
                "tests/tests/e2e/main.rs",
                "tokio::time::sleep(second).await",
            ),
        ];
        for sample in bad {
            assert_eq!(findings(sleeps, &[sample]).len(), 1, "{}", sample.1);
        }
        let good = [
            (WAITING, "thread::sleep(pause)"),
            ("broker/src/edge/a.rs", "time::sleep(x)"),
        ];
        assert!(findings(sleeps, &good).is_empty());
    }

    #[test]
    fn a_library_that_prints_is_found() {
        for text in ["println!(\"x\")", "eprintln!(\"x\")", "print!(\"x\")"] {
            assert_eq!(
                findings(prints, &[("broker/src/edge/a.rs", text)]).len(),
                1,
                "{text}"
            );
            assert_eq!(
                findings(prints, &[("tests/src/lib.rs", text)]).len(),
                1,
                "{text}"
            );
        }
        let good = [
            ("broker/src/main.rs", "println!()"),
            ("xtask/src/main.rs", "println!()"),
            ("client-sdk/rust/examples/quickstart.rs", "println!()"),
            (
                "protocol/src/a.rs",
                "//! `println!` is not called\nwriteln!(f)",
            ),
        ];
        assert!(findings(prints, &good).is_empty());
    }

    #[test]
    fn leftovers_are_found() {
        for text in ["todo!()", "unimplemented!()", "dbg!(x)"] {
            assert_eq!(
                findings(leftovers, &[("protocol/src/a.rs", text)]).len(),
                1,
                "{text}"
            );
        }
        assert!(findings(leftovers, &[("protocol/src/a.rs", "let a = \"todo!()\";")]).is_empty());
    }
}
