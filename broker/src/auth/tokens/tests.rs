//! Tokens of every algorithm. The RSA key of the samples was thrown away after it had signed the one token; the other keys are
//! made here.

use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use ring::{hmac, rand};
use serde_json::{Value, json};

use super::*;
use crate::acl::{Connected, Grant};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA_PEM: &[u8] = include_bytes!("samples/rs256.pem");
const RSA_JWKS: &[u8] = include_bytes!("samples/rs256.jwks.json");
const RSA_TOKEN: &str = include_str!("samples/rs256.token");

/// What stands before the key in the DER of a public key.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const ED25519_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

const NOW: UnixMillis = UnixMillis::new(1_000_000);

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}").into_bytes()
}

fn hs256(claims: &Value) -> Vec<u8> {
    token(&json!({"alg": "HS256"}), claims, hs256_signature)
}

fn hs256_signature(message: &[u8]) -> Vec<u8> {
    hmac_of(SECRET, message)
}

fn hmac_of(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, message).as_ref().to_vec()
}

fn secret() -> Keys {
    Keys(vec![TokenKey::secret(SECRET).unwrap()])
}

fn claims() -> Value {
    json!({"sub": "ana", "exp": 1_060})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn options() -> TokenOptions {
    TokenOptions {
        leeway_ms: 10_000,
        ..TokenOptions::default()
    }
}

fn pem(head: &[u8], key: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode([head, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into_bytes()
}

fn user(keys: &Keys, token: &[u8]) -> Result<String, TokenError> {
    options().verify(keys, token, NOW).map(|it| it.user)
}

#[test]
fn wall_6_each_algorithm_with_its_key_and_no_other() {
    let random = SystemRandom::new();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
    let ed_token = token(&json!({"alg": "EdDSA"}), &claims(), |message| {
        ed.sign(message).as_ref().to_vec()
    });
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let ec = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(algorithm, ec.as_ref(), &random).unwrap();
    let ec_token = token(&json!({"alg": "ES256"}), &claims(), |message| {
        ec.sign(&random, message).unwrap().as_ref().to_vec()
    });
    let (ed_key, ec_key) = (ed.public_key().as_ref(), ec.public_key().as_ref());
    let keys = [
        vec![TokenKey::secret(SECRET).unwrap()],
        vec![TokenKey::public(RSA_PEM).unwrap()],
        vec![TokenKey::public(&pem(&P256_HEAD, ec_key)).unwrap()],
        vec![TokenKey::public(&pem(&ED25519_HEAD, ed_key)).unwrap()],
    ]
    .map(Keys);
    let rsa_token = RSA_TOKEN.trim().as_bytes().to_vec();
    let tokens = [hs256(&claims()), rsa_token, ec_token, ed_token];
    for (at, keys) in keys.iter().enumerate() {
        for (of, token) in tokens.iter().enumerate() {
            let expected = match at == of {
                true => Ok("ana".to_owned()),
                false => Err(TokenError::NoKey),
            };
            assert_eq!(user(keys, token), expected, "key {at}, token {of}");
        }
        let mut wrong = tokens[at].clone();
        let last = wrong.len() - 9;
        wrong[last] = if wrong[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(user(keys, &wrong), Err(TokenError::Signature), "key {at}");
    }
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwks = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": encode(ed_key)},
        {"kty": "EC", "crv": "P-256", "x": encode(&ec_key[1..33]), "y": encode(&ec_key[33..])},
        {"kty": "oct", "k": encode(SECRET)},
    ]});
    let mut all = keys::jwks(jwks.to_string().as_bytes()).unwrap();
    all.extend(keys::jwks(RSA_JWKS).unwrap());
    // The same keys as those of the PEM files: what was let in by one stays by the other.
    assert!(
        keys.iter()
            .all(|one| all.iter().any(|it| it.id == one.0[0].id))
    );
    let all = Keys(all);
    for token in &tokens {
        assert_eq!(user(&all, token), Ok("ana".to_owned()));
    }
}

#[test]
fn wall_6_the_header_has_no_say_in_the_algorithm() {
    let public = Keys(vec![TokenKey::public(RSA_PEM).unwrap()]);
    let none = token(&json!({"alg": "none"}), &claims(), |_| Vec::new());
    let none_in_capitals = token(&json!({"alg": "NONE"}), &claims(), |_| Vec::new());
    // The public key, which everybody has, as the secret of HS256.
    let confused = token(&json!({"alg": "HS256"}), &claims(), |message| {
        hmac_of(RSA_PEM, message)
    });
    for keys in [&public, &secret()] {
        assert_eq!(user(keys, &none), Err(TokenError::NoKey));
        assert_eq!(user(keys, &none_in_capitals), Err(TokenError::NoKey));
    }
    assert_eq!(user(&public, &confused), Err(TokenError::NoKey));
    assert_eq!(user(&secret(), &confused), Err(TokenError::Signature));
    let unsigned = token(&json!({"alg": "HS256"}), &claims(), |_| Vec::new());
    assert_eq!(user(&secret(), &unsigned), Err(TokenError::Signature));
    let header = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    let critical = token(&header, &claims(), hs256_signature);
    assert_eq!(user(&secret(), &critical), Err(TokenError::NoKey));
}

#[test]
fn wall_6_a_token_counts_from_nbf_until_exp_with_the_leeway() {
    let at = |claims: &Value| user(&secret(), &hs256(claims));
    assert_eq!(at(&with("exp", json!(990.5))), Ok("ana".to_owned()));
    assert_eq!(at(&with("exp", json!(990))), Err(TokenError::Expired));
    assert_eq!(at(&with("exp", json!(-1))), Err(TokenError::Expired));
    assert_eq!(at(&with("nbf", json!(1_010))), Ok("ana".to_owned()));
    assert_eq!(at(&with("nbf", json!(1_011))), Err(TokenError::NotYet));
    let verified = options().verify(&secret(), &hs256(&claims()), NOW).unwrap();
    assert_eq!(verified.expires_at, UnixMillis::new(1_070_000));
    let far = hs256(&with("exp", json!(1e300)));
    assert!(options().verify(&secret(), &far, NOW).is_ok());
    for (name, value) in [
        ("exp", json!("1060")),
        ("exp", Value::Null),
        ("nbf", json!("0")),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\u{0}b")),
        ("sub", json!("a".repeat(1_025))),
    ] {
        let wrong = at(&with(name, value.clone()));
        assert_eq!(wrong, Err(TokenError::Claims), "{name} {value}");
    }
    assert_eq!(at(&json!({"sub": "ana"})), Err(TokenError::Claims));
}

#[test]
fn wall_6_issuer_and_audience() {
    let of = |issuer: Option<&str>, audience: Option<&str>, claims: &Value| {
        let options = TokenOptions {
            issuer: issuer.map(str::to_owned),
            audience: audience.map(str::to_owned),
            ..options()
        };
        let verified = options.verify(&secret(), &hs256(claims), NOW);
        verified.map(drop)
    };
    assert_eq!(of(Some("us"), None, &with("iss", json!("us"))), Ok(()));
    let other = of(Some("us"), None, &with("iss", json!("them")));
    assert_eq!(other, Err(TokenError::Issuer));
    assert_eq!(of(Some("us"), None, &claims()), Err(TokenError::Issuer));
    for (aud, expected) in [
        (json!("sync"), Ok(())),
        (json!(["mail", "sync"]), Ok(())),
        (json!(["mail"]), Err(TokenError::Audience)),
    ] {
        assert_eq!(of(None, Some("sync"), &with("aud", aud)), expected);
    }
    assert_eq!(of(None, Some("sync"), &claims()), Err(TokenError::Audience));
    let meant_for_another = of(None, None, &with("aud", json!("mail")));
    assert_eq!(meant_for_another, Err(TokenError::Audience));
}

#[test]
fn wall_6_a_token_grants_groups_and_nothing_else() {
    let grant = |sync: Value| {
        let verified = options().verify(&secret(), &hs256(&with("sync", sync)), NOW);
        verified.map(|it| {
            it.proof.rights.grant(Connected {
                user: "ana",
                client_id: "c",
                device: syncline_protocol::DeviceId::from_bytes([7; 16]),
            })
        })
    };
    let some = grant(json!({"home": "rw", "office": "r"})).unwrap();
    let stream = |group: &str| syncline_protocol::StreamId {
        sync_id: group.parse().unwrap(),
        channel: None,
    };
    assert!(some.writes(&stream("home")) && some.reads(&stream("office")));
    assert!(!some.writes(&stream("office")) && !some.reads(&stream("cellar")));
    assert!(!some.reads_topic("home"));
    assert!(grant(json!({"*": "r"})).unwrap().reads(&stream("any")));
    assert_ne!(grant(json!({"*": "rw"})), Ok(Grant::All));
    for wrong in [
        json!({"home": "w"}),
        json!({"home": true}),
        json!({"%u": "rw"}),
        json!({"a/b": "rw"}),
        json!(["home"]),
    ] {
        assert_eq!(grant(wrong.clone()), Err(TokenError::Groups), "{wrong}");
    }
}

#[test]
fn a_password_is_a_token_if_it_looks_like_one() {
    assert!(is_token(&hs256(&claims())) && is_token(RSA_TOKEN.trim().as_bytes()));
    assert!(is_token(&token(&json!({"alg": "none"}), &claims(), |_| {
        Vec::new()
    })));
    let long = [&hs256(&claims())[..], &[b'A'; BYTES_MAX]].concat();
    for password in [&b"secret"[..], b"a.b.c", b"..", b"\xff.\xff.\xff", &long] {
        assert!(!is_token(password));
        assert!(user(&secret(), password).is_err());
    }
    let four = [&hs256(&claims())[..], b".x"].concat();
    assert_eq!(user(&secret(), &four), Err(TokenError::Form));
}

#[test]
fn a_file_that_has_no_key_says_why() {
    let mut short = [0; 31];
    rand::SecureRandom::fill(&SystemRandom::new(), &mut short).unwrap();
    let secret = |file: &[u8]| TokenKey::secret(file).unwrap_err().to_string();
    assert!(secret(&short).contains("32 bytes"));
    assert!(secret(RSA_PEM).contains("public_keys"));
    let line = [SECRET, b"\r\n"].concat();
    let [bare, line] = [SECRET, &line].map(|file| TokenKey::secret(file).unwrap());
    assert!(bare.id == line.id, "the line break is not part of it");
    let small = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDMwYDITXsq8NNfaGtbdCo+WW4t
0Y2hzhVeCYofE1L6IoR5RSRvBp2SlH19dC8g8X46loJ04x6OYoFOZ9aJ/r30Iodd
r9QWpLssgCBmED8LQHx6BmRxt8u99Lx0Pad/I+V71KzTWxNqzdOQkZ3GFhzuKLqu
vgO0AWIOv0wa/S29bQIDAQAB
-----END PUBLIC KEY-----";
    let p384 = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAED8zPKmUd+STSzDUEWqyfY5HqzXNMeDiY
aheMqKkUmm12ZVz53VVLFOz6XxCPH4aZe8PkZy5EqFxycOPnzGkzsh+ERF/Se3cI
NTnAgWXVIsVm9xuNGM82pxbwqv5W5iR2
-----END PUBLIC KEY-----";
    let public = |file: &str| TokenKey::public(file.as_bytes()).unwrap_err();
    assert_eq!(public(small), KeyError::RsaSize { bits: 1_024 });
    for file in [p384, "", "secret"] {
        assert_eq!(public(file), KeyError::NotAPublicKey);
    }
    let jwks = |text: &str| keys::jwks(text.as_bytes()).unwrap_err().to_string();
    assert!(jwks("{\n\"keys\": [{\"kty\": 5}]}").contains("line 2"));
    assert!(jwks("{\"keys\": []}").contains("none of its keys"));
    assert!(jwks(r#"{"keys": [{"kty": "RSA", "e": "AQAB"}]}"#).contains("key 1 is no key: `n`"));
    assert!(jwks(r#"{"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}"#).contains("32 bytes"));
}
