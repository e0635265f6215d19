//! An app with the Rust SDK, to be killed by a test: stars albums whether or not a broker is there,
//! and says what it has reached, one line each: `stored <n>` when the n-th star is durable in its outbox,
//! `saved` when the broker has everything.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use syncline_client::{Client, Label, Options, Store, map};

/// Stars albums, and waits until the broker has them.
#[derive(Parser)]
struct Arguments {
    /// Where the broker is, or will be
    #[arg(long)]
    broker: String,
    /// Where the outbox is
    #[arg(long)]
    store: PathBuf,
    /// How many albums to star before waiting
    #[arg(long, default_value_t = 0)]
    stars: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let options = Options::new(&arguments.broker, "home")?.store(Store::File(arguments.store));
    let client = Client::open(options).await?;
    for at in 1..=arguments.stars {
        let album = format!("album-{at:03}");
        client
            .publish("star_album", map([("album_id", album.as_str())]))
            .await?;
        println!("stored {at}");
    }
    let mut status = client.status();
    status
        .wait_for(|status| status.label() == Label::Saved)
        .await?;
    println!("saved");
    client.close().await;
    Ok(())
}
