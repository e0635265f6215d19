//! Files that are read again while the broker runs: certificates, users, rules. All of them are taken, or none.

use std::sync::{Arc, Mutex, PoisonError};

use super::wall_clock;
use crate::auth::{Accounts, Book};
use crate::edge::Edge;
use crate::transport::Tls;

/// What a reload concerns.
pub(super) struct Reloads {
    tls: Option<Arc<Tls>>,
    accounts: Option<Arc<Accounts>>,
    edge: Edge,
    /// One at a time, so that the last one has read the files last.
    alone: Mutex<()>,
}

impl Reloads {
    pub(super) fn new(tls: Option<Arc<Tls>>, accounts: Option<Arc<Accounts>>, edge: Edge) -> Self {
        Self {
            tls,
            accounts,
            edge,
            alone: Mutex::new(()),
        }
    }

    /// What a reload has to say, which the log has too.
    pub(super) fn reload(&self) -> Result<String, String> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        match self.read() {
            Ok(told) => {
                tracing::info!("read again: {told}");
                Ok(told)
            }
            Err(error) => {
                let told = format!("nothing was changed: {error}");
                tracing::warn!("{told}");
                Err(told)
            }
        }
    }

    /// Users and rules are read first and taken last: nothing can go wrong after the certificates are.
    fn read(&self) -> Result<String, String> {
        let accounts = self.accounts.as_deref();
        let book = accounts.map(Accounts::read_again).transpose();
        let book = book.map_err(|error| error.to_string())?;
        let told = book.as_ref().map(Self::told).unwrap_or_default();
        let tls = self.tls.as_ref().map(|tls| tls.reload(wall_clock()));
        let facts = tls.transpose().map_err(|error| error.to_string())?;
        if let (Some(accounts), Some(book)) = (accounts, book) {
            accounts.take(book);
        }
        self.edge.review();
        let certificate = match facts {
            Some(facts) => format!("certificate of {}", facts.certificate),
            None => "no certificates".to_owned(),
        };
        Ok(format!("{certificate}{told}"))
    }

    fn told(book: &Book) -> String {
        let users = format!("; {} users with their rules", book.users());
        match book.token_keys() {
            0 => users,
            keys => format!("{users}; {keys} keys of tokens"),
        }
    }
}
