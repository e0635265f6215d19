//! The demo page: static files of a folder, or a word on how to build them.

use std::path::Path;

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tower_http::services::ServeDir;

/// Serves the folder; what is not in it is answered by [`missing`]. The folder may appear later.
pub(super) fn service(folder: &Path) -> ServeDir<MethodRouter> {
    ServeDir::new(folder)
        .call_fallback_on_method_not_allowed(false)
        .fallback(get(missing))
}

async fn missing(uri: Uri) -> Response {
    match uri.path() {
        "/" => "The demo page is not built yet. `cargo demo` builds it and starts the broker with it.\n"
            .into_response(),
        _ => (StatusCode::NOT_FOUND, "there is nothing here\n").into_response(),
    }
}
