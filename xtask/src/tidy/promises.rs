//! Every rule of a SPEC that is not marked *(later)* is quoted by a test: in its name
//! (`event_10_a_repeat_…`), in its text ("EVENT-10 …") or in a comment beside it.

use crate::tidy::Finding;
use crate::tidy::source::{Source, Tree};

const SPECS: [&str; 2] = ["protocol/SPEC.md", "client-sdk/SPEC.md"];

struct Rule<'a> {
    spec: &'a str,
    line: usize,
    id: &'a str,
}

pub(super) fn quoted(tree: &Tree) -> Vec<Finding> {
    let tests: Vec<String> = tree.all().map(test_text).collect();
    let specs = SPECS.iter().filter_map(|path| tree.get(path));
    specs
        .flat_map(rules)
        .filter(|rule| !tests.iter().any(|text| quotes(text, rule.id)))
        .map(|rule| {
            let what = format!("no test quotes {}", rule.id);
            Finding::new(
                rule.spec,
                rule.line,
                what,
                "write the test, with the id in its name",
            )
        })
        .collect()
}

/// Rules are list items that begin with their id in bold.
fn rules(spec: &Source) -> Vec<Rule<'_>> {
    let lines = spec.text.lines().enumerate();
    let items = lines.filter_map(|(index, line)| {
        let (id, rest) = line.strip_prefix("- **")?.split_once("**")?;
        let is_id = id.split_once('-').is_some_and(|(word, number)| {
            word.chars().all(|c| c.is_ascii_uppercase()) && number.parse::<u32>().is_ok()
        });
        let later = rest.trim_start().starts_with("*(later)*");
        (is_id && !later).then_some(Rule {
            spec: &spec.path,
            line: index + 1,
            id,
        })
    });
    items.collect()
}

/// What is said in tests, in lower case.
fn test_text(source: &Source) -> String {
    if source.is_tests() || is_test_elsewhere(&source.path) {
        return source.text.to_lowercase();
    }
    // The samples below quote without testing.
    if !source.is_rust() || source.path.starts_with("xtask/") {
        return String::new();
    }
    let mut lines = Vec::new();
    let mut offset = 0;
    for line in source.text.split_inclusive('\n') {
        if source.is_test_at(offset) || source.is_test_at(offset + line.trim_end().len()) {
            lines.push(line);
        }
        offset += line.len();
    }
    lines.concat().to_lowercase()
}

/// Tests in TypeScript, and conversations, which name the rules that they show.
fn is_test_elsewhere(path: &str) -> bool {
    let ends = [".ts", ".mjs"].iter().any(|end| path.ends_with(end));
    let is_test = path.contains("/test/") || path.contains("/tests/") || path.contains(".test.");
    (ends && is_test) || path.starts_with("client-sdk/conversations/")
}

/// `event-1` and `event_1`, but not `event_10` and not `prevent_1`.
fn quotes(text: &str, id: &str) -> bool {
    let id = id.to_lowercase();
    [id.clone(), id.replace('-', "_")].iter().any(|form| {
        text.match_indices(form.as_str()).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + form.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(|c| c.is_ascii_digit())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::findings;

    const SPEC: &str =
        "# x\n- **EVENT-1** one\n- **EVENT-10** ten\n- **VIEW-7** *(later)* at\n- **bold** no";

    #[test]
    fn a_rule_without_a_test_is_found() {
        let found = findings(quoted, &[("protocol/SPEC.md", SPEC)]);
        assert_eq!(found, ["protocol/SPEC.md:2", "protocol/SPEC.md:3"]);
    }

    #[test]
    fn a_longer_number_or_a_mention_outside_tests_is_no_quote() {
        let files = [
            ("protocol/SPEC.md", SPEC),
            (
                "protocol/src/a.rs",
                "// EVENT-1\n#[cfg(test)]\nmod tests {\n fn event_10_is_kept() {}\n}",
            ),
        ];
        assert_eq!(findings(quoted, &files), ["protocol/SPEC.md:2"]);
    }

    #[test]
    fn names_texts_and_comments_of_tests_quote() {
        let files = [
            ("protocol/SPEC.md", SPEC),
            (
                "client-sdk/web/test/event.test.ts",
                "it('EVENT-1 keeps names', () => {})",
            ),
            ("tests/tests/e2e/main.rs", "// EVENT-10\nfn x() {}"),
        ];
        assert!(findings(quoted, &files).is_empty());
    }
}
