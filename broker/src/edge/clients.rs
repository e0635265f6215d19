//! Which connection has which client id: the newest one (takeover).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::index::PeerId;
use super::mailbox::{Mailbox, Summons};

/// All client ids in use.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    connections: Mutex<HashMap<String, (PeerId, Arc<Mailbox>)>>,
}

impl Clients {
    /// A connection takes a client id; the one that had it is told to end.
    pub(crate) fn enter(&self, client_id: String, peer: PeerId, mailbox: Arc<Mailbox>) {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, older)) = connections.insert(client_id, (peer, mailbox)) {
            older.summon(Summons::TakenOver);
        }
    }

    /// A connection ends; its client id is free unless another one has it by now.
    pub(crate) fn leave(&self, client_id: &str, peer: PeerId) {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if connections
            .get(client_id)
            .is_some_and(|(holder, _)| *holder == peer)
        {
            connections.remove(client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_connection_is_told_and_does_not_free_the_id() {
        let clients = Clients::default();
        let (older, newer, third) = <(Arc<Mailbox>, Arc<Mailbox>, Arc<Mailbox>)>::default();
        clients.enter("a".to_owned(), PeerId(1), Arc::clone(&older));
        clients.enter("a".to_owned(), PeerId(2), Arc::clone(&newer));
        assert_eq!(older.take().summons, Some(Summons::TakenOver));
        clients.leave("a", PeerId(1));
        clients.enter("a".to_owned(), PeerId(3), third);
        assert_eq!(newer.take().summons, Some(Summons::TakenOver));
    }
}
