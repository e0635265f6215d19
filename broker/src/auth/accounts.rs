//! Who comes in by what the files of `[auth]` say, which can be read again while connections go on.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use syncline_protocol::UnixMillis;

use super::certificates::CertificateName;
use super::origin::Origin;
use super::passwords::{Hash, SALT_BYTES};
use super::throttle::{Attempt, Throttle, ThrottleOptions};
use super::tokens::{TokenError, TokenOptions, Verified, is_token};
use super::{
    Admission, AuthError, AuthFile, Authenticator, Book, Credentials, Denied, Proof, Secret,
};
use crate::acl::Rights;

/// Which files, and what counts beside them.
#[derive(Debug, Clone)]
pub struct AccountsOptions {
    /// The password file.
    pub passwords: Option<AuthFile>,
    /// The rule file. Without it nobody but the anonymous one of a broker without authentication may do anything.
    pub acl: Option<AuthFile>,
    /// Whose tokens are taken.
    pub tokens: Option<TokenOptions>,
    /// What of a verified client certificate says who somebody is.
    pub certificates: Option<CertificateName>,
    /// Whether somebody may come in who shows nothing.
    pub anonymous: bool,
    /// For those who guess.
    pub throttle: ThrottleOptions,
}

impl AccountsOptions {
    /// Whether anybody can say who they are.
    pub fn authenticates(&self) -> bool {
        self.passwords.is_some() || self.tokens.is_some() || self.certificates.is_some()
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
            throttle: Mutex::new(Throttle::new(&options.throttle)),
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
        let hash = known.or(book.passwords.dearest()).unwrap_or(&self.stranger);
        let is_right = hash.is_of(password);
        match known {
            Some(hash) if is_right => Ok(self.admit(user, Proof::Password(hash.clone()))),
            _ => Err(Denied::BadCredentials),
        }
    }

    fn is_throttled(&self, attempt: Attempt<'_>) -> bool {
        let throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.is_blocked(attempt, (self.now)())
    }

    /// Guesses count; what is right and not valid now is none.
    fn count(&self, credentials: &Credentials, admission: &Result<Admission, Denied>) {
        if let Err(Denied::BadCredentials | Denied::OtherUser) = admission {
            tracing::debug!(caller = %credentials.caller, "what a client shows is wrong");
            let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            throttle.failed(self.attempt(credentials), (self.now)());
        }
    }

    fn attempt<'a>(&self, credentials: &'a Credentials) -> Attempt<'a> {
        let address = credentials.caller.address;
        let password = credentials.password.as_ref();
        let is_token = password.is_some_and(|it| self.is_token(it));
        Attempt {
            origin: Origin::of(address.map(|address| address.ip())),
            user: credentials.user.as_deref().filter(|_| !is_token),
        }
    }

    /// Who the certificate of a connection says it is.
    fn certified<'a>(&self, credentials: &'a Credentials) -> Option<&'a str> {
        let certificate = credentials.caller.certificate.as_ref()?;
        self.options.certificates?.of(certificate)
    }

    /// Somebody with a certificate who shows nothing, or its own name.
    fn by_certificate(&self, credentials: &Credentials) -> Option<Admission> {
        let name = self.certified(credentials)?;
        let shown = credentials.user.as_deref().unwrap_or_default();
        let fits = !credentials.shows_secret() && (shown.is_empty() || shown == name);
        fits.then(|| self.admit(name, Proof::Certificate))
    }
}

impl Authenticator for Accounts {
    fn at_once(&self, credentials: &Credentials) -> Option<Result<Admission, Denied>> {
        if credentials.token.is_some() && self.options.tokens.is_none() {
            return Some(Err(Denied::Method));
        }
        if let Some(admission) = self.by_certificate(credentials) {
            return Some(Ok(admission));
        }
        if !self.options.authenticates() || credentials.shows_nothing() {
            return Some(self.anonymous());
        }
        let is_throttled = self.is_throttled(self.attempt(credentials));
        is_throttled.then_some(Err(Denied::Throttled))
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Admission, Denied> {
        // Others of its address may have failed while it waited.
        if let Some(known) = self.at_once(credentials) {
            return known;
        }
        let admission = self.look_at(credentials).and_then(|admission| {
            // Whoever has a certificate is nobody else.
            let certified = self.certified(credentials);
            let is_other = certified.is_some_and(|name| name != admission.user);
            if is_other {
                Err(Denied::BadCredentials)
            } else {
                Ok(admission)
            }
        });
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
            Proof::Certificate if self.options.certificates.is_some() => {
                Ok(self.admit(&admission.user, Proof::Certificate))
            }
            _ => Err(Denied::NotAuthorised),
        }
    }

    fn rights_of(&self, user: &str) -> Option<Rights> {
        let (book, options) = (self.book(), &self.options);
        // Whoever issues tokens and certificates makes users; nobody lists them.
        let unlisted = options.tokens.is_some() || options.certificates.is_some();
        let may_come = match user {
            "" => options.anonymous,
            user => unlisted || book.passwords.of(user).is_some(),
        };
        Some(match may_come {
            true => book.policy.rights(user),
            false => Rights::default(),
        })
    }

    fn renew(&self, admission: &Admission, credentials: &Credentials) -> Result<Admission, Denied> {
        let (Proof::Token(_), Some(token)) = (&admission.proof, &credentials.token) else {
            return Err(Denied::NotRenewable);
        };
        if self.is_throttled(self.attempt(credentials)) {
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
            certificates: None,
            anonymous,
            throttle: ThrottleOptions {
                failures_max: 3,
                address_failures_max: 5,
                interval_ms: 1_000,
                remembered_max: 9,
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
        let right = |user, password, from| {
            let shown = shows(Some(user), Some(password), from);
            accounts.authenticate(&shown).map(drop)
        };
        assert_eq!(right("bob", "other", 1), Err(Denied::Throttled));
        assert_eq!(right("bob", "other", 2), Ok(()));
        assert_eq!(right("ana", "right", 1), Ok(()), "behind the same address");
        for guess in ["one", "two"] {
            assert_eq!(right("eve", guess, 1), Err(Denied::BadCredentials));
        }
        assert_eq!(
            right("ana", "right", 1),
            Err(Denied::Throttled),
            "too many in all"
        );
    }

    #[test]
    fn wall_9_a_certificate_is_a_user_who_may_show_nothing_or_what_is_right() {
        let Rig { folder, accounts } = rig(false);
        let options = AccountsOptions {
            certificates: Some(CertificateName::CommonName),
            ..accounts.options
        };
        let accounts = Accounts::load(options, Box::new(|| UnixMillis::new(5_000))).unwrap();
        let asks = |name: Option<&str>, user, password| {
            let mut credentials = shows(user, password, 1);
            credentials.caller.certificate = Some(crate::transport::ClientCertificate {
                common_name: name.map(str::to_owned),
                ..Default::default()
            });
            accounts.authenticate(&credentials).map(|it| it.user)
        };
        let ana = || Ok("ana".to_owned());
        assert_eq!(asks(Some("ana"), None, None), ana());
        assert_eq!(asks(Some("ana"), Some("ana"), None), ana());
        assert_eq!(asks(Some("ana"), Some(""), None), ana());
        assert_eq!(asks(Some("ana"), Some("ana"), Some("right")), ana());
        assert_eq!(asks(None, Some("ana"), Some("right")), ana());
        let wrong = Err(Denied::BadCredentials);
        assert_eq!(asks(Some("ana"), Some("bob"), None), wrong);
        assert_eq!(asks(Some("ana"), Some("bob"), Some("other")), wrong);
        assert_eq!(asks(Some("ana"), Some("ana"), Some("other")), wrong);
        for nobody in [None, Some(""), Some("a\nb")] {
            assert_eq!(asks(nobody, None, None), Err(Denied::NotAuthorised));
        }
        fs::write(folder.path().join("acl"), "[users.eve]\neverything = true").unwrap();
        let mut credentials = shows(None, None, 1);
        credentials.caller.certificate = Some(crate::transport::ClientCertificate {
            common_name: Some("eve".to_owned()),
            ..Default::default()
        });
        let eve = accounts.authenticate(&credentials).unwrap();
        assert_eq!(eve.rights, Rights::default());
        accounts.take(accounts.read_again().unwrap());
        assert_eq!(accounts.review(&eve).unwrap().rights, Rights::everything());
    }

    #[test]
    fn g9_what_somebody_may_do_who_is_away_is_known_where_it_can_be() {
        let Rig { folder, accounts } = rig(false);
        let ana = accounts.rights_of("ana").unwrap();
        assert_eq!(ana, accounts.book().policy.rights("ana"));
        for nobody in ["", "eve"] {
            assert_eq!(accounts.rights_of(nobody), Some(Rights::default()));
        }
        write_passwords(&folder, &[("bob", "other")]);
        accounts.take(accounts.read_again().unwrap());
        assert_eq!(
            accounts.rights_of("ana"),
            Some(Rights::default()),
            "she is gone"
        );
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
