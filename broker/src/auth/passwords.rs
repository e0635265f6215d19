//! The password file: a line per user, `name:` and what argon2id makes of the password, as a PHC string. Empty lines and lines
//! that begin with `#` are passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params};

use super::Secret;

/// The most memory that a line may ask for: 256 MiB. Whoever connects has it computed.
const MEMORY_KIB_MAX: u32 = 256 << 10;

/// The most rounds.
const ROUNDS_MAX: u32 = 64;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// All users with a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passwords {
    users: BTreeMap<String, Hash>,
    /// The one that takes longest.
    dearest: Option<Hash>,
}

/// What argon2id makes of a password. Not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(Arc<str>);

/// Why a password file or a password is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// A line is none.
    #[error("line {line}: {reason}; `syncline passwd` writes such lines")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A name that cannot stand in the file.
    #[error(
        "a user name is not empty, has no `:` and no control characters, and does not begin with `#`"
    )]
    Name,
    /// A password that nobody can send or that protects nothing.
    #[error("a password has 1 to 65535 bytes")]
    Password,
}

impl Passwords {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        let mut users = BTreeMap::new();
        let mut dearest: Option<(u64, Hash)> = None;
        for (at, text) in text.lines().enumerate() {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |reason| PasswordError::Line {
                line: at + 1,
                reason,
            };
            let form = "it is not a user name, `:` and a PHC string of argon2id";
            let (name, hash) = text.split_once(':').ok_or(wrong(form))?;
            check_name(name).map_err(|_| wrong(form))?;
            let (hash, cost) = Hash::parse(hash).map_err(wrong)?;
            if dearest.as_ref().is_none_or(|(most, _)| cost > *most) {
                dearest = Some((cost, hash.clone()));
            }
            if users.insert(name.to_owned(), hash).is_some() {
                return Err(wrong("the user stands in the file already"));
            }
        }
        let dearest = dearest.map(|(_, hash)| hash);
        Ok(Self { users, dearest })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// What is known of a user's password.
    pub fn of(&self, name: &str) -> Option<&Hash> {
        self.users.get(name)
    }

    /// Something to compare a stranger's password with, so that it takes as long as a user's: as that one's which takes longest.
    pub(super) fn dearest(&self) -> Option<&Hash> {
        self.dearest.as_ref()
    }
}

/// A password file in which a user has another password, or none and is gone. Everything else stays as it was.
/// `None`: there is no such user to remove.
pub fn edited(
    text: &str,
    name: &str,
    hash: Option<&Hash>,
) -> Result<Option<String>, PasswordError> {
    check_name(name)?;
    let is_known = Passwords::parse(text)?.of(name).is_some();
    let is_other = |line: &&str| line.split_once(':').is_none_or(|(it, _)| it != name);
    let mut edited: String = text
        .lines()
        .filter(is_other)
        .fold(String::new(), |all, line| all + line + "\n");
    match hash {
        Some(hash) => edited += &format!("{name}:{}\n", hash.0),
        None if !is_known => return Ok(None),
        None => {}
    }
    Ok(Some(edited))
}

impl Hash {
    /// Of a new password. Takes a while.
    pub fn of(password: &Secret, salt: [u8; SALT_BYTES]) -> Result<Self, PasswordError> {
        let bytes = password.expose();
        if bytes.is_empty() || bytes.len() > usize::from(u16::MAX) {
            return Err(PasswordError::Password);
        }
        let salt = SaltString::encode_b64(&salt).map_err(|_| PasswordError::Password)?;
        let hash = Argon2::default().hash_password(bytes, &salt);
        let hash = hash.map_err(|_| PasswordError::Password)?;
        Ok(Self(hash.to_string().into()))
    }

    /// With what it costs, in KiB times rounds.
    fn parse(text: &str) -> Result<(Self, u64), &'static str> {
        let hash = PasswordHash::new(text).map_err(|_| "it has no PHC string")?;
        if hash.algorithm != Algorithm::Argon2id.ident() || hash.hash.is_none() {
            return Err("its PHC string is not one of argon2id");
        }
        let params =
            Params::try_from(&hash).map_err(|_| "argon2id does not take its parameters")?;
        if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > ROUNDS_MAX {
            return Err("its parameters cost more than 256 MiB or 64 rounds");
        }
        let cost = u64::from(params.m_cost()) * u64::from(params.t_cost());
        Ok((Self(text.into()), cost))
    }

    /// Whether it is this password's. Takes a while, the same for a right and a wrong one.
    pub fn is_of(&self, password: &Secret) -> bool {
        let Ok(hash) = PasswordHash::new(&self.0) else {
            return false;
        };
        let verified = Argon2::default().verify_password(password.expose(), &hash);
        verified.is_ok()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

fn check_name(name: &str) -> Result<(), PasswordError> {
    let sound = !name.is_empty() && !name.starts_with('#') && name.len() <= usize::from(u16::MAX);
    if sound && !name.contains(|c: char| c == ':' || c.is_control()) {
        Ok(())
    } else {
        Err(PasswordError::Name)
    }
}

/// What argon2id makes of a password with parameters that cost nothing, for tests.
#[cfg(test)]
pub(super) fn cheap(password: &str) -> Hash {
    let argon = Argon2::new(
        Algorithm::Argon2id,
        argon2::Version::V0x13,
        Params::new(8, 1, 1, None).unwrap(),
    );
    let salt = SaltString::encode_b64(&[7; SALT_BYTES]).unwrap();
    let hash = argon.hash_password(password.as_bytes(), &salt).unwrap();
    Hash(hash.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_what_was_written_and_knows_right_from_wrong() {
        let fresh = Hash::of(&Secret::new("s3cret"), [9; SALT_BYTES]).unwrap();
        let text = edited("# users\n\neve:x", "ana", Some(&fresh)).unwrap_err();
        assert!(
            matches!(text, PasswordError::Line { line: 3, .. }),
            "{text}"
        );
        let text = edited("# users\n\n", "ana", Some(&cheap("old")))
            .unwrap()
            .unwrap();
        let text = edited(&text, "bob", Some(&cheap("pw"))).unwrap().unwrap();
        let text = edited(&text, "ana", Some(&fresh)).unwrap().unwrap();
        assert!(text.starts_with("# users\n\nbob:$argon2id$"), "{text}");
        assert!(
            text.contains("\nana:$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        let file = Passwords::parse(&text).unwrap();
        let right =
            |name: &str, password: &str| file.of(name).unwrap().is_of(&Secret::new(password));
        assert!(right("ana", "s3cret") && right("bob", "pw"));
        assert!(!right("ana", "S3cret") && !right("ana", "old") && !right("bob", ""));
        assert!(!format!("{file:?}").contains("argon2id"));
        assert_eq!(edited(&text, "eve", None), Ok(None));
        let rest = edited(&text, "bob", None).unwrap().unwrap();
        assert!(Passwords::parse(&rest).unwrap().of("bob").is_none());
        assert_eq!(edited(&text, "a:b", Some(&fresh)), Err(PasswordError::Name));
    }

    #[test]
    fn a_stranger_takes_as_long_as_the_user_whose_password_costs_most() {
        let dear = Hash::of(&Secret::new("dear"), [3; SALT_BYTES]).unwrap();
        for names in [["a", "b", "c"], ["b", "a", "c"], ["c", "b", "a"]] {
            let hashes = [&cheap("one"), &dear, &cheap("two")];
            let lines = names.iter().zip(hashes);
            let text = lines.fold(String::new(), |text, (name, hash)| {
                format!("{text}{name}:{}\n", hash.0)
            });
            assert_eq!(Passwords::parse(&text).unwrap().dearest(), Some(&dear));
        }
        assert_eq!(Passwords::default().dearest(), None);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let dear =
            "a:$argon2id$v=19$m=999999999,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAA";
        let other = "a:$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAA";
        for text in ["ana", "ana:", "ana:secret", ":x", dear, other] {
            let error = Passwords::parse(&format!("\n{text}")).unwrap_err();
            assert!(error.to_string().contains("line 2"), "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let twice = format!("a:{}\n", cheap("x").0).repeat(2);
        assert!(Passwords::parse(&twice).is_err());
    }
}
