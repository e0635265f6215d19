//! What the application serves itself.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use parking_lot::Mutex;
use syncline_client::{Client, Set};

use crate::house::House;

const ALBUMS: Set = Set::new("albums");

/// What a route answers: text, or why there is none.
type Answer = Result<String, (StatusCode, String)>;

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) house: Arc<House>,
    pub(crate) client: Client,
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn of(shared: Shared) -> Router {
    Router::new()
        .route("/login/{person}", post(log_in))
        .route("/stars", get(stars))
        .route("/stars/{album}", post(star))
        .route("/events", get(events))
        .with_state(shared)
}

/// The house's code in the body; a word for the broker comes back.
async fn log_in(State(app): State<Shared>, Path(person): Path<String>, code: String) -> Answer {
    let word = app.house.log_in(&person, code.trim()).map_err(failed)?;
    word.ok_or((
        StatusCode::FORBIDDEN,
        "that is not the code of the house".to_owned(),
    ))
}

/// As every device sees them.
async fn stars(State(app): State<Shared>) -> Answer {
    let starred = ALBUMS.of(&app.client).keys().await.map_err(failed)?;
    Ok(starred.join("\n"))
}

/// Answers once it is on the broker's disk.
async fn star(State(app): State<Shared>, Path(album): Path<String>) -> Answer {
    let receipt = ALBUMS.of(&app.client).add(&album).await.map_err(failed)?;
    let saved = receipt.saved().await.map_err(failed)?;
    Ok(saved
        .seq
        .map_or_else(String::new, |seq| format!("event {seq}")))
}

async fn events(State(app): State<Shared>) -> String {
    app.told.lock().join("\n")
}

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
