//! The four layers, and who set what.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat, Value, ValueKind};
use syncline_protocol::Schema;
use toml::de::{DeTable, DeValue};

use super::raw::Raw;
use super::{ConfigError, DEFAULTS, Environment, Flags, MUSIC_SCHEMA, Origin, Setting, Settings};
use super::{channels, ports};

const PREFIX: &str = "SYNCLINE__";

/// All layers, checked for names and kinds, and merged.
pub(super) struct Layers {
    merged: Config,
    origins: BTreeMap<String, Origin>,
}

/// What a key takes; the defaults decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Bool,
    Texts,
}

/// A file as `section.key` → where and of which kind; the kind is `None` for one that no key has.
type Keys = BTreeMap<String, (usize, Option<Kind>)>;

impl Layers {
    pub(super) fn read(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let known = keys(DEFAULTS, Path::new("config/broker.toml"))?;
        let mut origins = BTreeMap::new();
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(path) = &flags.config {
            let text = read(path, Origin::Flag("--config"))?;
            origins.extend(file_origins(&text, path, &known)?);
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let mut of_ports = String::new();
        for (key, value, origin) in variables(environment, &known)?
            .into_iter()
            .chain(given(flags)?)
        {
            match ports::line(&key, &value) {
                Some(line) => of_ports.push_str(&line),
                None => {
                    let overridden = builder.set_override(&key, value);
                    builder = overridden.map_err(|e| bad(&origin, &key, &e))?;
                }
            }
            origins.insert(key, origin);
        }
        builder = builder.add_source(File::from_str(&of_ports, FileFormat::Toml));
        let merged = builder.build().map_err(|e| bad(&Origin::Default, "", &e))?;
        Ok(Self { merged, origins })
    }

    pub(super) fn merged(&self) -> Result<Raw, ConfigError> {
        self.merged.clone().try_deserialize().map_err(|error| {
            let key = key_of(&error).unwrap_or_default();
            bad(&self.origin(&key), &key, &error)
        })
    }

    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::of(&self.merged)
    }

    pub(super) fn origin(&self, key: &str) -> Origin {
        self.origin_of(key).unwrap_or(Origin::Default)
    }

    /// Where somebody set it, if anybody did.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        self.origins.get(key).cloned()
    }

    /// The value of a key of [`Self::integers`].
    pub(super) fn integer(&self, key: &str) -> i64 {
        self.merged
            .get_int(key)
            .expect("kinds are checked, and every key has a default")
    }

    /// The same with its key and its origin.
    pub(super) fn setting(&self, key: &str) -> Setting {
        Setting {
            key: key.to_owned(),
            value: self.integer(key),
            origin: self.origin(key),
        }
    }

    /// All keys that take integers.
    pub(super) fn integers() -> Vec<String> {
        let known = keys(DEFAULTS, Path::new("config/broker.toml")).unwrap_or_default();
        let is_integer = |(_, kind): &(usize, Option<Kind>)| *kind == Some(Kind::Integer);
        known
            .into_iter()
            .filter(|(_, at)| is_integer(at))
            .map(|(key, _)| key)
            .collect()
    }

    /// The schema and where it came from. An empty path is the built-in one.
    pub(super) fn schema(&self, path: &str) -> Result<(String, Schema), ConfigError> {
        let (source, text) = match path {
            "" => ("built-in music library".to_owned(), MUSIC_SCHEMA.to_owned()),
            path => (
                path.to_owned(),
                read(Path::new(path), self.origin("store.schema"))?,
            ),
        };
        match Schema::parse(&text) {
            Ok(schema) => Ok((source, schema)),
            Err(error) => Err(ConfigError::Schema {
                origin: source,
                message: error.to_string(),
            }),
        }
    }
}

fn read(path: &Path, origin: Origin) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        origin,
        path: path.to_owned(),
        source,
    })
}

/// Every key of a file is known and of its kind.
fn file_origins(
    text: &str,
    path: &Path,
    known: &Keys,
) -> Result<BTreeMap<String, Origin>, ConfigError> {
    let mut origins = BTreeMap::new();
    for (key, (line, kind)) in keys(text, path)? {
        let origin = Origin::Line {
            path: path.to_owned(),
            line,
        };
        let expected = kind_of(known, &key, &origin)?;
        if kind != Some(expected) {
            let expected = expected.words().to_owned();
            return Err(ConfigError::BadValue {
                origin,
                key,
                expected,
            });
        }
        origins.insert(key, origin);
    }
    Ok(origins)
}

/// The variables with our prefix, each as its key takes it.
fn variables(
    environment: &Environment,
    known: &Keys,
) -> Result<Vec<(String, Value, Origin)>, ConfigError> {
    let ours = environment.iter().filter_map(|(name, text)| {
        name.strip_prefix(PREFIX)
            .map(|rest| (name, rest.to_lowercase().replace("__", "."), text))
    });
    ours.map(|(name, key, text)| {
        let origin = Origin::Variable(name.clone());
        let kind = kind_of(known, &key, &origin)?;
        match kind.parse(text) {
            Some(value) => Ok((key, value, origin)),
            None => Err(ConfigError::BadValue {
                origin,
                key,
                expected: kind.words().to_owned(),
            }),
        }
    })
    .collect()
}

fn given(flags: &Flags) -> Result<Vec<(String, Value, Origin)>, ConfigError> {
    let all = [
        ("store.data", "--data", path("--data", &flags.data)?),
        ("mqtt.address", "--mqtt", flags.mqtt.clone()),
        ("http.address", "--http", flags.http.clone()),
        ("store.schema", "--schema", path("--schema", &flags.schema)?),
    ];
    let given = all.into_iter().filter_map(|(key, flag, text)| {
        text.map(|text| (key.to_owned(), Value::from(text), Origin::Flag(flag)))
    });
    Ok(given.collect())
}

/// All values are text, so a path is one too, rather than another path that looks like it.
fn path(flag: &'static str, path: &Option<PathBuf>) -> Result<Option<String>, ConfigError> {
    let Some(path) = path else { return Ok(None) };
    let text = path.to_str().map(|text| Some(text.to_owned()));
    text.ok_or_else(|| ConfigError::BadValue {
        origin: Origin::Flag(flag),
        key: path.display().to_string(),
        expected: "a path in UTF-8".to_owned(),
    })
}

fn kind_of(known: &Keys, key: &str, origin: &Origin) -> Result<Kind, ConfigError> {
    let kind = match channels::overridden(key).or_else(|| ports::overridden(key)) {
        Some(general) => known.get(&general),
        None => known.get(key),
    };
    let kind = kind.and_then(|(_, kind)| *kind);
    kind.ok_or_else(|| ConfigError::UnknownKey {
        origin: origin.clone(),
        key: key.to_owned(),
        known: siblings(known, key),
    })
}

/// What an unknown key could have been meant to be.
fn siblings(known: &Keys, key: &str) -> String {
    if key.starts_with(channels::PREFIX) {
        return channels::known();
    }
    if key.starts_with(ports::PREFIX) {
        return ports::known();
    }
    let section = key.split('.').next().unwrap_or_default();
    let of_section = known
        .keys()
        .filter_map(|known| known.strip_prefix(section)?.strip_prefix('.'));
    let of_section: Vec<_> = of_section.collect();
    if of_section.is_empty() {
        let mut sections: Vec<_> = known
            .keys()
            .filter_map(|key| key.split('.').next())
            .collect();
        sections.dedup();
        format!("there are the sections {}", sections.join(", "))
    } else {
        format!("[{section}] has {}", of_section.join(", "))
    }
}

/// Flattens a TOML text.
fn keys(text: &str, path: &Path) -> Result<Keys, ConfigError> {
    let document = DeTable::parse(text).map_err(|error| syntax(text, path, &error))?;
    let mut keys = Keys::new();
    for (section, value) in document.get_ref() {
        match value.get_ref() {
            DeValue::Table(table) => {
                if table.is_empty() && !is_section(section.get_ref()) {
                    // Nothing in it would name it.
                    keys.insert(
                        section.get_ref().to_string(),
                        (line(text, &section.span()), None),
                    );
                }
                for (key, value) in table {
                    let name = format!("{}.{}", section.get_ref(), key.get_ref());
                    insert(&mut keys, text, name, (key.span(), value.get_ref()));
                }
            }
            _ => {
                keys.insert(
                    section.get_ref().to_string(),
                    (line(text, &section.span()), None),
                );
            }
        }
    }
    Ok(keys)
}

/// A key and what is under it; tables stand within a section only where the defaults, [`channels`] or [`ports`] have them.
fn insert(keys: &mut Keys, text: &str, name: String, (at, value): (Range<usize>, &DeValue<'_>)) {
    match value {
        DeValue::Table(table) if is_table(&name) && !table.is_empty() => {
            for (key, value) in table {
                let name = format!("{name}.{}", key.get_ref());
                insert(keys, text, name, (key.span(), value.get_ref()));
            }
        }
        // Nothing in it, and nothing wrong with it.
        DeValue::Table(_) if is_table(&name) => {}
        value => {
            keys.insert(name, (line(text, &at), Kind::of(value)));
        }
    }
}

fn is_table(name: &str) -> bool {
    channels::is_table(name) || ports::is_table(name) || is_section(name)
}

fn is_section(name: &str) -> bool {
    DEFAULTS.lines().any(|line| line == format!("[{name}]"))
}

fn syntax(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map_or(1, |span| line(text, &span));
    let origin = Origin::Line {
        path: path.to_owned(),
        line,
    };
    ConfigError::Syntax {
        origin,
        message: error.message().to_owned(),
    }
}

fn line(text: &str, span: &Range<usize>) -> usize {
    text.bytes()
        .take(span.start)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

/// `config` names the key of a wrong value in its own words.
fn bad(origin: &Origin, key: &str, error: &config::ConfigError) -> ConfigError {
    let expected = format!("something else ({error})");
    ConfigError::BadValue {
        origin: origin.clone(),
        key: key.to_owned(),
        expected,
    }
}

fn key_of(error: &config::ConfigError) -> Option<String> {
    match error {
        config::ConfigError::Type { key, .. } | config::ConfigError::At { key, .. } => key.clone(),
        _ => None,
    }
}

impl Kind {
    fn of(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(_) => Some(Self::Text),
            // The parser leaves the size of a number to whoever reads it.
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok()?;
                Some(Self::Integer)
            }
            DeValue::Boolean(_) => Some(Self::Bool),
            DeValue::Array(items) if items.iter().all(|item| item.get_ref().is_str()) => {
                Some(Self::Texts)
            }
            _ => None,
        }
    }

    fn parse(self, text: &str) -> Option<Value> {
        let kind = match self {
            Self::Text => ValueKind::from(text),
            Self::Integer => ValueKind::from(text.replace('_', "").parse::<i64>().ok()?),
            Self::Bool => ValueKind::from(text.parse::<bool>().ok()?),
            Self::Texts => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                ValueKind::from(items.map(str::to_owned).collect::<Vec<_>>())
            }
        };
        Some(Value::new(None, kind))
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "an integer",
            Self::Bool => "true or false",
            Self::Texts => "a list of texts (in the environment: separated by commas)",
        }
    }
}
