//! What will never be saved, kept until the app has told its user.

use std::sync::Arc;

use syncline_client_core::Refusal;
use syncline_protocol::{Intent, Value};

/// How many are kept; beyond that the oldest go.
pub(crate) const KEPT_MAX: usize = 1_000;

/// The number of a [`SetAside`] in its store. A later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetAsideId(u64);

impl SetAsideId {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An intent that will never be saved.
#[derive(Debug, Clone)]
pub struct SetAside {
    /// Its number, for [`Client::dismiss`](crate::Client::dismiss).
    pub id: SetAsideId,
    /// What it was.
    pub intent: Arc<Intent>,
    /// Why.
    pub refusal: Refusal,
}

/// All that is kept, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    all: Vec<SetAside>,
    last: u64,
}

impl Kept {
    pub(crate) fn new(stored: Vec<SetAside>) -> Self {
        let last = stored.last().map_or(0, |it| it.id.0);
        Self { all: stored, last }
    }

    /// Keeps one more; the one that goes for it, if any.
    pub(crate) fn add(
        &mut self,
        intent: Intent,
        refusal: Refusal,
    ) -> (SetAside, Option<SetAsideId>) {
        self.last += 1;
        let set_aside = SetAside {
            id: SetAsideId(self.last),
            intent: Arc::new(intent),
            refusal,
        };
        let goes = (self.all.len() >= KEPT_MAX).then(|| self.all.remove(0).id);
        self.all.push(set_aside.clone());
        (set_aside, goes)
    }

    /// Whether it was there.
    pub(crate) fn dismiss(&mut self, id: SetAsideId) -> bool {
        let before = self.all.len();
        self.all.retain(|it| it.id != id);
        self.all.len() < before
    }

    pub(crate) fn all(&self) -> Vec<SetAside> {
        self.all.clone()
    }
}

pub(crate) fn write(set_aside: &SetAside) -> Vec<u8> {
    let SetAside {
        intent, refusal, ..
    } = set_aside;
    crate::map([
        ("intent", Value::Bytes(intent.encode())),
        ("name", refusal.name.as_str().into()),
        ("reason", refusal.reason.as_str().into()),
    ])
    .to_msgpack()
}

pub(crate) fn read(id: u64, bytes: &[u8]) -> Result<SetAside, String> {
    let value = Value::from_msgpack(bytes).map_err(|error| error.to_string())?;
    let map = value.as_map().ok_or("it is no map")?;
    let text = |name: &str| map.get(name).and_then(Value::as_text);
    let Some(Value::Bytes(intent)) = map.get("intent") else {
        return Err("the intent is missing".to_owned());
    };
    let (name, reason) = text("name").zip(text("reason")).ok_or("why is missing")?;
    let intent = Intent::decode(intent).map_err(|refused| refused.reason)?;
    Ok(SetAside {
        id: SetAsideId(id),
        intent: Arc::new(intent),
        refusal: Refusal::new(name, reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(n: u64) -> Intent {
        Intent::new("star_album".parse().unwrap(), Value::from(n.to_string()))
    }

    #[test]
    fn what_is_written_is_read() {
        let refusal = Refusal::new("not_allowed", "you: may not");
        let (kept, _) = Kept::default().add(intent(1), refusal);
        let read = read(kept.id.get(), &write(&kept)).unwrap();
        assert_eq!(
            (read.id, &read.intent, &read.refusal),
            (kept.id, &kept.intent, &kept.refusal)
        );
        for bad in [&b"x"[..], b"\x80", b""] {
            assert!(super::read(1, bad).is_err());
        }
    }

    #[test]
    fn the_oldest_goes_for_one_too_many_and_numbers_are_not_used_again() {
        let (mut kept, refusal) = (Kept::default(), Refusal::new("x", ""));
        for n in 0..KEPT_MAX as u64 {
            assert_eq!(kept.add(intent(n), refusal.clone()).1, None);
        }
        let (last, goes) = kept.add(intent(0), refusal);
        assert_eq!((last.id, goes), (SetAsideId(1_001), Some(SetAsideId(1))));
        assert!(kept.dismiss(SetAsideId(2)) && !kept.dismiss(SetAsideId(2)));
        assert_eq!(kept.all().len(), KEPT_MAX - 1);
    }
}
