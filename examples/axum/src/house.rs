//! Who may come in: an application's own users stand here.

use std::collections::HashMap;
use std::io;

use parking_lot::Mutex;
use syncline_broker::acl::{Access, Rights};
use syncline_broker::auth::{Admission, Authenticator, Credentials, Denied, Proof};

use crate::GROUP;

/// A random word has so many bytes.
const WORD_BYTES: usize = 16;

/// Everybody who knows its code may log in, under a name, and gets a word that the broker takes.
pub struct House {
    code: String,
    /// Whose each word is.
    words: Mutex<HashMap<String, String>>,
}

impl House {
    /// Nobody is logged in.
    pub fn new(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            words: Mutex::default(),
        }
    }

    /// A word for a person who knows the code; `None` for others. A real application has its own login here.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn log_in(&self, person: &str, code: &str) -> io::Result<Option<String>> {
        match code == self.code {
            true => self.word_for(person).map(Some),
            false => Ok(None),
        }
    }

    /// A fresh word for somebody.
    pub(crate) fn word_for(&self, person: &str) -> io::Result<String> {
        let mut bytes = [0; WORD_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let word: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.words.lock().insert(word.clone(), person.to_owned());
        Ok(word)
    }

    pub(crate) fn forget(&self, person: &str) {
        self.words.lock().retain(|_, whose| whose != person);
    }

    fn admit(&self, word: &str) -> Result<Admission, Denied> {
        let words = self.words.lock();
        let person = words.get(word).ok_or(Denied::BadCredentials)?;
        let group = GROUP.parse().map_err(|_| Denied::NotAuthorised)?;
        Ok(Admission {
            user: person.clone(),
            rights: Rights::to_groups([(group, Access::ReadWrite)]),
            expires_at: None,
            proof: Proof::Host(word.into()),
        })
    }
}

impl Authenticator for House {
    /// A look into a map needs no thread of its own.
    fn at_once(&self, shown: &Credentials) -> Option<Result<Admission, Denied>> {
        Some(self.authenticate(shown))
    }

    /// By token, or as the password beside the name.
    fn authenticate(&self, shown: &Credentials) -> Result<Admission, Denied> {
        let word = shown.token.as_ref().or(shown.password.as_ref());
        let word = word.ok_or(Denied::NotAuthorised)?.expose();
        self.admit(std::str::from_utf8(word).map_err(|_| Denied::BadCredentials)?)
    }

    fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
        match &admission.proof {
            Proof::Host(word) => self.admit(word),
            _ => Err(Denied::NotAuthorised),
        }
    }
}
