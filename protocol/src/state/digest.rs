//! Sums of hashes: the order of adding does not matter, and what was added can be taken out again.

use std::fmt;
use std::str::FromStr;

use crate::fields::DecodeError;

/// A digest (DIGEST-1, DIGEST-2). Displays as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(u128);

impl Digest {
    pub(crate) fn of_hash(hash: &[u8; 32]) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        Self(u128::from_be_bytes(first))
    }

    /// Adds another, modulo 2^128.
    pub fn add(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Takes out what was added.
    pub fn remove(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        let error = DecodeError::Type {
            name: "digest",
            expected: "32 hex digits",
        };
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| error)
    }
}
