//! Tokens in place of a password: the app says where fresh ones come from.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A token that the broker takes in place of a password. It is never printed.
#[derive(Clone)]
pub struct Token {
    pub(crate) text: String,
    pub(crate) renew_in: Option<Duration>,
}

impl Token {
    /// A token that lasts longer than any connection. Where it does not, the connection ends with it, and the next one begins
    /// with a fresh one.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            renew_in: None,
        }
    }

    /// When to ask for the next one, well before this one expires, so that the connection goes on.
    #[must_use]
    pub fn renew_in(mut self, after: Duration) -> Self {
        self.renew_in = Some(after);
        self
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut token = f.debug_struct("Token");
        token
            .field("renew_in", &self.renew_in)
            .finish_non_exhaustive()
    }
}

type Asked = Pin<Box<dyn Future<Output = Result<Token, String>> + Send>>;

/// Where fresh tokens come from.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<dyn Fn() -> Asked + Send + Sync>);

impl Tokens {
    pub(crate) fn new<F, E>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Token, E>> + Send + 'static,
        E: fmt::Display,
    {
        Self(Arc::new(move || {
            let asked = ask();
            Box::pin(async move { asked.await.map_err(|error| error.to_string()) })
        }))
    }

    /// A fresh one, or why there is none.
    pub(crate) async fn fresh(&self) -> Result<Token, String> {
        (self.0)().await
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}
