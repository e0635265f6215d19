//! Who may ask: the checks of Host and Origin, and the headers that tell browsers what this page may do.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::serve::Place;
use super::{HEALTH_PATH, READINESS_PATH, Refused, WEBSOCKET_PATH};
use crate::edge::{Entrance, HttpRefusal};
use crate::transport::Caller;

/// The Host names that are ours, and the pages elsewhere that may talk MQTT to us.
#[derive(Debug)]
pub(super) struct Guard {
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Foreign {
    /// A name that is not ours: some other site's name may point at this address (DNS rebinding).
    Host,
    /// A page of another site.
    Origin,
}

impl Guard {
    pub(super) fn new(allowed_hosts: &[String], allowed_origins: &[String]) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|it| it.to_ascii_lowercase()).collect();
        Self {
            allowed_hosts: lower(allowed_hosts),
            allowed_origins: lower(allowed_origins),
        }
    }

    /// The authority that the request is for, if it is ours and the page that asks, if any, is from there too.
    fn authority(&self, request: &Request) -> Result<Authority, Foreign> {
        let authority = authority_of(request).ok_or(Foreign::Host)?;
        // A Host has no user in front (RFC 9110), and what stands there would go into our headers.
        if authority.as_str().contains('@') || !self.is_ours(authority.host()) {
            return Err(Foreign::Host);
        }
        match request.headers().get(header::ORIGIN) {
            None => Ok(authority),
            Some(origin) if is_same_origin(origin, &authority, has_certificate(request)) => {
                Ok(authority)
            }
            Some(origin) if self.may_open(request.uri().path(), origin) => Ok(authority),
            Some(_) => Err(Foreign::Origin),
        }
    }

    /// Whether a page from elsewhere may open this. Only a WebSocket: nothing else says so to the browser (CORS).
    fn may_open(&self, path: &str, origin: &HeaderValue) -> bool {
        let origin = origin.as_bytes();
        let mut allowed = self.allowed_origins.iter();
        path == WEBSOCKET_PATH
            && allowed.any(|allowed| origin.eq_ignore_ascii_case(allowed.as_bytes()))
    }

    /// All that [`check`] does with a request before it is served.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn meet(&self, request: &Request) {
        let mut headers = HeaderMap::new();
        if let Ok(authority) = self.authority(request) {
            secure(&mut headers, &authority);
            assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY));
        }
    }

    /// An IP address cannot be rebound, and `localhost` always means this machine (RFC 6761).
    fn is_ours(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        host == "localhost"
            || host.ends_with(".localhost")
            || is_ip_literal(&host)
            || self.allowed_hosts.contains(&host)
    }
}

/// Refuses what is foreign; adds the security headers to every answer.
pub(super) async fn check(
    State((guard, refused)): State<(Arc<Guard>, Refused)>,
    request: Request,
    next: Next,
) -> Response {
    let authority = match guard.authority(&request) {
        Ok(authority) => authority,
        Err(foreign) => {
            refused(foreign.into());
            return foreign.into_response();
        }
    };
    let is_shed = is_shed(&request);
    let mut response = match is_crowded(&request) {
        _ if is_shed => (StatusCode::SERVICE_UNAVAILABLE, CLOSE, LATER, OVERLOAD).into_response(),
        true => (StatusCode::TOO_MANY_REQUESTS, CLOSE, TOO_MANY).into_response(),
        false => next.run(request).await,
    };
    if is_shed {
        refused(HttpRefusal::Overload);
    }
    if let Some(why) = refusal(response.status()) {
        refused(why);
    }
    secure(response.headers_mut(), &authority);
    response
}

const CLOSE: [(header::HeaderName, &str); 1] = [(header::CONNECTION, "close")];
const TOO_MANY: &str = "too many connections come from here\n";

const LATER: [(header::HeaderName, &str); 1] = [(header::RETRY_AFTER, "5")];
const OVERLOAD: &str = "the broker has too much to do; try again later\n";

/// It is on a connection too many. MQTT has an answer of its own to that.
fn is_crowded(request: &Request) -> bool {
    let entrance = entrance(request).filter(|it| !it.is_shed());
    request.uri().path() != WEBSOCKET_PATH && entrance.is_some_and(|it| it.is_crowded())
}

/// It came while there was too much to do. Whoever looks after the broker is answered, lest it be ended for being busy.
fn is_shed(request: &Request) -> bool {
    let is_answered = [WEBSOCKET_PATH, HEALTH_PATH, READINESS_PATH].contains(&request.uri().path());
    !is_answered && entrance(request).is_some_and(|it| it.is_shed())
}

fn entrance(request: &Request) -> Option<Arc<Entrance>> {
    request
        .extensions()
        .get::<Place>()
        .and_then(Place::entrance)
}

/// What an answer is counted as, if it is a refusal.
fn refusal(status: StatusCode) -> Option<HttpRefusal> {
    match status {
        StatusCode::NOT_FOUND => Some(HttpRefusal::NotFound),
        StatusCode::TOO_MANY_REQUESTS => Some(HttpRefusal::TooMany),
        status => status.is_client_error().then_some(HttpRefusal::Other),
    }
}

impl From<Foreign> for HttpRefusal {
    fn from(foreign: Foreign) -> Self {
        match foreign {
            Foreign::Host => Self::Host,
            Foreign::Origin => Self::Origin,
        }
    }
}

/// Exactly one Host header, or the authority of an absolute target.
fn authority_of(request: &Request) -> Option<Authority> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        (None, None) => request.uri().authority().cloned(),
        _ => None,
    }
}

/// Browsers show a client's certificate by themselves, so a page that came without TLS must not speak in its name.
fn has_certificate(request: &Request) -> bool {
    let caller = request.extensions().get::<Caller>();
    caller.is_some_and(|caller| caller.certificate.is_some())
}

/// `https://`, or `http://` unless `only_https`, and then exactly what the Host header says. Behind a proxy that ends TLS a page is
/// `https` on our plain port.
fn is_same_origin(origin: &HeaderValue, authority: &Authority, only_https: bool) -> bool {
    let origin = origin.as_bytes();
    let schemes = [b"https://".as_slice(), b"http://"];
    let schemes = &schemes[..if only_https { 1 } else { 2 }];
    schemes.iter().any(|scheme| {
        origin
            .strip_prefix(*scheme)
            .is_some_and(|rest| rest.eq_ignore_ascii_case(authority.as_str().as_bytes()))
    })
}

fn is_ip_literal(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok(),
    }
}

/// Nothing but this page's own files runs, and it talks to nobody but this port. MQTT.js keeps its connections alive by a
/// worker made of a blob, because browsers slow down the timers of pages in the background. No foreign page shows it in a
/// frame; its own view of two devices does.
fn secure(headers: &mut HeaderMap, authority: &Authority) {
    let policy = format!(
        "default-src 'self'; connect-src 'self' ws://{authority} wss://{authority}; \
         img-src 'self' data:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; \
         object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

impl IntoResponse for Foreign {
    fn into_response(self) -> Response {
        match self {
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "this Host name is not served here; add it to `http.allowed_hosts` if it is yours\n",
            ),
            Self::Origin => {
                (StatusCode::FORBIDDEN, "a page of another origin may not use this address; add it to `http.allowed_origins` if its WebSocket is wanted\n")
            }
        }
        .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ClientCertificate;

    #[test]
    fn only_names_that_cannot_be_rebound_are_ours() {
        let guard = Guard::new(&["Music.Example".into()], &[]);
        for ours in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "192.168.1.7",
            "[::1]",
            "music.example",
        ] {
            assert!(guard.is_ours(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[x]",
            "notlocalhost",
        ] {
            assert!(!guard.is_ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_host_has_no_user_in_front() {
        let guard = Guard::new(&[], &[]);
        let of = |host: &str| {
            let request = Request::builder().header(header::HOST, host);
            guard.authority(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert!(of("localhost:8080").is_ok());
        assert_eq!(of("a;b@localhost:8080"), Err(Foreign::Host));
    }

    #[test]
    fn a_page_from_elsewhere_opens_a_websocket_if_it_is_on_the_list_and_nothing_else() {
        let guard = Guard::new(&[], &["https://App.example".into()]);
        let of = |path: &str, origin: &str| {
            let request = Request::builder().uri(path);
            let request = request
                .header(header::HOST, "localhost")
                .header(header::ORIGIN, origin);
            guard.authority(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert!(of("/mqtt", "https://app.example").is_ok());
        assert_eq!(of("/schema", "https://app.example"), Err(Foreign::Origin));
        for foreign in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "null",
        ] {
            assert_eq!(of("/mqtt", foreign), Err(Foreign::Origin), "{foreign}");
        }
    }

    #[test]
    fn an_origin_is_the_same_when_scheme_apart_it_is_the_host() {
        let authority = Authority::from_static("localhost:8080");
        let same = |origin| is_same_origin(&HeaderValue::from_static(origin), &authority, false);
        assert!(same("http://localhost:8080"));
        assert!(same("https://LOCALHOST:8080"));
        assert!(!same("http://localhost:8081"));
        assert!(!same("http://localhost"));
        assert!(!same("null"));
        assert!(!same("ftp://localhost:8080"));
    }

    #[test]
    fn a_page_without_tls_does_not_speak_in_the_name_of_a_certificate() {
        let guard = Guard::new(&[], &[]);
        let asks = |origin: &str, certificate| {
            let request = Request::builder().header("Host", "localhost:8443");
            let mut request = request
                .header("Origin", origin)
                .body(axum::body::Body::empty())
                .unwrap();
            let mut caller = Caller::from(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
            caller.certificate = certificate;
            request.extensions_mut().insert(caller);
            guard.authority(&request).map(drop)
        };
        let certificate = || {
            Some(ClientCertificate {
                subject: "CN=kitchen".to_owned(),
                ..ClientCertificate::default()
            })
        };
        let (plain, secure) = ("http://localhost:8443", "https://localhost:8443");
        assert_eq!(asks(plain, certificate()), Err(Foreign::Origin));
        assert_eq!(asks(secure, certificate()), Ok(()));
        assert_eq!(asks(plain, None), Ok(()));
    }
}
