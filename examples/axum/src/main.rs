//! `HOUSE_CODE=… cargo run -p syncline-example-axum`: routes on 127.0.0.1:3000, MQTT on 1883, WebSocket on 8080.

use std::env;
use std::error::Error;
use std::path::Path;

use syncline_example_axum::App;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let code = env::var("HOUSE_CODE")
        .map_err(|_| "set HOUSE_CODE to the words by which people of this house log in")?;
    let ports = ["127.0.0.1:1883", "127.0.0.1:8080"];
    let app = App::start(Path::new("house"), ports, &code).await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/stars", listener.local_addr()?);
    axum::serve(listener, app.routes())
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    app.stop().await;
    Ok(())
}
