//! A connection as it is counted before anything of it is read.

use std::fmt;

use super::limits::{Crowded, Seat};

/// Whether a connection may come, as far as its address and its port tell. Kept as long as the connection is there.
pub struct Entrance(Result<Seat, Crowded>);

impl Entrance {
    /// One that nobody counts.
    pub fn free() -> Self {
        Self(Ok(Seat::default()))
    }

    /// One that comes while there is too much to do.
    #[cfg(test)]
    pub(crate) fn shed() -> Self {
        Self(Err(Crowded::Overload))
    }

    pub(super) fn new(seat: Result<Seat, Crowded>) -> Self {
        Self(seat)
    }

    /// It is one too many: all it may do is to get to know that.
    pub fn is_crowded(&self) -> bool {
        self.0.is_err()
    }

    /// It came while there was too much to do.
    pub fn is_shed(&self) -> bool {
        self.crowded() == Some(Crowded::Overload)
    }

    pub(super) fn crowded(&self) -> Option<Crowded> {
        self.0.as_ref().err().copied()
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entrance").field(&self.crowded()).finish()
    }
}
