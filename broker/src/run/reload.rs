//! Files that are read again while the broker runs: certificates, users, rules. All of them are taken, or none.

use std::sync::{Arc, Mutex, PoisonError};

use super::wall_clock;
use crate::auth::Accounts;
use crate::edge::Edge;
use crate::transport::Tls;

/// What a reload concerns.
pub(super) struct Reloads {
    tls: Option<Arc<Tls>>,
    accounts: Arc<Accounts>,
    edge: Edge,
    /// One at a time, so that the last one has read the files last.
    alone: Mutex<()>,
}

impl Reloads {
    pub(super) fn new(tls: Option<Arc<Tls>>, accounts: Arc<Accounts>, edge: Edge) -> Self {
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
        let book = self
            .accounts
            .read_again()
            .map_err(|error| error.to_string())?;
        let (users, keys) = (book.users(), book.token_keys());
        let tls = self.tls.as_ref().map(|tls| tls.reload(wall_clock()));
        let facts = tls.transpose().map_err(|error| error.to_string())?;
        self.accounts.take(book);
        self.edge.review();
        let certificate = match facts {
            Some(facts) => format!("certificate of {}", facts.certificate),
            None => "no certificates".to_owned(),
        };
        let tokens = match keys {
            0 => String::new(),
            keys => format!("; {keys} keys of tokens"),
        };
        Ok(format!(
            "{certificate}; {users} users with their rules{tokens}"
        ))
    }
}
