//! How long functions and files may be, and files that no crate contains.

use std::collections::BTreeSet;

use crate::tidy::Finding;
use crate::tidy::source::{Source, Tree, closing};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;

pub(super) fn lengths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.rust() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            let what = format!("{lines} lines, more than {FILE_LINES_MAX}");
            findings.push(Finding::new(
                &source.path,
                1,
                what,
                "give its parts files of their own",
            ));
        }
        findings.extend(long_functions(source));
    }
    findings
}

fn long_functions(source: &Source) -> Vec<Finding> {
    let starts = source
        .uses("fn")
        .filter_map(|at| Some((at, body_end(&source.code, at)?)));
    starts
        .filter_map(|(start, end)| {
            let (first, last) = (source.line(start), source.line(end));
            let lines = last - first + 1;
            let what = format!("a function of {lines} lines, more than {FUNCTION_LINES_MAX}");
            let remedy = "name its parts and move them below it";
            (lines > FUNCTION_LINES_MAX).then(|| Finding::new(&source.path, first, what, remedy))
        })
        .collect()
}

/// The end of the body of the function at `at`; none for a declaration or a type.
fn body_end(code: &str, at: usize) -> Option<usize> {
    let name = code[at + 2..].trim_start();
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return None;
    }
    let arguments = at + code[at..].find('(')?;
    let after = closing(code, arguments)?;
    let open = after + code[after..].find(['{', ';'])?;
    if code.as_bytes()[open] == b'{' {
        closing(code, open).map(|end| end - 1)
    } else {
        None
    }
}

pub(super) fn dead_files(tree: &Tree) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    let mut pending: Vec<String> = tree
        .rust()
        .map(|source| source.path.clone())
        .filter(|path| is_root(path))
        .collect();
    while let Some(path) = pending.pop() {
        let Some(source) = tree.get(&path) else {
            continue;
        };
        if reached.insert(path.clone()) {
            let modules = source.modules();
            pending.extend(
                modules
                    .iter()
                    .filter_map(|module| tree.resolve(&path, &module.name)),
            );
        }
    }
    let dead = tree.rust().filter(|source| !reached.contains(&source.path));
    let remedy = "declare it with `mod`, or delete it";
    dead.map(|source| Finding::new(&source.path, 1, "is part of no crate", remedy))
        .collect()
}

/// What Cargo takes for the root of a crate without being told.
fn is_root(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let targets = ["src/bin", "tests", "examples", "benches"];
    let is_target = |folder: &str| {
        let mut ends = targets.iter();
        // A folder `tests` of a module is none.
        let is_inside = folder.contains("/src/") && !folder.ends_with("/src/bin");
        !is_inside && ends.any(|end| folder == *end || folder.ends_with(&format!("/{end}")))
    };
    let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
    match file {
        "build.rs" => true,
        "lib.rs" => folder.ends_with("src"),
        "main.rs" => folder.ends_with("src") || is_target(parent),
        _ => is_target(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings;

    #[test]
    fn a_function_of_71_lines_is_found_and_one_of_70_is_not() {
        let function = |lines: usize| {
            format!(
                "fn f(a: [u8; 3]) -> u8 {{\n{}}}\n",
                "x;\n".repeat(lines - 2)
            )
        };
        assert_eq!(
            findings(lengths, &[("a/src/lib.rs", &function(71))]),
            ["a/src/lib.rs:1"]
        );
        assert!(findings(lengths, &[("a/src/lib.rs", &function(70))]).is_empty());
    }

    #[test]
    fn declarations_and_function_types_have_no_length() {
        let text = format!(
            "trait T {{ fn f(&self); }}\ntype A = fn(u8);\n{}",
            "\n".repeat(100)
        );
        assert!(findings(lengths, &[("a/src/lib.rs", &text)]).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(
            findings(lengths, &[("a/src/lib.rs", &"\n".repeat(701))]),
            ["a/src/lib.rs:1"]
        );
        assert!(findings(lengths, &[("a/src/lib.rs", &"\n".repeat(700))]).is_empty());
    }

    #[test]
    fn a_file_that_no_crate_contains_is_found() {
        let files = [
            ("a/src/lib.rs", "mod b;\n#[cfg(test)] mod c;"),
            ("a/src/b.rs", "pub(crate) mod d;"),
            ("a/src/b/d.rs", "mod tests;"),
            ("a/src/b/d/tests.rs", "mod e;"),
            ("a/src/b/d/tests/e.rs", "mod f;"),
            ("a/src/b/d/tests/e/f.rs", ""),
            ("a/src/b/d/tests/gone.rs", ""),
            ("a/src/c/mod.rs", ""),
            ("a/src/dead.rs", ""),
            ("a/src/b/main.rs", ""),
            ("a/tests/x.rs", "mod y;"),
            ("a/tests/y/mod.rs", ""),
            ("a/tests/e2e/main.rs", "mod z;"),
            ("a/tests/e2e/z.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/examples/one.rs", ""),
        ];
        assert_eq!(
            findings(dead_files, &files),
            [
                "a/src/b/d/tests/gone.rs:1",
                "a/src/b/main.rs:1",
                "a/src/dead.rs:1"
            ]
        );
    }
}
