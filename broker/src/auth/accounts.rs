//! Who comes in by what the files of `[auth]` say, which can be read again while connections go on.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use syncline_protocol::UnixMillis;

use super::passwords::{Hash, SALT_BYTES};
use super::throttle::{Throttle, ThrottleOptions};
use super::tokens::{TokenError, TokenOptions, Verified, is_token};
use super::{
    Admission, AuthError, AuthFile, Authenticator, Book, Credentials, Denied, Proof, Secret,
};

/// Which files, and what counts beside them.
#[derive(Debug, Clone)]
pub struct AccountsOptions {
    /// The password file.
    pub passwords: Option<AuthFile>,
    /// The rule file. Without it nobody but the anonymous one of a broker without authentication may do anything.
    pub acl: Option<AuthFile>,
    /// Whose tokens are taken.
    pub tokens: Option<TokenOptions>,
    /// Whether somebody may come in who shows nothing.
    pub anonymous: bool,
    /// For those who guess.
    pub throttle: ThrottleOptions,
}

impl AccountsOptions {
    /// Whether anybody can say who they are.
    pub fn authenticates(&self) -> bool {
        self.passwords.is_some() || self.tokens.is_some()
    }
}

/// The clock.
pub type Now = Box<dyn Fn() -> UnixMillis + Send + Sync>;

/// Lets users in.
pub struct Accounts {
    options: AccountsOptions,
    book: RwLock<Arc<Book>>,
    throttle: Mutex<Throttle>,
    /// What a stranger's password is compared with where there are no users.
    stranger: Hash,
    now: Now,
}

impl Accounts {
    /// Reads the files. Blocks.
    pub fn load(options: AccountsOptions, now: Now) -> Result<Self, AuthError> {
        let book = Arc::new(Book::read(&options)?);
        let nobody = Hash::of(&Secret::new("nobody"), [0; SALT_BYTES]);
        Ok(Self {
            throttle: Mutex::new(Throttle::new(options.throttle.clone())),
            stranger: nobody.expect("a password of six bytes is taken"),
            book: RwLock::new(book),
            options,
            now,
        })
    }

    /// What the files say now, to be taken by [`Accounts::take`]. Blocks.
    pub fn read_again(&self) -> Result<Book, AuthError> {
        Book::read(&self.options)
    }

    /// From now on this counts. Whoever is connected has to be looked at again.
    pub fn take(&self, book: Book) {
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn anonymous(&self) -> Result<Admission, Denied> {
        match self.options.anonymous {
            true => Ok(self.admit("", Proof::Anonymous)),
            false => Err(Denied::NotAuthorised),
        }
    }

    fn admit(&self, user: &str, proof: Proof) -> Admission {
        Admission {
            user: user.to_owned(),
            rights: self.book().policy.rights(user),
            expires_at: None,
            proof,
        }
    }

    fn look_at(&self, credentials: &Credentials) -> Result<Admission, Denied> {
        let user = credentials.user.as_deref();
        match (user, &credentials.password, &credentials.token) {
            (user, None, Some(token)) => self.by_token(user, token),
            (user, Some(password), None) if self.is_token(password) => {
                self.by_token(user, password)
            }
            (Some(user), Some(password), None) => self.log_in(user, password),
            _ => Err(Denied::BadCredentials),
        }
    }

    /// What has the form of a token is looked at as one alone.
    fn is_token(&self, password: &Secret) -> bool {
        self.options.tokens.is_some() && is_token(password.expose())
    }

    fn by_token(&self, shown: Option<&str>, token: &Secret) -> Result<Admission, Denied> {
        let Some(options) = &self.options.tokens else {
            return Err(Denied::Method);
        };
        let book = self.book();
        match options.verify(&book.keys, token.expose(), (self.now)()) {
            Ok(verified) if options.goes_with(shown, &verified.user) => {
                let Verified {
                    user,
                    expires_at,
                    proof,
                } = verified;
                Ok(Admission {
                    rights: book.policy.rights(&user).and(&proof.rights),
                    user,
                    expires_at: Some(expires_at),
                    proof: Proof::Token(proof),
                })
            }
            Ok(_) => Err(Denied::BadCredentials),
            Err(error) => {
                tracing::debug!(%error, "a token was refused");
                Err(denied(error))
            }
        }
    }

    /// Takes as long for a stranger as for a user.
    fn log_in(&self, user: &str, password: &Secret) -> Result<Admission, Denied> {
        let book = self.book();
        let known = book.passwords.of(user);
        let hash = known.or(book.passwords.any()).unwrap_or(&self.stranger);
        let is_right = hash.is_of(password);
        match known {
            Some(hash) if is_right => Ok(self.admit(user, Proof::Password(hash.clone()))),
            _ => Err(Denied::BadCredentials),
        }
    }

    fn throttled(&self, address: Option<IpAddr>) -> bool {
        let throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        address.is_some_and(|address| throttle.is_blocked(address, (self.now)()))
    }

    /// Guesses count; what is right and not valid now is none.
    fn count(&self, credentials: &Credentials, admission: &Result<Admission, Denied>) {
        if let Err(Denied::BadCredentials | Denied::OtherUser) = admission {
            tracing::debug!(caller = %credentials.caller, "what a client shows is wrong");
            self.failed(address(credentials));
        }
    }

    fn failed(&self, address: Option<IpAddr>) {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = address {
            throttle.failed(address, (self.now)());
        }
    }
}

impl Authenticator for Accounts {
    fn at_once(&self, credentials: &Credentials) -> Option<Result<Admission, Denied>> {
        if credentials.token.is_some() && self.options.tokens.is_none() {
            return Some(Err(Denied::Method));
        }
        if !self.options.authenticates() || credentials.show_nothing() {
            return Some(self.anonymous());
        }
        let throttled = self.throttled(address(credentials));
        throttled.then_some(Err(Denied::Throttled))
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Admission, Denied> {
        // Others of its address may have failed while it waited.
        if let Some(known) = self.at_once(credentials) {
            return known;
        }
        let admission = self.look_at(credentials);
        self.count(credentials, &admission);
        admission
    }

    fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
        let book = self.book();
        match &admission.proof {
            Proof::Anonymous => self.anonymous(),
            Proof::Password(hash) if book.passwords.of(&admission.user) == Some(hash) => {
                Ok(self.admit(&admission.user, admission.proof.clone()))
            }
            Proof::Token(_) if admission.has_ended((self.now)()) => Err(Denied::Expired),
            Proof::Token(proof) if book.keys.has(&proof.key) => Ok(Admission {
                rights: book.policy.rights(&admission.user).and(&proof.rights),
                ..admission.clone()
            }),
            Proof::Password(_) | Proof::Token(_) => Err(Denied::NotAuthorised),
        }
    }

    fn renew(&self, admission: &Admission, credentials: &Credentials) -> Result<Admission, Denied> {
        let (Proof::Token(_), Some(token)) = (&admission.proof, &credentials.token) else {
            return Err(Denied::NotRenewable);
        };
        if self.throttled(address(credentials)) {
            return Err(Denied::Throttled);
        }
        let renewed = self.by_token(None, token);
        let renewed = renewed.and_then(|renewed| match renewed.user == admission.user {
            true => Ok(renewed),
            false => Err(Denied::OtherUser),
        });
        self.count(credentials, &renewed);
        renewed
    }
}

fn denied(error: TokenError) -> Denied {
    match error {
        TokenError::Expired => Denied::Expired,
        TokenError::NotYet => Denied::NotAuthorised,
        _ => Denied::BadCredentials,
    }
}

fn address(credentials: &Credentials) -> Option<IpAddr> {
    credentials.caller.address.map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::auth::passwords::{cheap, edited};
    use crate::transport::Caller;
    use tempfile::TempDir;

    struct Rig {
        folder: TempDir,
        accounts: Accounts,
    }

    fn file(folder: &TempDir, name: &str) -> AuthFile {
        AuthFile {
            path: folder.path().join(name),
            named_by: format!("auth.{name}"),
        }
    }

    fn write_passwords(folder: &TempDir, users: &[(&str, &str)]) {
        let text = users.iter().fold(String::new(), |text, (name, password)| {
            let hash = cheap(password);
            edited(&text, name, Some(&hash)).unwrap().unwrap()
        });
        fs::write(folder.path().join("passwords"), text).unwrap();
    }

    fn rig(anonymous: bool) -> Rig {
        let folder = TempDir::new().unwrap();
        write_passwords(&folder, &[("ana", "right"), ("bob", "other")]);
        fs::write(
            folder.path().join("acl"),
            "[users.ana]\ngroups = { home = \"rw\" }",
        )
        .unwrap();
        let options = AccountsOptions {
            passwords: Some(file(&folder, "passwords")),
            acl: Some(file(&folder, "acl")),
            tokens: None,
            anonymous,
            throttle: ThrottleOptions {
                failures_max: 3,
                interval_ms: 1_000,
                addresses_max: 9,
            },
        };
        let accounts = Accounts::load(options, Box::new(|| UnixMillis::new(5_000))).unwrap();
        Rig { folder, accounts }
    }

    fn shows(user: Option<&str>, password: Option<&str>, port: u16) -> Credentials {
        let address = std::net::SocketAddr::from(([10, 0, 0, u8::try_from(port).unwrap()], 1));
        Credentials {
            user: user.map(str::to_owned),
            password: password.map(Secret::new),
            token: None,
            caller: Caller::from(address),
        }
    }

    #[test]
    fn right_wrong_unknown_and_nothing() {
        let Rig { accounts, .. } = rig(false);
        let asks = |user, password, from| accounts.authenticate(&shows(user, password, from));
        let ana = asks(Some("ana"), Some("right"), 1).unwrap();
        assert_eq!(ana.user, "ana");
        assert_eq!(accounts.review(&ana), Ok(ana));
        for (from, (user, password)) in [
            (Some("ana"), Some("other")),
            (Some("eve"), Some("right")),
            (Some("ana"), Some("")),
            (Some("ana"), None),
            (None, Some("right")),
            (Some(""), Some("right")),
        ]
        .into_iter()
        .enumerate()
        {
            let from = u16::try_from(from).unwrap();
            assert_eq!(asks(user, password, from), Err(Denied::BadCredentials));
        }
        assert_eq!(asks(None, None, 9), Err(Denied::NotAuthorised));
        let Rig { accounts, .. } = rig(true);
        let anonymous = accounts.authenticate(&shows(None, None, 1)).unwrap();
        assert_eq!(
            (&*anonymous.user, anonymous.rights),
            ("", Default::default())
        );
    }

    #[test]
    fn g10_who_guesses_is_slowed_down_also_with_the_right_password() {
        let Rig { accounts, .. } = rig(false);
        for _ in 0..3 {
            let wrong = accounts.authenticate(&shows(Some("bob"), Some("guess"), 1));
            assert_eq!(wrong, Err(Denied::BadCredentials));
        }
        let right = |from| accounts.authenticate(&shows(Some("ana"), Some("right"), from));
        assert_eq!(right(1), Err(Denied::Throttled));
        assert!(right(2).is_ok());
    }

    #[test]
    fn files_are_read_again_whole_or_not_at_all() {
        let Rig { folder, accounts } = rig(false);
        let asks = |user, password| accounts.authenticate(&shows(Some(user), Some(password), 1));
        let [ana, bob] = [("ana", "right"), ("bob", "other")].map(|(u, p)| asks(u, p).unwrap());
        write_passwords(&folder, &[("ana", "right"), ("bob", "changed")]);
        fs::write(folder.path().join("acl"), "[users.ana").unwrap();
        let error = accounts.read_again().unwrap_err().to_string();
        assert!(
            error.contains("auth.acl") && error.contains("line 1"),
            "{error}"
        );
        assert_eq!(accounts.review(&bob), Ok(bob.clone()));
        fs::write(folder.path().join("acl"), "[users.bob]\neverything = true").unwrap();
        let book = accounts.read_again().unwrap();
        assert_eq!(accounts.review(&ana), Ok(ana.clone()));
        accounts.take(book);
        assert_eq!(
            accounts.review(&bob),
            Err(Denied::NotAuthorised),
            "its password is another"
        );
        let reviewed = accounts.review(&ana).unwrap();
        assert_ne!(reviewed.rights, ana.rights);
        assert_eq!(
            asks("bob", "changed").unwrap().rights,
            crate::acl::Rights::everything()
        );
    }
}
