//! Who may name whom: the rooms of the broker, the pure crates, and the one file that knows rumqttd.

use crate::tidy::Finding;
use crate::tidy::source::{Source, Tree, closing, is_word, whole_words};

const BROKER: &str = "broker/src/";

/// Each room, and the paths under `crate` that it may name. ARCHITECTURE.md draws the same.
/// Modules that are not listed as a room (`run`, `main`, `lib`) see everything.
const ROOMS: &[(&str, &[&str])] = &[
    ("acl", &[]),
    ("auth", &["acl", "transport"]),
    ("transport", &[]),
    ("store", &[]),
    ("compactor", &["store"]),
    ("router", &["store"]),
    (
        "sequencer",
        &["store", "edge::Submission", "edge::submission"],
    ),
    (
        "edge",
        &[
            "acl",
            "auth",
            "sequencer",
            "store",
            "compactor",
            "router",
            "transport",
        ],
    ),
    ("http", &["edge", "transport"]),
    ("history", &["store", "compactor"]),
    ("admin", &["history"]),
    (
        "config",
        &[
            "auth",
            "edge",
            "sequencer",
            "store",
            "compactor",
            "router",
            "http",
            "transport",
        ],
    ),
];

/// The only file that may name rumqttd.
const BUS: &str = "broker/src/router/bus.rs";

const PURE: [&str; 2] = ["protocol/", "client-sdk/core/"];
const IMPURE: [&str; 16] = [
    "tokio",
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant",
    "rand",
    "getrandom",
    "Uuid::new_v4",
    "rumqttc",
    "rumqttc_v4",
    "rumqttc_v5",
    "rumqttd",
    "redb",
    "mqtt_protocol_core",
];
const IMPURE_CRATES: [&str; 9] = [
    "tokio",
    "rand",
    "getrandom",
    "rumqttc",
    "rumqttc-v4",
    "rumqttc-v5",
    "rumqttd",
    "redb",
    "mqtt-protocol-core",
];

pub(super) fn imports(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.rust() {
        let Some((room, allowed)) = room_of(&source.path) else {
            continue;
        };
        for (at, path) in named_modules(source) {
            let target = path.split("::").next().unwrap_or_default();
            let is_room = ROOMS.iter().any(|(name, _)| *name == target) || target == "run";
            if is_room && target != room && !is_allowed(allowed, &path) {
                let what = format!("{room} names crate::{path}");
                let remedy =
                    "see the table of rooms in xtask/src/tidy/rooms.rs; pass it in from run.rs";
                findings.push(Finding::new(&source.path, source.line(at), what, remedy));
            }
        }
    }
    findings
}

fn room_of(path: &str) -> Option<(&'static str, &'static [&'static str])> {
    let inside = path.strip_prefix(BROKER)?;
    let first = inside.split('/').next()?.trim_end_matches(".rs");
    ROOMS.iter().copied().find(|(name, _)| *name == first)
}

fn is_allowed(allowed: &[&str], path: &str) -> bool {
    allowed.iter().any(|prefix| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// What stands after `crate::`, groups taken apart, and rooms reached by way of `super::`.
fn named_modules(source: &Source) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (prefix, rooms_only) in [("crate::", false), ("super::", true)] {
        let starts = source.code.match_indices(prefix).map(|(at, _)| at);
        let starts = starts.filter(|at| !source.code[..*at].ends_with(is_word));
        for at in starts {
            let paths = paths_at(&source.code, at + prefix.len());
            let is_room = |path: &String| {
                ROOMS
                    .iter()
                    .any(|(name, _)| path.split("::").next() == Some(name))
            };
            // In a room's own root, `super` is the crate; deeper down it may be a room's own module.
            let counts =
                |path: &String| !rooms_only || (is_room(path) && is_near_the_top(source, at));
            named.extend(paths.into_iter().filter(counts).map(|path| (at, path)));
        }
    }
    named
}

/// Whether this `super::` climbs out of the room.
fn is_near_the_top(source: &Source, at: usize) -> bool {
    let climbs = 1 + source.code[..at].ends_with("super::") as usize;
    let inside = source
        .path
        .trim_start_matches(BROKER)
        .trim_end_matches("/mod.rs");
    climbs > inside.matches('/').count() && !source.is_test_at(at)
}

/// `{a::B, c::{D}}` gives `a::B` and `c::D`; `a::B` gives itself.
fn paths_at(code: &str, at: usize) -> Vec<String> {
    if code[at..].starts_with('{') {
        let end = closing(code, at).unwrap_or(code.len());
        return split_group(&code[at + 1..end.saturating_sub(1).max(at + 1)]);
    }
    let length = code[at..]
        .find(|c: char| !is_word(c) && c != ':')
        .unwrap_or(code.len() - at);
    let path = &code[at..at + length];
    match path.strip_suffix("::") {
        Some(head) if code[at + length..].starts_with('{') => {
            let inner = paths_at(code, at + length);
            inner.iter().map(|item| format!("{head}::{item}")).collect()
        }
        _ => vec![path.trim_end_matches(':').to_owned()],
    }
}

fn split_group(group: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut at = 0;
    while at < group.len() {
        let start = at + group[at..].len() - group[at..].trim_start_matches([' ', ',', '\n']).len();
        if start >= group.len() {
            break;
        }
        paths.extend(paths_at(group, start));
        let brace = group[start..].find('{').map(|open| start + open);
        let comma = group[start..]
            .find(',')
            .map_or(group.len(), |comma| start + comma);
        at = match brace {
            Some(open) if open < comma => closing(group, open).unwrap_or(group.len()),
            _ => comma,
        };
        at = group[at..]
            .find(',')
            .map_or(group.len(), |comma| at + comma + 1);
    }
    paths
}

pub(super) fn purity(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree
        .all()
        .filter(|source| PURE.iter().any(|pure| source.path.starts_with(pure)))
    {
        if source.is_rust() {
            findings.extend(impure_code(source));
        } else if source.path.ends_with("Cargo.toml") {
            findings.extend(impure_dependencies(source));
        }
    }
    findings
}

/// Tests of a pure crate may read files (golden ones) and start programs (Node), nothing more.
fn impure_code(source: &Source) -> Vec<Finding> {
    let in_tests = ["std::fs", "std::process"];
    let remedy = "a pure crate takes what it needs as an argument";
    let uses = IMPURE
        .iter()
        .flat_map(|name| source.uses(name).map(move |at| (*name, at)));
    uses.filter(|(name, at)| !(in_tests.contains(name) && source.is_test_at(*at)))
        .map(|(name, at)| {
            Finding::new(
                &source.path,
                source.line(at),
                format!("names {name}"),
                remedy,
            )
        })
        .collect()
}

fn impure_dependencies(source: &Source) -> Vec<Finding> {
    let remedy = "a pure crate has no such dependency; the driver crate has it";
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let name = line.split(['.', ' ', '=']).next()?;
            let is_impure = IMPURE_CRATES.contains(&name);
            is_impure.then(|| {
                Finding::new(
                    &source.path,
                    index + 1,
                    format!("depends on {name}"),
                    remedy,
                )
            })
        })
        .collect()
}

pub(super) fn bus(tree: &Tree) -> Vec<Finding> {
    let remedy = "only the router's bus.rs may know which library carries it";
    let others = tree.rust().filter(|source| source.path != BUS);
    others
        .flat_map(|source| {
            let uses = whole_words(&source.code, "rumqttd");
            uses.map(|at| Finding::new(&source.path, source.line(at), "names rumqttd", remedy))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings;

    #[test]
    fn a_room_that_names_a_room_above_it_is_found() {
        let bad = [
            ("broker/src/store/redb.rs", "use crate::edge::Submission;"),
            ("broker/src/store/mod.rs", "use super::sequencer::X;"),
            (
                "broker/src/router/mod.rs",
                "use crate::{store::Committed, edge::Edge};",
            ),
            (
                "broker/src/router/bus.rs",
                "fn f() { super::super::edge::go(); }",
            ),
            (
                "broker/src/sequencer/mod.rs",
                "use crate::edge::{Submission, session::Session};",
            ),
            ("broker/src/edge/mod.rs", "fn f() { crate::http::x(); }"),
            ("broker/src/compactor.rs", "use crate::run;"),
        ];
        for sample in bad {
            let found = findings(imports, &[sample]);
            assert_eq!(found, [format!("{}:1", sample.0)], "{}", sample.1);
        }
    }

    #[test]
    fn what_the_table_allows_is_not_found() {
        let good = [
            (
                "broker/src/edge/hub.rs",
                "use crate::{store::{A, B}, sequencer::C};\nuse super::router;",
            ),
            (
                "broker/src/edge/delivery/mod.rs",
                "use super::store::Cache;",
            ),
            (
                "broker/src/sequencer/mod.rs",
                "use crate::edge::Submission; use crate::store::Append;",
            ),
            ("broker/src/run.rs", "use crate::{edge, http, router};"),
            (
                "broker/src/store/mod.rs",
                "// see crate::edge\nuse super::something;",
            ),
        ];
        assert!(findings(imports, &good).is_empty());
    }

    #[test]
    fn groups_are_taken_apart() {
        let paths = split_group("a::B, c::{D, e::F}, g");
        assert_eq!(paths, ["a::B", "c::D", "c::e::F", "g"]);
    }

    #[test]
    fn an_impure_line_in_a_pure_crate_is_found() {
        let bad = [
            ("protocol/src/a.rs", "use tokio::time;"),
            ("protocol/src/a.rs", "use std::net::TcpStream;"),
            (
                "client-sdk/core/src/a.rs",
                "let now = std::time::SystemTime::now();",
            ),
            ("client-sdk/core/src/a.rs", "let now = Instant::now();"),
            ("client-sdk/core/src/a.rs", "let dice = rand::random();"),
            ("client-sdk/core/src/a.rs", "use rumqttc_v5::Event;"),
            ("client-sdk/core/Cargo.toml", "tokio.workspace = true"),
            ("client-sdk/core/Cargo.toml", "rumqttc-v4.workspace = true"),
            ("protocol/src/a.rs", "std::fs::read(path)"),
        ];
        for sample in bad {
            assert_eq!(findings(purity, &[sample]).len(), 1, "{}", sample.1);
        }
        let good = [
            ("protocol/tests/golden.rs", "std::fs::read(path)"),
            ("client-sdk/rust/src/lib.rs", "use tokio::time;"),
            (
                "protocol/src/a.rs",
                "// tokio is not used\nlet operand = 1;",
            ),
        ];
        assert!(findings(purity, &good).is_empty());
    }

    #[test]
    fn rumqttd_outside_its_file_is_found() {
        assert_eq!(
            findings(bus, &[("broker/src/router/mod.rs", "use rumqttd::Router;")]).len(),
            1
        );
        let good = [
            (BUS, "use rumqttd::Router;"),
            ("broker/src/run.rs", "// rumqttd\n"),
        ];
        assert!(findings(bus, &good).is_empty());
    }
}
