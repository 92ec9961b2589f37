//! JWTs of an identity provider: accepted only when its key signed them for this server.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Client, Database, File, Pgflight, wait_until};

/// A key of the provider.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).unwrap();
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| BASE64URL.encode(half));
        json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id, "use": "sig", "alg": "ES256"})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let said = said(header, claims);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), said.as_bytes())
            .unwrap();
        format!("{said}.{}", BASE64URL.encode(signature))
    }

    /// Signs a token with the key's own algorithm.
    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "kid": self.id}), claims)
    }
}

fn said(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64URL.encode(part.to_string()));
    format!("{header}.{claims}")
}

fn set(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()}).to_string()
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// Valid claims.
fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "pgflight", "sub": "spark", "exp": in_seconds(600)})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

async fn server(keys: &str) -> (Database, Pgflight, File) {
    let database = Database::new().await;
    let file = File::new(&format!(
        "[auth.jwt]\nissuer = 'https://id.example'\naudience = ['pgflight', 'other']\nalgorithms = ['ES256']\n\
         leeway = '5s'\n{keys}\n[principals.etl]\njwt_subjects = ['spark']\n\
         grants = [{{ tables = ['*.*'], modes = ['append'] }}]"
    ));
    let server = Pgflight::start_with(&database, &["--config", file.name()]);
    (database, server, file)
}

async fn code(anonymous: &Client, token: &str) -> Code {
    match anonymous
        .bearing(token)
        .act("info", "InfoRequest", json!({}))
        .await
    {
        Ok(_) => Code::Ok,
        Err(status) => {
            assert!(!status.message().contains(token), "{status}");
            status.code()
        }
    }
}

#[tokio::test]
async fn a_jwt_is_accepted_only_if_all_of_it_is_valid() {
    let (one, two, stranger) = (Key::new("one"), Key::new("two"), Key::new("one"));
    let keys = File::new(&set(&[&one, &two]));
    let (_database, server, _file) = server(&format!("keys_file = '{}'", keys.name())).await;
    let anonymous = server.client().await;
    let none = format!(
        "{}.",
        said(&json!({"alg": "none", "kid": "one"}), &claims())
    );
    // Signed with the public key as if it were a shared secret.
    let header = json!({"alg": "HS256", "kid": "one"});
    let secret = hmac::Key::new(hmac::HMAC_SHA256, one.pair.public_key().as_ref());
    let shared = said(&header, &claims());
    let tag = BASE64URL.encode(hmac::sign(&secret, shared.as_bytes()));
    let (good, other) = (one.token(&claims()), one.token(&with("sub", json!("ana"))));
    let [head, body, tail] = <[&str; 3]>::try_from(good.split('.').collect::<Vec<_>>()).unwrap();
    let [_, others, _] = <[&str; 3]>::try_from(other.split('.').collect::<Vec<_>>()).unwrap();
    let cases: Vec<(&str, String, bool)> = vec![
        ("right", good.clone(), true),
        ("of the other key", two.token(&claims()), true),
        (
            "one of several audiences",
            one.token(&with("aud", json!(["x", "other"]))),
            true,
        ),
        (
            "expired a moment ago, within the leeway",
            one.token(&with("exp", json!(in_seconds(-2)))),
            true,
        ),
        (
            "expired",
            one.token(&with("exp", json!(in_seconds(-60)))),
            false,
        ),
        ("without an end", one.token(&without("exp")), false),
        (
            "not yet valid",
            one.token(&with("nbf", json!(in_seconds(60)))),
            false,
        ),
        ("for others", one.token(&with("aud", json!("web"))), false),
        ("without audience", one.token(&without("aud")), false),
        (
            "of another issuer",
            one.token(&with("iss", json!("https://evil.example"))),
            false,
        ),
        ("of no issuer", one.token(&without("iss")), false),
        ("of an unknown subject", other.clone(), false),
        ("without subject", one.token(&without("sub")), false),
        (
            "of a subject that is no text",
            one.token(&with("sub", json!(["spark"]))),
            false,
        ),
        (
            "signed by a stranger under a known name",
            stranger.token(&claims()),
            false,
        ),
        (
            "signed by another than it says",
            two.sign(&json!({"alg": "ES256", "kid": "one"}), &claims()),
            false,
        ),
        (
            "of a key that is not known",
            one.sign(&json!({"alg": "ES256", "kid": "three"}), &claims()),
            false,
        ),
        (
            "of no key by name",
            one.sign(&json!({"alg": "ES256"}), &claims()),
            false,
        ),
        (
            "of a key with an endless name",
            one.sign(&json!({"alg": "ES256", "kid": "k".repeat(4000)}), &claims()),
            false,
        ),
        (
            "of a stranger who brings his own key",
            stranger.sign(
                &json!({"alg": "ES256", "kid": "one", "jwk": stranger.public()}),
                &claims(),
            ),
            false,
        ),
        (
            "of a stranger who says where his key is",
            stranger.sign(
                &json!({"alg": "ES256", "kid": "one", "jku": "http://127.0.0.1:1/keys"}),
                &claims(),
            ),
            false,
        ),
        (
            "with what must be understood and is not",
            one.sign(
                &json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false}),
                &claims(),
            ),
            false,
        ),
        (
            "of an end that is no number",
            one.token(&with("exp", json!("9999999999"))),
            false,
        ),
        (
            "of an end before time began",
            one.token(&with("exp", json!(-1))),
            false,
        ),
        (
            "of an audience that is no text",
            one.token(&with("aud", json!({"pgflight": true}))),
            false,
        ),
        (
            "of one audience by half",
            one.token(&with("aud", json!("pgfligh"))),
            false,
        ),
        (
            "of two issuers",
            one.token(&with("iss", json!(["https://id.example", "x"]))),
            false,
        ),
        (
            "of our subject in other case",
            one.token(&with("sub", json!("Spark"))),
            false,
        ),
        (
            "of a subject with a blank",
            one.token(&with("sub", json!("spark "))),
            false,
        ),
        (
            "too long for a header",
            one.token(&with("more", json!("x".repeat(8_000)))),
            false,
        ),
        ("unsigned", none, false),
        (
            "signed with a shared secret",
            format!("{shared}.{tag}"),
            false,
        ),
        (
            "of an algorithm that is not taken",
            one.sign(&json!({"alg": "ES384", "kid": "one"}), &claims()),
            false,
        ),
        (
            "with what another one says",
            format!("{head}.{others}.{tail}"),
            false,
        ),
        ("without its signature", format!("{head}.{body}."), false),
        ("cut", good[..good.len() - 10].to_owned(), false),
        (
            "no JSON",
            format!("{}.{}.{tail}", BASE64URL.encode("x"), BASE64URL.encode("y")),
            false,
        ),
        ("dots", "..".to_owned(), false),
    ];
    for (what, token, believed) in cases {
        let expected = if believed {
            Code::Ok
        } else {
            Code::Unauthenticated
        };
        assert_eq!(code(&anonymous, &token).await, expected, "{what}");
    }
    server.assert_unharmed("all of it").await;
}

/// Serves a text over HTTP and counts the requests.
fn serve(text: Arc<Mutex<String>>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            counter.fetch_add(1, Ordering::SeqCst);
            let text = text.lock().unwrap().clone();
            let answer = match text.as_str() {
                "" => {
                    "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
                }
                text => format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                    text.len()
                ),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

#[tokio::test]
async fn unknown_keys_refetch_the_set_at_a_bounded_rate() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let text = Arc::new(Mutex::new(set(&[&old])));
    let (url, asked) = serve(Arc::clone(&text));
    let began = Instant::now();
    let (_database, server, _file) =
        server(&format!("keys_url = '{url}'\nkeys_refresh = '3s'")).await;
    let anonymous = server.client().await;
    let taken = async |token: String| code(&anonymous, &token).await == Code::Ok;
    wait_until(
        async || taken(old.token(&claims())).await,
        "the keys are there",
    )
    .await;
    assert!(!taken(new.token(&claims())).await);
    *text.lock().unwrap() = set(&[&old, &new]);
    wait_until(
        async || taken(new.token(&claims())).await,
        "the new key is known",
    )
    .await;
    // A provider that is away, or sends no key set, does not invalidate the known keys.
    for broken in ["", "{}", "no JSON"] {
        *text.lock().unwrap() = broken.to_owned();
        let before = asked.load(Ordering::SeqCst);
        wait_until(
            async || {
                let unknown = json!({"alg": "ES256", "kid": "none"});
                assert!(!taken(old.sign(&unknown, &claims())).await);
                asked.load(Ordering::SeqCst) > before
            },
            "it was asked",
        )
        .await;
        assert!(taken(new.token(&claims())).await);
    }
    for number in 0..500 {
        let unknown = json!({"alg": "ES256", "kid": format!("flood {number}")});
        assert!(!taken(old.sign(&unknown, &claims())).await);
    }
    // At most ten times in the three seconds.
    let most = began.elapsed().as_millis() / 300 + 2;
    let asked = asked.load(Ordering::SeqCst);
    assert!(
        u128::try_from(asked).unwrap() <= most,
        "asked {asked} times, {most} at most"
    );
    assert!(!server.has_panicked());
}
