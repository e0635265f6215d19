//! What `syncline` does besides serving: asks the broker that runs on a data directory, or opens the directory itself.

mod passwd;

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use syncline_protocol::Epoch;

use crate::admin;
use crate::auth::Book;
use crate::cli::{Command, summary};
use crate::compactor::States;
use crate::config::{self, Environment, Flags, Options};
use crate::history::{self, BackupRequest, Deeds, Desk, ImportRequest, MigrateRequest, Request};
use crate::run::{random_bits, wall_clock};
use crate::startup::{DataDir, StartupError};
use crate::store::{Compacted, EventStore, RedbStore, Restored, Stop, StoreError};
use crate::transport::{Tls, TlsError, TlsFacts};

/// There is nothing to read again for.
const NOBODY_RUNS: &str =
    "no broker runs on this data directory; name its own with --data or --config";

type Outcome = Result<(), Box<dyn Error>>;

/// Does one command other than `serve`, and writes what it says.
pub fn execute(command: Command, environment: &Environment, out: &mut dyn Write) -> Outcome {
    match command {
        Command::Serve(_) => Ok(()),
        Command::Check(args) => {
            let options = config::load(&args.into(), environment)?;
            let facts = certificates(&options)?;
            Book::read(&options.accounts)?;
            write!(out, "{}", summary(&options, facts.as_ref()))?;
            Ok(())
        }
        Command::Log(args) => ask(args.at, &Request::Log(args.request), environment, out),
        Command::State(args) => ask(args.at, &Request::State(args.request), environment, out),
        Command::Verify(args) => ask(args.at, &Request::Verify(args.request), environment, out),
        Command::Erase(args) => ask(args.at, &Request::Erase(args.request), environment, out),
        Command::Backup(args) => {
            // The broker has another working directory.
            let file = std::path::absolute(&args.request.file)?;
            let request = Request::Backup(BackupRequest { file });
            ask(args.at, &request, environment, out)
        }
        Command::Reload(args) => reload(args, environment, out),
        Command::Passwd(args) => passwd::change(&args, out),
        Command::Export(args) => export(args, environment, out),
        Command::Import(args) => {
            let options = config::load(&Flags::from(args.at), environment)?;
            import(options, &args.request, out)
        }
        Command::Migrate(args) => {
            let options = config::load(&Flags::from(args.at), environment)?;
            migrate(&options, &args.request, out)
        }
        Command::Restore(args) => restore(&args.file, &args.data, out),
        Command::Compact(args) => {
            let options = config::load(&Flags::from(args), environment)?;
            compact(&options, out)
        }
    }
}

/// Reads the certificates as the broker would.
fn certificates(options: &Options) -> Result<Option<TlsFacts>, TlsError> {
    let tls = options.transports.tls.clone().map(Tls::load).transpose()?;
    Ok(tls.map(|tls| tls.facts()))
}

fn reload(args: crate::cli::DataArgs, environment: &Environment, out: &mut dyn Write) -> Outcome {
    let options = config::load(&Flags::from(args), environment)?;
    match admin::ask(&options.data, &Request::Reload, out)? {
        true => Ok(()),
        false => Err(NOBODY_RUNS.into()),
    }
}

fn export(args: crate::cli::ExportArgs, environment: &Environment, out: &mut dyn Write) -> Outcome {
    let request = Request::Export(args.request);
    let Some(path) = args.file else {
        return ask(args.at, &request, environment, out);
    };
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = BufWriter::new(File::create_new(&path).map_err(named)?);
    ask(args.at, &request, environment, &mut file)?;
    let file = file
        .into_inner()
        .map_err(|error| named(error.into_error()))?;
    file.sync_all().map_err(named)?;
    Ok(())
}

/// Of the broker that runs on the data, or of the data itself if none does.
fn ask(
    at: crate::cli::DataArgs,
    request: &Request,
    environment: &Environment,
    out: &mut dyn Write,
) -> Outcome {
    let options = config::load(&Flags::from(at), environment)?;
    if admin::ask(&options.data, request, out)? {
        return Ok(());
    }
    let held = Held::open(&options)?;
    held.desk(options)?.answer(request, &Stop::default(), out)?;
    Ok(())
}

/// A data directory that this process has for itself.
struct Held {
    store: Arc<RedbStore>,
    _data: DataDir,
}

impl Held {
    /// Of a data directory that exists.
    fn open(options: &Options) -> Result<Self, Box<dyn Error>> {
        if !options.data.is_dir() {
            let path = options.data.display();
            return Err(format!("{path} is no data directory; name one with --data").into());
        }
        let data = DataDir::open(&options.data)?;
        let store = RedbStore::open(data.path(), &options.store)?;
        Ok(Self {
            store: Arc::new(store),
            _data: data,
        })
    }

    /// Reads by the schema of the data, whatever the configuration says.
    fn desk(&self, options: Options) -> Result<Desk, Box<dyn Error>> {
        let store: Arc<dyn EventStore> = Arc::<RedbStore>::clone(&self.store);
        let schema = Arc::new(history::schema_of(&*store, options.schema)?);
        let states = States::new(Arc::clone(&store), schema, options.states.cache_bytes_max);
        let deeds = deeds(&self.store);
        Ok(Desk::new(store, Arc::new(states), deeds))
    }
}

fn deeds(store: &Arc<RedbStore>) -> Deeds {
    let (backed_up, erased) = (Arc::clone(store), Arc::clone(store));
    let told = |error: StoreError| error.to_string();
    Deeds {
        backup: Box::new(move |file, stop| backed_up.backup(file, stop).map_err(told)),
        erase: Box::new(move |sync_id| erased.erase(sync_id).map_err(told)),
        reload: Box::new(|| Err(NOBODY_RUNS.to_owned())),
        now: Box::new(wall_clock),
    }
}

fn import(options: Options, request: &ImportRequest, out: &mut dyn Write) -> Outcome {
    let data = DataDir::open(&options.data).map_err(|error| stop_first(&error))?;
    let store = RedbStore::open(data.path(), &options.store)?;
    let schema = history::adopt(&store, options.schema, wall_clock())?;
    history::import(&store, &schema, request, &mut random_bits, out)?;
    Ok(())
}

fn migrate(options: &Options, request: &MigrateRequest, out: &mut dyn Write) -> Outcome {
    let held = Held::open(options)?;
    let store: Arc<dyn EventStore> = Arc::<RedbStore>::clone(&held.store);
    let schema = &options.schema;
    history::migrate(&store, schema, request, wall_clock(), &mut random_bits, out)?;
    Ok(())
}

fn restore(file: &Path, data: &Path, out: &mut dyn Write) -> Outcome {
    let directory = DataDir::open(data)?;
    let epoch = || Epoch::new(random_bits().max(1));
    let Restored { streams } = RedbStore::restore(file, directory.path(), epoch)?;
    let path = data.display();
    writeln!(
        out,
        "restored into {path}: {streams} streams, each begins a new epoch"
    )?;
    Ok(())
}

fn compact(options: &Options, out: &mut dyn Write) -> Outcome {
    let data = DataDir::open(&options.data).map_err(|error| stop_first(&error))?;
    let Compacted { before, after } = RedbStore::compact_files(data.path(), &options.store)?;
    writeln!(out, "{before} bytes before, {after} bytes after")?;
    Ok(())
}

fn stop_first(error: &StartupError) -> String {
    format!("{error} (this command works on data that no broker has open)")
}
