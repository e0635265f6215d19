//! Stars an album, also without a network: `cargo run -p syncline-client --example quickstart`.

use syncline_client::{Client, Options, Store, map};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::new("127.0.0.1:1883", "demo")?.store(Store::File("music.redb".into()));
    let client = Client::open(options).await?;
    let receipt = client
        .publish("star_album", map([("album_id", "lantern-year")]))
        .await?;
    println!("saved at {:?}", receipt.saved().await?.seq);
    println!("starred: {:?}", client.entries("albums").await?.keys());
    client.close().await;
    Ok(())
}
