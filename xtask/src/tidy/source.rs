//! The repository's text files, and of Rust files three readings of equal length: as written, code
//! alone, and words alone (comments). What a reading leaves out is blank, so offsets and lines agree.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

const SKIPPED: [&str; 6] = ["target", "node_modules", "dist", "data", ".git", ".cargo"];
const ENDINGS: [&str; 9] = [
    "rs", "ts", "mjs", "toml", "md", "html", "css", "json", "run",
];

pub(crate) struct Tree {
    files: BTreeMap<String, Source>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        Ok(Self::of(files))
    }

    pub(super) fn of(files: Vec<(String, String)>) -> Self {
        let files = files
            .into_iter()
            .map(|(path, text)| (path.clone(), Source::new(path, text)));
        let mut tree = Self {
            files: files.collect(),
        };
        tree.mark_test_files();
        tree
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Source> {
        self.files.values()
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.all().filter(|source| source.is_rust())
    }

    pub(super) fn get(&self, path: &str) -> Option<&Source> {
        self.files.get(path)
    }

    /// `#[cfg(test)] mod x;` makes x's file, and what it declares, a file of tests.
    fn mark_test_files(&mut self) {
        let mut pending: Vec<String> = Vec::new();
        for source in self.rust() {
            let all = source.is_test_file;
            let under = source
                .modules()
                .into_iter()
                .filter(|module| all || module.test_only);
            pending.extend(under.filter_map(|module| self.resolve(&source.path, &module.name)));
        }
        while let Some(path) = pending.pop() {
            let Some(source) = self.files.get_mut(&path) else {
                continue;
            };
            if source.is_test_file {
                continue;
            }
            source.is_test_file = true;
            let names: Vec<String> = source
                .modules()
                .into_iter()
                .map(|module| module.name)
                .collect();
            pending.extend(names.iter().filter_map(|name| self.resolve(&path, name)));
        }
    }

    /// The file of `mod name;` as declared in the file at `path`.
    pub(super) fn resolve(&self, path: &str, name: &str) -> Option<String> {
        let folder = module_folder(path);
        [
            format!("{folder}/{name}.rs"),
            format!("{folder}/{name}/mod.rs"),
        ]
        .into_iter()
        .find(|candidate| self.files.contains_key(candidate))
    }
}

/// Where the modules that a file declares are looked for.
fn module_folder(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let is_root = matches!(file, "mod.rs" | "lib.rs" | "main.rs") || is_lone_root(folder);
    if is_root {
        folder.to_owned()
    } else {
        path.trim_end_matches(".rs").to_owned()
    }
}

/// Files that Cargo takes for crates of their own.
fn is_lone_root(folder: &str) -> bool {
    ["src/bin", "examples", "benches"]
        .iter()
        .any(|end| folder.ends_with(end))
        // A folder `tests` of a module is none.
        || (folder.ends_with("/tests") && !folder.contains("/src/"))
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(root, &path, files)?;
            }
        } else if ENDINGS.contains(&name.rsplit('.').next().unwrap_or_default())
            || path.ends_with(".ci/run")
        {
            let relative = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .display()
                .to_string();
            if let Ok(text) = fs::read_to_string(&path) {
                files.push((relative, text));
            }
        }
    }
    Ok(())
}

pub(crate) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) code: String,
    pub(super) words: String,
    is_test_file: bool,
    test_regions: Vec<Range<usize>>,
}

pub(super) struct Module {
    pub(super) name: String,
    pub(super) test_only: bool,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let (code, words) = if path.ends_with(".rs") {
            Masks::of(&text)
        } else {
            (String::new(), String::new())
        };
        let test_regions = test_regions(&code);
        let is_test_file = path.starts_with("tests/") || path.contains("/tests/");
        Self {
            path,
            text,
            code,
            words,
            is_test_file,
            test_regions,
        }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is tests.
    pub(super) fn is_tests(&self) -> bool {
        self.is_test_file
    }

    pub(super) fn is_test_at(&self, offset: usize) -> bool {
        self.is_test_file
            || self
                .test_regions
                .iter()
                .any(|region| region.contains(&offset))
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }

    /// Offsets at which `path`, such as `Instant::now`, stands in code as whole words.
    pub(super) fn uses<'a>(&'a self, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        whole_words(&self.code, path)
    }

    /// The modules that this file declares in files of their own.
    pub(super) fn modules(&self) -> Vec<Module> {
        let declared = self.uses("mod").filter_map(|at| {
            let rest = &self.code[at + 3..];
            let end = rest.find([';', '{'])?;
            let name = rest[..end].trim();
            let is_file = rest.as_bytes()[end] == b';' && name.chars().all(is_word);
            is_file.then(|| Module {
                name: name.to_owned(),
                test_only: before(&self.code, at).contains("cfg(test)") || self.is_test_at(at),
            })
        });
        declared.collect()
    }
}

/// The attributes that belong to an item: everything since the previous item ended.
fn before(code: &str, at: usize) -> &str {
    let start = code[..at].rfind([';', '}', '{']).map_or(0, |end| end + 1);
    &code[start..at]
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

pub(super) fn whole_words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
}

/// The offset just after the bracket that closes the one at `open`.
pub(super) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The items under `#[cfg(test)]` and `#[test]`.
fn test_regions(code: &str) -> Vec<Range<usize>> {
    let attributes = ["#[cfg(test)]", "#[test]", "#[tokio::test"];
    let starts = attributes
        .iter()
        .flat_map(|attribute| code.match_indices(attribute));
    starts
        .filter_map(|(start, attribute)| {
            let after = start + attribute.len();
            let open = after + code[after..].find(['{', ';'])?;
            let end = if code.as_bytes()[open] == b';' {
                open
            } else {
                closing(code, open)?
            };
            Some(start..end)
        })
        .collect()
}

/// What a byte of a Rust file is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Words,
    Text,
}

/// A reading of Rust exact enough to know code from comments and from literals.
struct Masks<'a> {
    bytes: &'a [u8],
    at: usize,
    parts: Vec<Part>,
}

impl<'a> Masks<'a> {
    fn of(text: &'a str) -> (String, String) {
        let mut masks = Masks {
            bytes: text.as_bytes(),
            at: 0,
            parts: Vec::new(),
        };
        while masks.at < masks.bytes.len() {
            let (part, length) = masks.next();
            masks.push(part, length.max(1));
        }
        (masks.keep(Part::Code), masks.keep(Part::Words))
    }

    fn push(&mut self, part: Part, length: usize) {
        let end = (self.at + length).min(self.bytes.len());
        self.parts.resize(end, part);
        self.at = end;
    }

    fn keep(&self, wanted: Part) -> String {
        let pairs = self.bytes.iter().zip(&self.parts);
        let kept = pairs.map(|(byte, part)| match byte {
            b'\n' => b'\n',
            _ if *part == wanted => *byte,
            _ => b' ',
        });
        String::from_utf8_lossy(&kept.collect::<Vec<u8>>()).into_owned()
    }

    fn next(&self) -> (Part, usize) {
        let rest = &self.bytes[self.at..];
        match rest[0] {
            b'/' if rest.starts_with(b"//") => (Part::Words, find(rest, b"\n")),
            b'/' if rest.starts_with(b"/*") => (Part::Words, block_comment(rest)),
            b'"' => (Part::Text, quoted(rest, 0)),
            b'r' | b'b' | b'c' if !self.in_word() => match raw_or_prefixed(rest) {
                Some(length) => (Part::Text, length),
                None => (Part::Code, 1),
            },
            b'\'' => character(rest).map_or((Part::Code, 1), |length| (Part::Text, length)),
            _ => (Part::Code, 1),
        }
    }

    fn in_word(&self) -> bool {
        self.at > 0
            && (self.bytes[self.at - 1].is_ascii_alphanumeric() || self.bytes[self.at - 1] == b'_')
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap_or(bytes.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        match &rest[at..] {
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            _ => at += 1,
        }
    }
    at
}

/// The length of a literal whose opening quote is at `open`.
fn quoted(rest: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_or_prefixed(rest: &[u8]) -> Option<usize> {
    let letters = rest
        .iter()
        .take_while(|byte| matches!(byte, b'r' | b'b' | b'c'))
        .count();
    let hashes = rest[letters..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let open = letters + hashes;
    let is_raw = rest[..letters].contains(&b'r');
    match rest.get(open) {
        Some(b'"') if is_raw => {
            let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
            Some(open + 1 + find(&rest[open + 1..], &close) + close.len())
        }
        Some(b'"') if hashes == 0 => Some(quoted(rest, open)),
        Some(b'\'') if hashes == 0 && rest[0] == b'b' => character(&rest[1..]).map(|n| n + 1),
        _ => None,
    }
}

/// The length of a character literal; none for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return rest
            .iter()
            .skip(3)
            .position(|byte| *byte == b'\'')
            .map(|at| at + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)]);
    let width = match text {
        Ok(text) => text.chars().next()?.len_utf8(),
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&rest[1..1 + error.valid_up_to()])
                .ok()?
                .chars()
                .next()?
                .len_utf8()
        }
        Err(_) => return None,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_literals_are_told_apart() {
        let text = r##"let a = "no // code \" { "; // words "x"
let b = r#"raw " {"#; let c = '{'; let d: &'static str; /* a /* b */ c */ let e = b'\''; let f = 'é';"##;
        let source = Source::new("a.rs".into(), text.into());
        assert_eq!(source.code.len(), text.len());
        assert!(
            !source.code.contains('{') && !source.code.contains("raw"),
            "{}",
            source.code
        );
        assert!(source.code.contains("&'static str") && source.code.contains("let e ="));
        assert!(source.words.contains("words \"x\"") && source.words.contains("b */ c"));
        assert!(!source.words.contains("no //") && source.code.contains("let f"));
    }

    #[test]
    fn lines_are_counted_from_one() {
        let source = Source::new("a.rs".into(), "one\ntwo\n".into());
        assert_eq!((source.line(0), source.line(4)), (1, 2));
    }

    #[test]
    fn tests_are_known_by_attribute_folder_and_declaration() {
        let tree = Tree::of(vec![
            (
                "p/src/lib.rs".into(),
                "mod a;\n#[cfg(test)]\nmod suite;\nfn x() {}".into(),
            ),
            (
                "p/src/a.rs".into(),
                "fn y() {}\n#[cfg(test)]\nmod tests { fn z() {} }".into(),
            ),
            ("p/src/suite.rs".into(), "mod deep;".into()),
            ("p/src/suite/deep.rs".into(), "fn w() {}".into()),
            ("p/tests/t.rs".into(), "fn v() {}".into()),
        ]);
        let is_test = |path: &str, needle: &str| {
            let source = tree.get(path).unwrap();
            source.is_test_at(source.code.find(needle).unwrap())
        };
        assert!(!is_test("p/src/lib.rs", "fn x") && !is_test("p/src/a.rs", "fn y"));
        assert!(is_test("p/src/a.rs", "fn z") && is_test("p/src/suite/deep.rs", "fn w"));
        assert!(is_test("p/tests/t.rs", "fn v"));
    }
}
