//! What is read again while the broker runs: the configuration, the schema, certificates, keys, users and rules. All of it is
//! taken, or none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use syncline_protocol::Schema;

use super::{Rooms, wall_clock};
use crate::auth::{Accounts, Book};
use crate::compactor::States;
use crate::config::{ConfigError, Options, Settings};
use crate::edge::Edge;
use crate::history::Adoption;
use crate::sequencer::Sequencer;
use crate::store::EventStore;
use crate::transport::{Renewed, Tls};

/// How a program that runs a broker has its configuration read again.
pub struct Configuration {
    /// Reads it. Blocks.
    pub read: Box<dyn Fn() -> Result<Options, ConfigError> + Send + Sync>,
    /// Takes another filter for logs.
    pub log_level: Box<dyn Fn(&str) + Send + Sync>,
}

/// What a reload concerns.
pub(super) struct Reloads {
    tls: Option<Arc<Tls>>,
    accounts: Option<Arc<Accounts>>,
    edge: Edge,
    sequencer: Arc<Sequencer>,
    states: Arc<States>,
    store: Arc<dyn EventStore>,
    /// As the broker was started.
    settings: Settings,
    /// One reload at a time, so that the last one has read the files last.
    configuration: Mutex<Option<Configuration>>,
}

/// What was read and is in order.
struct Fresh {
    options: Option<Options>,
    adoption: Option<Adoption>,
    /// None: the host application knows everybody.
    book: Option<Book>,
    renewed: Option<Renewed>,
}

impl Reloads {
    pub(super) fn new(tls: Option<Arc<Tls>>, rooms: &Rooms, settings: Settings) -> Self {
        Self {
            tls,
            accounts: rooms.accounts.clone(),
            edge: rooms.edge.clone(),
            sequencer: Arc::clone(&rooms.sequencer),
            states: Arc::clone(&rooms.states),
            store: Arc::clone(&rooms.store),
            settings,
            configuration: Mutex::default(),
        }
    }

    /// From now on the configuration is read again, too.
    pub(super) fn with(&self, configuration: Configuration) {
        *self.configuration() = Some(configuration);
    }

    /// What a reload has to say, which the log has too.
    pub(super) fn reload(&self) -> Result<String, String> {
        let configuration = self.configuration();
        let taken = self.read(configuration.as_ref());
        match taken.and_then(|fresh| self.take(fresh, configuration.as_ref())) {
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

    fn configuration(&self) -> MutexGuard<'_, Option<Configuration>> {
        self.configuration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything is read and checked before anything is taken.
    fn read(&self, configuration: Option<&Configuration>) -> Result<Fresh, String> {
        let options = configuration.map(|it| (it.read)()).transpose();
        let options = options.map_err(|error| error.to_string())?;
        let schema = options.as_ref().map(|it| it.schema.clone());
        let plan = schema.map(|schema| Adoption::plan(&*self.store, schema, wall_clock()));
        let adoption = plan.transpose().map_err(|error| error.to_string())?;
        let accounts = self.accounts.as_deref();
        let book = accounts.map(Accounts::read_again).transpose();
        let book = book.map_err(|error| error.to_string())?;
        let renewed = self.tls.as_ref().map(|tls| tls.read_again(wall_clock()));
        let renewed = renewed.transpose().map_err(|error| error.to_string())?;
        Ok(Fresh {
            options,
            adoption: adoption.filter(Adoption::is_other),
            book,
            renewed,
        })
    }

    /// The schema first: it goes to the disk, and nothing can go wrong after that.
    fn take(&self, fresh: Fresh, configuration: Option<&Configuration>) -> Result<String, String> {
        let Fresh {
            options,
            adoption,
            book,
            renewed,
        } = fresh;
        let mut told = Vec::new();
        if let Some(adoption) = adoption {
            told.push(self.adopt(adoption)?);
        }
        told.push(match &renewed {
            Some(renewed) => format!("certificate of {}", renewed.facts().certificate),
            None => "no certificates".to_owned(),
        });
        told.extend(book.iter().flat_map(said_of));
        if let (Some(tls), Some(renewed)) = (&self.tls, renewed) {
            tls.take(renewed);
        }
        if let (Some(accounts), Some(book)) = (&self.accounts, book) {
            accounts.take(book);
        }
        self.edge.review();
        if let (Some(options), Some(configuration)) = (options, configuration) {
            (configuration.log_level)(&options.log_level);
            let later = self.settings.needing_a_restart(&options.settings);
            if !later.is_empty() {
                told.push(format!(
                    "counts from the next start on: {}",
                    later.join(", ")
                ));
            }
        }
        Ok(told.join("; "))
    }

    /// Everybody reads by the new schema before the first event that counts for what it adds. Blocks.
    fn adopt(&self, adoption: Adoption) -> Result<String, String> {
        let added: Vec<_> = adoption.added().map(str::to_owned).collect();
        let (store, states) = (Arc::clone(&self.store), Arc::clone(&self.states));
        let edge = self.edge.clone();
        let make = move |after| {
            let schema = adoption.make(&*store, after);
            let schema: Arc<Schema> = Arc::new(schema.map_err(|error| error.to_string())?);
            states.adopt(Arc::clone(&schema));
            edge.tell_schema(&schema);
            Ok(schema)
        };
        let (tell, told) = mpsc::sync_channel(1);
        let done = move |adopted| drop(tell.send(adopted));
        self.sequencer.adopt(Box::new(make), Box::new(done));
        told.recv()
            .map_err(|_| "the broker is shutting down".to_owned())??;
        Ok(match added.is_empty() {
            true => "another schema".to_owned(),
            false => format!("new collections: {}", added.join(", ")),
        })
    }
}

/// Of users, and of keys where there are any.
fn said_of(book: &Book) -> impl Iterator<Item = String> + use<> {
    let users = format!("{} users with their rules", book.users());
    let keys = Some(book.token_keys()).filter(|keys| *keys > 0);
    let keys = keys.map(|keys| format!("{keys} keys of tokens"));
    [users].into_iter().chain(keys)
}
