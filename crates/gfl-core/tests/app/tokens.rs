//! tokens.json, read live, and v0's challenges.

use crate::bed::{Bed, START_MS, fails};
use gfl_api::tokens::{TokenFile, challenge_response, hash_token};
use gfl_core::app::Credential;
use gfl_core::auth::{Caller, Verb};
use gfl_core::clock::Clock;
use gfl_core::{App, Error, Kind, Result};
use std::path::PathBuf;
use std::sync::Arc;

struct Gate {
    bed: Bed,
    app: Arc<App>,
    file: PathBuf,
}

/// One token's line.
fn token(id: &str, secret: &str, permissions: &str, expires: &str, revoked: bool) -> String {
    format!(
        r#"{{"id":"{id}","token_hash":"{}","user":"user-{id}","permissions":[{permissions}],"created_at":"2026-01-01T00:00:00Z","expires_at":"{expires}","revoked":{revoked}}}"#,
        hash_token(secret)
    )
}

const LATER: &str = "2099-01-01T00:00:00.123456789+02:00";

fn good(id: &str, secret: &str) -> String {
    token(id, secret, r#""upload","list""#, LATER, false)
}

impl Gate {
    async fn new(tokens: &[String]) -> Gate {
        let bed = Bed::memory().await;
        let file = bed.settings.meta_dir.join("tokens.json");
        let mut settings = bed.settings.clone();
        settings.tokens_file = Some(file.clone());
        let app = bed.reopened_with(settings).await.app;
        let gate = Gate { bed, app, file };
        gate.write(tokens);
        gate
    }

    fn write(&self, tokens: &[String]) {
        self.write_text(&format!(r#"{{"tokens":[{}]}}"#, tokens.join(",")));
    }

    fn write_text(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    fn enter(&self, secret: &str) -> Result<Caller> {
        self.app
            .authenticate(&Credential::Token(secret.to_owned()), "1.2.3.4")
    }

    fn refused(&self, secret: &str, message: &str) {
        let error = self.enter(secret).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Unauthenticated, message)
        );
    }

    fn later(&self, ms: i64) {
        self.bed.clock.advance_ms(ms);
    }

    fn answer(&self, id: &str, secret: &str, nonce: &str) -> Result<Caller> {
        let credential = Credential::Challenge {
            response: challenge_response(&hash_token(secret), nonce),
            nonce: nonce.to_owned(),
            token_id: id.to_owned(),
        };
        self.app.authenticate(&credential, "1.2.3.4")
    }
}

#[tokio::test]
async fn a_token_is_a_user_with_permissions() {
    let gate = Gate::new(&[good("t1", "secret")]).await;
    assert!(gate.app.auth_enabled());
    let who = gate.enter("secret").unwrap();
    assert_eq!(
        (who.user(), who.token(), who.peer()),
        ("user-t1", Some("t1"), "1.2.3.4")
    );
    let root = gfl_api::path::FilePath::root();
    assert!(who.may(Verb::Create, &root).is_ok() && who.may(Verb::Download, &root).is_err());
    assert!(who.expires_ms().unwrap() > START_MS);
    gate.refused("wrong", "auth error: invalid token");
    gate.refused("", "auth error: invalid token");
    // The hash is no token.
    gate.refused(&hash_token("secret"), "auth error: invalid token");
    let error = gate.app.authenticate(&Credential::None, "").unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Unauthenticated, "Authorization header required")
    );
}

#[tokio::test]
async fn the_file_is_read_live() {
    let gate = Gate::new(&[good("t1", "one")]).await;
    gate.enter("one").unwrap();
    gate.write(&[token("t1", "one", "", LATER, true), good("t2", "two")]);
    // Within the time of one look the old content may count.
    gate.enter("one").unwrap();
    gate.later(200);
    gate.refused("one", "auth error: token has been revoked");
    gate.enter("two").unwrap();
    // Also by rename, also the same length.
    let new = gate.file.with_extension("new");
    std::fs::write(&new, format!(r#"{{"tokens":[{}]}}"#, good("t3", "six"))).unwrap();
    std::fs::rename(new, &gate.file).unwrap();
    gate.later(200);
    gate.enter("six").unwrap();
    gate.refused("two", "auth error: invalid token");
}

#[tokio::test]
async fn expired_and_duplicate_tokens() {
    let gate = Gate::new(&[
        token("old", "old", r#""*""#, "2020-01-01T00:00:00Z", false),
        token("none", "none", r#""*""#, "", false),
        token("zero", "zero", r#""*""#, "0001-01-01T00:00:00Z", false),
        token("first", "twice", r#""*""#, LATER, false),
        token("last", "twice", r#""list""#, LATER, false),
    ])
    .await;
    for secret in ["old", "none", "zero"] {
        gate.refused(secret, "auth error: token has expired");
    }
    assert_eq!(gate.enter("twice").unwrap().token(), Some("last"));
    // Expiry is looked at with every request, not with every reading.
    let end = "2027-01-15T08:00:01Z";
    let gate = Gate::new(&[token("t", "t", r#""*""#, end, false)]).await;
    let end_ms = gate.enter("t").unwrap().expires_ms().unwrap();
    gate.later(end_ms - gate.bed.clock.now_ms());
    gate.enter("t").unwrap();
    gate.later(1);
    gate.refused("t", "auth error: token has expired");
}

#[tokio::test]
async fn a_missing_file_lets_nobody_in() {
    let gate = Gate::new(&[good("t", "t")]).await;
    std::fs::remove_file(&gate.file).unwrap();
    gate.refused("t", "auth error: invalid token");
    gate.write(&[good("t", "t")]);
    gate.later(200);
    gate.enter("t").unwrap();
    std::fs::remove_file(&gate.file).unwrap();
    gate.later(200);
    gate.refused("t", "auth error: invalid token");
    // Empty is valid and lets nobody in either.
    gate.write_text("");
    gate.later(200);
    gate.refused("t", "auth error: invalid token");
}

#[tokio::test]
async fn a_broken_file_fails_closed() {
    let gate = Gate::new(&[good("t", "t")]).await;
    gate.enter("t").unwrap();
    // v0.1's tool rewrites it in place: for a moment it is broken, and that must not stop anybody.
    for broken in [r#"{"tokens":[{"id":"#, "nonsense", r#"{"tokens":5}"#] {
        gate.write_text(broken);
        gate.later(200);
        gate.enter("t").unwrap();
        gate.later(1_999);
        gate.enter("t").unwrap();
        gate.later(200);
        fails(gate.enter("t"), Kind::Unavailable);
        gate.later(100_000);
        fails(gate.enter("t"), Kind::Unavailable);
        gate.write(&[good("t", "t")]);
        gate.later(200);
        gate.enter("t").unwrap();
    }
    // Broken from the start: nothing good ever counted.
    let gate = Gate::new(&[]).await;
    gate.write_text("{");
    fails(gate.enter("t"), Kind::Unavailable);
}

#[tokio::test]
async fn a_challenge_counts_once() {
    let secret = "0".repeat(64);
    let gate = Gate::new(&[
        good("t", &secret),
        token("dead", "dead", r#""*""#, LATER, true),
    ])
    .await;
    let challenge = gate.app.challenge().unwrap();
    assert_eq!(
        (challenge.nonce.len(), challenge.expires_ms),
        (64, START_MS + 300_000)
    );
    assert_eq!(
        gate.answer("t", &secret, &challenge.nonce).unwrap().user(),
        "user-t"
    );
    let says = |result: Result<Caller>, text: &str| {
        let error: Error = result.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Unauthenticated, text)
        );
    };
    let invalid = "Challenge validation failed: invalid or expired nonce";
    says(gate.answer("t", &secret, &challenge.nonce), invalid);
    says(
        gate.answer("t", &secret, &challenge.nonce.to_uppercase()),
        invalid,
    );
    says(gate.answer("t", &secret, &"1".repeat(64)), invalid);
    says(gate.answer("t", &secret, "short"), invalid);
    // An unknown or dead id leaves the nonce alone, a wrong response does not.
    let nonce = gate.app.challenge().unwrap().nonce;
    says(gate.answer("nobody", &secret, &nonce), "Invalid token ID");
    says(gate.answer("dead", "dead", &nonce), "Invalid token ID");
    says(
        gate.answer("t", "wrong", &nonce),
        "Invalid challenge response",
    );
    says(gate.answer("t", &secret, &nonce), invalid);
    // Five minutes.
    let nonce = gate.app.challenge().unwrap().nonce;
    gate.later(299_999);
    let other = gate.app.challenge().unwrap().nonce;
    gate.answer("t", &secret, &nonce).unwrap();
    gate.later(300_000);
    says(
        gate.answer("t", &secret, &other),
        "Challenge validation failed: challenge expired",
    );
}

#[test]
fn the_vector_of_the_legacy_scheme() {
    let hash = hash_token(&"0".repeat(64));
    assert_eq!(
        hash,
        "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55"
    );
    let response = challenge_response(&hash, &"1".repeat(64));
    assert_eq!(
        response,
        "77224bea1b02f149e7ad70a1bce1867803890f932d248e33b827223342474380"
    );
    assert!(TokenFile::parse("").unwrap().find_hash(&hash).is_none());
}
