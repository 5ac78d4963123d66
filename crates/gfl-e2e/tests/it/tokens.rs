//! What becomes of a token file that breaks while the server runs: who is let in, and who is told.

use gfl_e2e::server::Token;
use gfl_e2e::{Server, wait};
use std::fs;

/// Lines of the server's log of this level that name the token file.
fn told(server: &Server, level: &str) -> Vec<String> {
    let file = server.tokens_file().display().to_string();
    let log = server.log();
    let lines = log.lines().filter(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(1) == Some(&level) && line.contains(&file)
    });
    lines.map(str::to_owned).collect()
}

fn ready(server: &Server) -> (u16, String) {
    let answer = server.http_as(None).get("/readyz?verbose");
    (answer.status, answer.text())
}

#[test]
fn a_broken_token_file_is_told_once_and_lets_nobody_in() {
    let server = Server::start();
    let http = server.http();
    http.get("/v1/me").expect(200);
    fs::write(server.tokens_file(), r#"{"tokens":[{"id":"#).unwrap();
    // Those who were known stay so for a moment; then the safe side is to let nobody in.
    http.get("/v1/me").expect(200);
    wait::until("nobody is let in", 10, || {
        (http.get("/v1/me").status == 503).then_some(())
    });
    let errors = wait::until("the log tells it", 10, || {
        Some(told(&server, "ERROR")).filter(|errors| !errors.is_empty())
    });
    assert!(errors[0].contains("cannot be used, nobody is let in"));
    assert!(errors[0].contains("not valid json"), "{errors:?}");
    wait::until("readiness tells it", 10, || {
        let (status, text) = ready(&server);
        let red = status == 503 && text.contains("[-]tokens_file failed: it cannot be used");
        assert!(text.contains("[+]storage ok"), "{text}");
        red.then_some(())
    });

    server.write_tokens(&[Token::new(server.token(), "tok_000000000001", &["*"])]);
    wait::until("the tokens count again", 10, || {
        let green = ready(&server).0 == 200 && http.get("/v1/me").status == 200;
        (green && !told(&server, "INFO").is_empty()).then_some(())
    });
    assert!(told(&server, "INFO")[0].contains("counts again"));
    assert_eq!(
        told(&server, "ERROR").len(),
        1,
        "{:?}",
        told(&server, "ERROR")
    );
}

#[test]
fn a_token_file_that_is_gone_is_told_and_lets_nobody_in() {
    let server = Server::start();
    let http = server.http();
    http.get("/v1/me").expect(200);
    fs::remove_file(server.tokens_file()).unwrap();
    wait::until("nobody is let in", 10, || {
        (http.get("/v1/me").status == 401).then_some(())
    });
    wait::until("the log tells it", 10, || {
        let errors = told(&server, "ERROR");
        errors
            .iter()
            .any(|line| line.contains("is not there"))
            .then_some(())
    });
    wait::until("readiness remarks it", 10, || {
        let (status, text) = ready(&server);
        let remarked = text.contains("[+]tokens_file ok: it is not there, nobody is let in");
        (status == 200 && remarked).then_some(())
    });
}
