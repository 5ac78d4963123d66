//! The Go server's wire, replayed from transcripts, and its challenge scheme.

use gfl_e2e::server::Token;
use gfl_e2e::{Http, Server, data, front, golden};
use sha2::{Digest, Sha256};

fn replay(text: &str) {
    let server = Server::start();
    let (with, without) = (server.http(), server.http_as(None));
    let mut steps = golden::parse(text);
    if front::over().is_some() {
        // The proxy cleans such paths before the server sees them.
        steps.retain(|step| !step.name.contains("is redirected"));
    }
    let wrong: Vec<String> = steps
        .iter()
        .filter_map(|step| step.replay(&with, &without).err())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        steps.len(),
        wrong.join("\n")
    );
}

#[test]
fn files() {
    replay(include_str!("../../golden/v0-files.http"));
}

#[test]
fn upload_errors() {
    replay(include_str!("../../golden/v0-upload-errors.http"));
}

#[test]
fn strangers() {
    replay(include_str!("../../golden/v0-auth.http"));
}

/// RFC 2104, written out: the server's own must not check itself.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|b| b ^ byte);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    hex::encode(
        Sha256::new()
            .chain_update(pad(0x5c))
            .chain_update(inner)
            .finalize(),
    )
}

#[test]
fn challenge() {
    let secret = "0".repeat(64);
    let hash = data::sha256(secret.as_bytes());
    assert_eq!(
        hash,
        "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55"
    );
    assert_eq!(
        hmac_sha256(hash.as_bytes(), "1".repeat(64).as_bytes()),
        "77224bea1b02f149e7ad70a1bce1867803890f932d248e33b827223342474380"
    );
    let mut server = Server::start();
    server.write_tokens(&[Token::new(&secret, "tok_00000000000a", &["*"])]);
    server.restart();
    let open = server.http_as(None);
    let nonce = || {
        let answer = open.get("/auth/challenge").expect(200).json();
        let nonce = answer["nonce"]
            .as_str()
            .map(str::to_owned)
            .expect("a nonce");
        assert!(
            nonce.len() >= 64 && nonce.bytes().all(|b| b.is_ascii_hexdigit()),
            "{nonce}"
        );
        nonce
    };
    let ask = |response: &str, nonce: &str| {
        let auth = format!("Challenge {response};{nonce};tok_00000000000a");
        Http::new(server.addr(), Some(auth)).get("/list?path=/")
    };
    let first = nonce();
    let response = hmac_sha256(hash.as_bytes(), first.as_bytes());
    assert_eq!(ask(&response, &first).status, 200);
    let used = ask(&response, &first).expect(401).text();
    assert_eq!(
        used,
        "Challenge validation failed: invalid or expired nonce\n"
    );
    let second = nonce();
    let wrong = ask(&response, &second).expect(401).text();
    assert_eq!(wrong, "Invalid challenge response\n");
    // A nonce is used up by a wrong answer, too.
    let response = hmac_sha256(hash.as_bytes(), second.as_bytes());
    assert_eq!(ask(&response, &second).status, 401);
}
