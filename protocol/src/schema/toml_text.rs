//! The schema as a file: every mistake is named with its line.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use toml::Spanned;

use super::CollectionSchema;
use super::definition::{Draft, SchemaProblem, check_name};

/// What is wrong with a schema file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not TOML, or a name or type that a schema does not have.
    #[error("line {line}: {message}")]
    Toml {
        /// Counted from 1.
        line: usize,
        /// What the reader says.
        message: String,
    },
    /// A collection that a schema cannot have.
    #[error("line {line}: {problem}")]
    Collection {
        /// Counted from 1: of the name at fault, or of the collection if that is not there.
        line: usize,
        /// What is wrong.
        problem: SchemaProblem,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    collections: BTreeMap<Spanned<String>, Collection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Collection {
    kind: Option<Spanned<String>>,
    conflict: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    add: Option<Spanned<String>>,
    remove: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
    amount: Option<Spanned<String>>,
    list: Option<Spanned<String>>,
    after: Option<Spanned<String>>,
    open_values_max: Option<Spanned<i64>>,
}

pub(super) fn parse(text: &str) -> Result<(BTreeMap<String, CollectionSchema>, bool), SchemaError> {
    let file: File = toml::from_str(text).map_err(|error| SchemaError::Toml {
        line: line(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut reader = Reader {
        text,
        types: HashMap::new(),
    };
    // In the file's order, so that of two mistakes the first is named.
    let mut given: Vec<_> = file.collections.into_iter().collect();
    given.sort_by_key(|(name, _)| name.span().start);
    let collections = given
        .into_iter()
        .map(|(name, collection)| reader.collection(&name, &collection))
        .collect::<Result<_, _>>()?;
    Ok((collections, file.strict))
}

struct Reader<'a> {
    text: &'a str,
    /// Where each event type was named.
    types: HashMap<String, usize>,
}

impl Reader<'_> {
    fn collection(
        &mut self,
        name: &Spanned<String>,
        given: &Collection,
    ) -> Result<(String, CollectionSchema), SchemaError> {
        let line = self.line(name);
        let text = name.get_ref();
        check_name(text).map_err(|problem| SchemaError::Collection { line, problem })?;
        let checked = given.draft().check().map_err(|(what, problem)| {
            let line = given.start(what).map_or(line, |at| self.line_at(at));
            SchemaError::Collection { line, problem }
        })?;
        self.once(&given.add)?;
        self.once(&given.remove)?;
        Ok((text.clone(), checked))
    }

    fn once(&mut self, event_type: &Option<Spanned<String>>) -> Result<(), SchemaError> {
        let Some(given) = event_type else {
            return Ok(());
        };
        let line = self.line(given);
        match self.types.insert(given.get_ref().clone(), line) {
            None => Ok(()),
            Some(first) => {
                let problem = SchemaProblem::Twice {
                    event_type: given.get_ref().clone(),
                    first: format!("on line {first}"),
                };
                Err(SchemaError::Collection { line, problem })
            }
        }
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        self.line_at(at.span().start)
    }

    fn line_at(&self, offset: usize) -> usize {
        line(self.text, offset)
    }
}

impl Collection {
    fn draft(&self) -> Draft {
        let text = |given: &Option<Spanned<String>>| given.as_ref().map(|it| it.get_ref().clone());
        Draft {
            kind: text(&self.kind),
            conflict: text(&self.conflict),
            key: text(&self.key),
            add: text(&self.add),
            remove: text(&self.remove),
            value: text(&self.value),
            amount: text(&self.amount),
            list: text(&self.list),
            after: text(&self.after),
            open_values_max: self.open_values_max.as_ref().map(|it| *it.get_ref()),
        }
    }

    /// Where a name's value stands in the file.
    fn start(&self, what: &str) -> Option<usize> {
        let given = match what {
            "kind" => &self.kind,
            "conflict" => &self.conflict,
            "key" => &self.key,
            "add" => &self.add,
            "remove" => &self.remove,
            "value" => &self.value,
            "amount" => &self.amount,
            "list" => &self.list,
            "after" => &self.after,
            _ => return Some(self.open_values_max.as_ref()?.span().start),
        };
        Some(given.as_ref()?.span().start)
    }
}

fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::super::Schema;
    use super::super::tests::MUSIC;

    const SET: &str = "[collections.a]\nkind = \"set\"\nconflict = \"add_wins\"\nkey = \"k\"\nadd = \"x\"\nremove = \"y\"\n";

    fn error(text: &str) -> String {
        Schema::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn schema_1_mistakes_are_named_with_their_line_and_a_remedy() {
        let set = |changed: &str, to: &str| error(&SET.replacen(changed, to, 1));
        assert!(error("x = 1").starts_with("line 1:"));
        let bag = set("set", "bag");
        assert_eq!(
            bag,
            "line 2: kind \"bag\" is not known; use set, map, counter or list"
        );
        assert!(
            set("add_wins", "first")
                .starts_with("line 3: conflict \"first\" is not known for a set; use last")
        );
        assert!(set("add_wins", "keep_both").starts_with("line 3:"));
        assert!(
            set("\"y\"", "\"x\"")
                .starts_with("line 6: the event type \"x\" is already used on line 5")
        );
        assert!(set("\"x\"", "\"\"").starts_with("line 5: add is text"));
        assert!(set("\"k\"", "\"__proto__\"").starts_with("line 4: key is text"));
        assert!(set("key = \"k\"\n", "").starts_with("line 1: key is missing: a set needs it"));
        assert!(set("remove = \"y\"\n", "").starts_with("line 1: remove is missing"));
        assert!(set("kind = \"set\"\n", "").starts_with("line 1: kind is missing"));
        assert!(set("\"k\"\n", "\"k\"\nvalue = \"v\"\n").starts_with("line 5: a set has no value"));
        assert!(set("\"k\"\n", "\"k\"\nopen_values_max = 4\n").contains("line 5: a set has no"));
        assert!(set("collections.a", "collections.\"a/b\"").starts_with("line 1:"));
        assert!(set("collections.a", "collections.__proto__").starts_with("line 1:"));
    }

    #[test]
    fn schema_1_each_kind_has_the_names_of_its_column() {
        let kind = |kind: &str, rest: &str| {
            let text =
                format!("[collections.a]\nkind = \"{kind}\"\nkey = \"k\"\nadd = \"x\"\n{rest}");
            Schema::parse(&text).map_or_else(|error| error.to_string(), |_| String::new())
        };
        let lww = "conflict = \"last_write_wins\"\nremove = \"y\"\n";
        assert_eq!(kind("map", &format!("{lww}value = \"v\"\n")), "");
        assert!(kind("map", lww).contains("value is missing: a map needs it"));
        assert!(
            kind("map", &format!("{lww}value = \"v\"\nopen_values_max = 2\n"))
                .contains("line 8: open_values_max is only for")
        );
        let both = "conflict = \"keep_both\"\nremove = \"y\"\nvalue = \"v\"\n";
        for (n, is_good) in [(1, false), (2, true), (64, true), (65, false), (-1, false)] {
            assert_eq!(
                kind("map", &format!("{both}open_values_max = {n}\n")).is_empty(),
                is_good
            );
        }
        assert_eq!(kind("counter", ""), "");
        assert_eq!(kind("counter", "amount = \"n\"\n"), "");
        assert!(kind("counter", lww).contains("line 5: a counter has no conflict"));
        assert!(kind("counter", "remove = \"y\"\n").contains("line 5: a counter has no remove"));
        assert!(kind("list", lww).contains("after is missing: a list needs it"));
        assert_eq!(
            kind(
                "list",
                &format!("{lww}after = \"p\"\nlist = \"l\"\nvalue = \"v\"\n")
            ),
            ""
        );
        assert!(kind("list", &format!("{both}after = \"p\"\n")).contains("line 5"));
    }

    #[test]
    fn schema_1_of_two_mistakes_the_first_in_the_file_is_named() {
        let text =
            SET.replace("collections.a", "collections.z") + &SET.replace("\"set\"", "\"bag\"");
        assert!(error(&text).starts_with("line 8:"));
        let text = SET.replace("collections.a", "collections.z") + SET;
        assert!(
            error(&text).starts_with("line 11: the event type \"x\" is already used on line 5")
        );
    }

    #[test]
    fn schema_1_the_shipped_schema_has_all_kinds() {
        let schema = Schema::parse(MUSIC).unwrap();
        let mut kinds: Vec<_> = schema
            .collections()
            .values()
            .map(|it| it.kind.as_str())
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds, ["counter", "list", "map", "set"]);
    }

    #[test]
    fn schema_1_a_schema_may_be_empty() {
        assert!(Schema::parse("").unwrap().collections().is_empty());
    }
}
