//! For the fuzzer: who a browser says it is.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;

use super::guard::Guard;

/// The values of `Host` and `Origin`, a line each.
pub fn host_and_origin(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let request = Request::builder().header(header::HOST, lines.next().unwrap_or_default());
    let request = match lines.next() {
        None => request,
        Some(origin) => request.header(header::ORIGIN, origin),
    };
    if let Ok(request) = request.body(Body::empty()) {
        let origins = ["https://app.example".to_owned()];
        Guard::new(&["music.example".to_owned()], &origins).meet(&request);
    }
}

/// Own and foreign ones.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "localhost:8080\nhttp://localhost:8080",
        "[::1]:8080\nhttps://[::1]:8080",
        "MUSIC.example.\nnull",
        "127.0.0.1",
        "a;b@localhost:8080",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
