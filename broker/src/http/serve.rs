//! Accepts connections and serves HTTP/1.1 on them, within bounds.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::{Service, ServiceExt};

use super::patience::Patient;
use super::{HttpOptions, HttpServices, routes};
use crate::edge::{Entrance, HttpRefusal};
use crate::transport::{Arriving, Caller, Listener, NotArrived, Stream};

/// How long open requests are waited for after `shutdown`.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
/// After a failed accept (no file descriptor left, mostly) before the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long the headers of a request may take on a connection too many.
const REFUSING: Duration = Duration::from_secs(1);

/// What serves any number of listeners, within one number of connections. Clones are the same one.
#[derive(Clone)]
pub struct Server {
    routes: Router,
    services: HttpServices,
    permits: Arc<Semaphore>,
    header_timeout: Duration,
    write_timeout: Duration,
}

impl Server {
    /// Nobody is served yet.
    pub fn new(options: &HttpOptions, services: HttpServices) -> Self {
        Self {
            routes: routes(options, services.clone()),
            services,
            permits: Arc::new(Semaphore::new(options.connections_max)),
            header_timeout: options.header_timeout,
            write_timeout: options.write_timeout,
        }
    }

    /// Serves `listener` until `shutdown`, then no new connections; requests that are open get [`DRAIN_DEADLINE`].
    pub async fn serve(self, listener: Listener, shutdown: impl Future<Output = ()> + Send) {
        // Told once to close; gone when the last connection that listens to it is gone.
        let (closing, connections) = watch::channel(());
        tokio::select! {
            () = self.accept_all(&listener, &connections) => {}
            () = shutdown => {}
        }
        drop((listener, connections));
        closing.send_replace(());
        if tokio::time::timeout(DRAIN_DEADLINE, closing.closed())
            .await
            .is_err()
        {
            tracing::debug!("HTTP requests were still open when the time to drain was over");
        }
    }

    /// A permit comes before the connection, so that what waits, waits in the system's queue.
    async fn accept_all(&self, listener: &Listener, closing: &watch::Receiver<()>) {
        while let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            match listener.accept().await {
                Ok(arriving) => self.start(arriving, permit, closing.clone()),
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(
        &self,
        arriving: Arriving,
        permit: OwnedSemaphorePermit,
        mut closing: watch::Receiver<()>,
    ) {
        let (server, write_timeout) = (self.clone(), self.write_timeout);
        tokio::spawn(async move {
            let before = arriving.caller().clone();
            let arrived = tokio::select! {
                arrived = server.arrive(arriving) => arrived,
                _ = closing.changed() => return,
            };
            let Some((stream, caller, entrance)) = arrived else {
                return;
            };
            let header_timeout = server.header_timeout(&entrance);
            let place = Place::new(permit, entrance);
            let stream = Patient::new(stream, write_timeout, place.clone());
            let service = service(server.routes, caller, place);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                .with_upgrades();
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = closing.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::trace!(caller = %before, %error, "an HTTP connection ended early");
            }
        });
    }
}

impl Server {
    /// Until its first byte can be read. It is counted by its address as soon as that is known.
    async fn arrive(&self, arriving: Arriving) -> Option<(Stream, Caller, Entrance)> {
        let before = arriving.caller().clone();
        let failed = |reason: NotArrived| {
            (self.services.refused)(HttpRefusal::Handshake);
            tracing::debug!(caller = %before, %reason, "closed");
        };
        let arriving = arriving.named().await.map_err(failed).ok()?;
        let entrance = (self.services.enter)(arriving.caller(), !arriving.has_tls())?;
        let (stream, caller) = arriving.arrive().await.map_err(failed).ok()?;
        Some((stream, caller, entrance))
    }

    fn header_timeout(&self, entrance: &Entrance) -> Duration {
        match entrance.is_crowded() {
            true => self.header_timeout.min(REFUSING),
            false => self.header_timeout,
        }
    }
}

/// The routes for the requests of one connection.
fn service(
    routes: Router,
    caller: Caller,
    place: Place,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send
{
    routes.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        request.extensions_mut().insert(place.clone());
        request
    })
}

/// What a connection holds of the limits. It travels with each request, so that an upgraded one can keep it after HTTP is done with it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    held: Arc<Mutex<Option<Held>>>,
    upgraded: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    entrance: Arc<Entrance>,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, entrance: Entrance) -> Self {
        let held = Held {
            _permit: permit,
            entrance: Arc::new(entrance),
        };
        Self {
            held: Arc::new(Mutex::new(Some(held))),
            upgraded: Arc::default(),
        }
    }

    /// How its connection is counted, as long as that is not ending.
    pub(super) fn entrance(&self) -> Option<Arc<Entrance>> {
        self.lock().as_ref().map(|held| Arc::clone(&held.entrance))
    }

    /// From now on it is a WebSocket's.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }

    /// Gives it back, before the client is told that the connection ends: whoever comes again at once finds room.
    pub(super) fn leave(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
