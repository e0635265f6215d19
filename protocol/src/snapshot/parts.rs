//! A snapshot in parts, for whoever takes no message as large as all of it (SNAP-8).

use std::collections::BTreeMap;

use super::Snapshot;
use crate::fields::Form;
use crate::state::Entry;
use crate::value::Value;

/// What the heads of the maps can take more than they do in a snapshot without entries.
const HEADS: usize = 16;

/// The head of an entry's key, and what stands between entries.
const KEY_HEAD: usize = 5;

/// Why a part was not taken. What was gathered before is given up; a part 1 starts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// It is not the part after the last one.
    #[error("part {given} of a state came where part {expected} was due")]
    Order {
        /// Which should have come.
        expected: u32,
        /// Which came.
        given: u32,
    },
    /// It is of another snapshot than those before it.
    #[error("part {0} is of another state than the parts before it")]
    Other(u32),
    /// An entry that another part held already.
    #[error("part {0} holds an entry that a part before it held")]
    Repeated(u32),
}

/// Puts parts together again. A snapshot in one part goes through as it is.
#[derive(Debug, Default)]
pub struct Assembler {
    gathered: Option<Snapshot>,
}

impl Assembler {
    /// Takes the next `state` message; gives the snapshot once it is whole.
    pub fn push(&mut self, part: Snapshot) -> Result<Option<Snapshot>, PartError> {
        let before = self.gathered.take();
        let gathered = match before {
            _ if part.part == 1 => part,
            Some(before) => join(before, part)?,
            None => {
                let given = part.part;
                return Err(PartError::Order { expected: 1, given });
            }
        };
        if gathered.part == gathered.parts {
            return Ok(Some(Snapshot {
                part: 1,
                parts: 1,
                ..gathered
            }));
        }
        self.gathered = Some(gathered);
        Ok(None)
    }
}

fn join(mut before: Snapshot, part: Snapshot) -> Result<Snapshot, PartError> {
    let (expected, given) = (before.part + 1, part.part);
    if given != expected {
        return Err(PartError::Order { expected, given });
    }
    before.part = given;
    if !same_names(&before, &part) {
        return Err(PartError::Other(given));
    }
    for (name, entries) in part.collections {
        let gathered = before.collections.entry(name).or_default();
        for (key, entry) in entries {
            if gathered.insert(key, entry).is_some() {
                return Err(PartError::Repeated(given));
            }
        }
    }
    Ok(before)
}

/// Whether everything but the entries is the same.
fn same_names(a: &Snapshot, b: &Snapshot) -> bool {
    let names = |it: &Snapshot| (it.epoch, it.seq, it.since, it.head, it.digest, it.schema);
    names(a) == names(b)
        && (a.part, a.parts, a.mark) == (b.part, b.parts, b.mark)
        && a.stream == b.stream
        && a.digests == b.digests
}

/// SNAP-8: as few parts as fit, each at most `bytes_max` in this form, but at least one entry in each.
pub(super) fn split(snapshot: Snapshot, bytes_max: usize, form: Form) -> Vec<Snapshot> {
    let (empty, collections) = without_entries(snapshot);
    let mut cutter = Cutter::new(empty, bytes_max, form);
    for (name, entries) in collections {
        for (key, entry) in entries {
            cutter.put(&name, key, entry);
        }
    }
    cutter.finish()
}

/// Every part names every collection (SNAP-1).
fn without_entries(mut snapshot: Snapshot) -> (Snapshot, Collections) {
    let names = snapshot.collections.keys().cloned();
    let empty = names.map(|name| (name, BTreeMap::new())).collect();
    let full = std::mem::replace(&mut snapshot.collections, empty);
    (snapshot, full)
}

type Collections = BTreeMap<String, BTreeMap<String, Entry>>;

struct Cutter {
    empty: Snapshot,
    empty_bytes: usize,
    bytes_max: usize,
    form: Form,
    parts: Vec<Snapshot>,
    part: Snapshot,
    part_bytes: usize,
}

impl Cutter {
    fn new(empty: Snapshot, bytes_max: usize, form: Form) -> Self {
        let heads = HEADS + KEY_HEAD * empty.collections.len();
        let empty_bytes = length(&empty.to_value(form), form) + heads;
        Self {
            part: empty.clone(),
            part_bytes: empty_bytes,
            parts: Vec::new(),
            empty,
            empty_bytes,
            bytes_max,
            form,
        }
    }

    fn put(&mut self, name: &str, key: String, entry: Entry) {
        let bytes = length(&Value::text(key.as_str()), self.form)
            + length(&entry.to_value(self.form), self.form)
            + KEY_HEAD;
        if self.part_bytes > self.empty_bytes && self.part_bytes + bytes > self.bytes_max {
            let full = std::mem::replace(&mut self.part, self.empty.clone());
            self.parts.push(full);
            self.part_bytes = self.empty_bytes;
        }
        self.part_bytes += bytes;
        if let Some(entries) = self.part.collections.get_mut(name) {
            entries.insert(key, entry);
        }
    }

    fn finish(mut self) -> Vec<Snapshot> {
        self.parts.push(self.part);
        let parts = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let numbered = (1..).zip(self.parts);
        numbered
            .map(|(part, it)| Snapshot { part, parts, ..it })
            .collect()
    }
}

fn length(value: &Value, form: Form) -> usize {
    match form {
        Form::MessagePack => value.to_msgpack().len(),
        Form::Json => value.to_json().len(),
    }
}

#[cfg(test)]
mod tests;
