//! Starred albums from the command line, also without a network:
//! `cargo run -p syncline-client --example stars -- add lantern-year`; further `rm`, `list` and `watch`.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use syncline_client::{Client, Label, Options, Receipt, Schema, Set, Store};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

const ALBUMS: Set = Set::new("albums");

/// Starred albums, the same on every device.
#[derive(Parser)]
struct Arguments {
    /// Where the broker listens for MQTT
    #[arg(long, default_value = "127.0.0.1:1883")]
    broker: String,
    /// The sync group
    #[arg(long, default_value = "demo")]
    group: String,
    /// Where this device keeps its outbox and its replica
    #[arg(long, default_value = "stars")]
    store: PathBuf,
    /// What people call this device
    #[arg(long, default_value = "command line")]
    name: String,
    /// How many seconds to wait for the broker
    #[arg(long, default_value_t = 5)]
    wait: u64,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Star albums
    Add {
        /// Their ids
        #[arg(required = true)]
        albums: Vec<String>,
    },
    /// Take stars away
    Rm {
        /// Their ids
        #[arg(required = true)]
        albums: Vec<String>,
    },
    /// Print what is starred
    List,
    /// Print what changes, until it is interrupted
    Watch,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stars: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // So that the first star shows before a broker was ever met.
    let schema = Schema::parse(include_str!("../../../config/schemas/music.toml"))?;
    let options = Options::new(&arguments.broker, &arguments.group)?
        .store(Store::Folder(arguments.store))
        .device_name(arguments.name)
        .schema(schema);
    let client = Client::open(options).await?;
    let patience = Duration::from_secs(arguments.wait);
    let done = match arguments.what {
        What::Add { albums } => change(&client, &albums, true, patience).await,
        What::Rm { albums } => change(&client, &albums, false, patience).await,
        What::List => list(&client, patience).await,
        What::Watch => watch(&client).await,
    };
    client.close().await;
    done
}

/// Every change is here at once; the broker is waited for at the end, for all of them together.
async fn change(
    client: &Client,
    albums: &[String],
    add: bool,
    patience: Duration,
) -> Result<(), Box<dyn Error>> {
    let starred = ALBUMS.of(client);
    let mut receipts = Vec::new();
    for album in albums {
        let receipt = match add {
            true => starred.add(album).await?,
            false => starred.remove(album).await?,
        };
        println!("{album}: kept on this device");
        receipts.push(receipt);
    }
    let all_saved = async {
        for (album, receipt) in albums.iter().zip(&receipts) {
            println!("{album}: {}", saved(receipt).await);
        }
    };
    if timeout(patience, all_saved).await.is_err() {
        let pending = client.status().borrow().pending;
        println!(
            "{pending} changes wait for the broker; they go out with the next start that reaches it"
        );
    }
    Ok(())
}

async fn saved(receipt: &Receipt) -> String {
    match receipt.saved().await {
        Ok(saved) => saved.seq.map_or_else(
            || "saved by the broker".to_owned(),
            |seq| format!("saved by the broker as event {seq}"),
        ),
        Err(error) => error.to_string(),
    }
}

async fn list(client: &Client, patience: Duration) -> Result<(), Box<dyn Error>> {
    let mut status = client.status();
    let fresh = status.wait_for(|it| it.label() == Label::Saved);
    if timeout(patience, fresh).await.is_err() {
        println!("# without the broker: as this device knows it");
    }
    for album in ALBUMS.of(client).keys().await? {
        println!("{album}");
    }
    Ok(())
}

async fn watch(client: &Client) -> Result<(), Box<dyn Error>> {
    let mut changes = client.changes();
    let mut shown = BTreeSet::new();
    loop {
        let starred = ALBUMS.of(client).keys().await?;
        let starred: BTreeSet<String> = starred.into_iter().collect();
        for album in starred.difference(&shown) {
            println!("+ {album}");
        }
        for album in shown.difference(&starred) {
            println!("- {album}");
        }
        shown = starred;
        match changes.recv().await {
            // However many were missed, the next reading has them all.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
