//! The only place that sees every room: starts them, joins them, drains them.

use std::sync::Arc;

use crate::config::Options;
use crate::http::{self, HttpServices, Readiness};
use crate::startup::{self, DataDir, Port, StartupError};

/// Runs until `shutdown`, then drains.
pub async fn run(
    options: Options,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), StartupError> {
    startup::raise_file_limit(options.edge.connections_max);
    let data = DataDir::open(&options.store.data)?;
    let listener = startup::listen(Port::Http, options.http.address).await?;
    tracing::info!("HTTP on http://{}", options.http.address);
    tracing::info!("data in {}", data.path().display());
    tracing::info!("schema {}", options.schema.hash());
    let services = HttpServices {
        mqtt: Arc::new(|socket, _| Box::pin(async move { drop(socket) })),
        readiness: Arc::new(|| Readiness {
            store: false,
            router: false,
            draining: false,
        }),
        schema_document: options.schema.document().into(),
    };
    http::serve(listener, options.http, services, shutdown).await;
    Ok(())
}
