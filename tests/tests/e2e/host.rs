//! A broker inside a host application that knows its own users.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use syncline_broker::acl::{Access, Rights};
use syncline_broker::auth::{Admission, Authenticator, Credentials, Denied, Proof};
use syncline_broker::config::{Flags, load};
use syncline_broker::run::Broker;
use syncline_broker::store::memory::MemoryStore;
use syncline_broker::store::sessions::memory::MemorySessions;
use syncline_tests::star::Star;
use syncline_tests::wire::{Connect, Packet, Version, Wire};
use tokio::runtime::Runtime;

const HOME: &str = "sync/home/events";

/// Knows ana by a word, and takes another word to go on; the word says whether she may write.
#[derive(Default)]
struct Host {
    is_closed: AtomicBool,
    renewed: Mutex<Vec<String>>,
}

impl Host {
    fn ana(&self, word: &[u8]) -> Result<Admission, Denied> {
        let access = match word {
            b"read" => Access::Read,
            b"write" => Access::ReadWrite,
            _ => return Err(Denied::BadCredentials),
        };
        Ok(Admission {
            user: "ana".to_owned(),
            rights: Rights::to_groups([("home".parse().unwrap(), access)]),
            expires_at: None,
            proof: Proof::Host(String::from_utf8_lossy(word).into()),
        })
    }
}

impl Authenticator for Host {
    fn at_once(&self, _: &Credentials) -> Option<Result<Admission, Denied>> {
        None
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Admission, Denied> {
        let shown = credentials.token.as_ref().or(credentials.password.as_ref());
        self.ana(shown.ok_or(Denied::NotAuthorised)?.expose())
    }

    fn review(&self, admission: &Admission) -> Result<Admission, Denied> {
        match self.is_closed.load(Ordering::SeqCst) {
            true => Err(Denied::NotAuthorised),
            false => Ok(admission.clone()),
        }
    }

    fn renew(&self, admission: &Admission, credentials: &Credentials) -> Result<Admission, Denied> {
        let token = credentials.token.as_ref().ok_or(Denied::NotRenewable)?;
        let word = String::from_utf8_lossy(token.expose()).into_owned();
        self.renewed.lock().unwrap().push(word);
        assert_eq!(admission.user, "ana");
        match token.expose() {
            // A mistake of the host's: the edge does not let one become another.
            b"bob" => Ok(Admission {
                user: "bob".to_owned(),
                ..admission.clone()
            }),
            word => self.ana(word),
        }
    }
}

#[test]
fn wall_8_g9_a_host_application_knows_its_own_users_and_renews_them() {
    let runtime = Runtime::new().unwrap();
    let any_port = Some("127.0.0.1:0".to_owned());
    let flags = Flags {
        mqtt: any_port.clone(),
        http: any_port,
        ..Flags::default()
    };
    let mut options = load(&flags, &BTreeMap::new()).unwrap();
    let host = Arc::new(Host::default());
    options.authenticator = Some(Arc::clone(&host) as Arc<dyn Authenticator>);
    let (store, sessions) = (MemoryStore::new(1_024), MemorySessions::default());
    let start = Broker::start_on(options, Arc::new(store), Arc::new(sessions));
    let broker = runtime.block_on(start).unwrap();
    let nobody = Wire::connect_raw(broker.mqtt_address(), &Connect::new(Version::V5, ""));
    assert!(matches!(
        nobody.unwrap().1,
        Packet::ConnAck { code: 0x87, .. }
    ));
    let star = Star::album("a").json();
    let by_name = Connect::new(Version::V5, "a").credentials("ana", "read");
    let by_method = Connect::new(Version::V5, "b").method("token", "read");
    for (connect, by_auth) in [(by_name, false), (by_method, true)] {
        let mut ana = Wire::connect(broker.mqtt_address(), &connect).unwrap();
        assert!(ana.publish(HOME, &star).unwrap().refusal().is_some());
        if by_auth {
            ana.authenticate("token", "write").unwrap();
            let answer = ana.receive().unwrap();
            assert!(matches!(answer, Packet::Auth { code: 0, .. }), "{answer:?}");
        } else {
            assert_eq!(ana.publish("$syncline/token", "write").unwrap().code, 0);
        }
        assert_eq!(ana.publish(HOME, &star).unwrap().refusal(), None);
        assert_eq!(ana.publish("$syncline/token", "bob").unwrap().code, 0x87);
        assert_eq!(
            ana.publish(HOME, &star).unwrap().refusal(),
            None,
            "she is still ana"
        );
        host.is_closed.store(true, Ordering::SeqCst);
        broker.review();
        let said = ana.until_closed().unwrap();
        assert!(
            matches!(said[..], [Packet::Disconnect { code: 0x87, .. }]),
            "{said:?}"
        );
        host.is_closed.store(false, Ordering::SeqCst);
    }
    assert_eq!(
        *host.renewed.lock().unwrap(),
        ["write", "bob", "write", "bob"]
    );
    runtime.block_on(broker.drain());
}
