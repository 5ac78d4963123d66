//! The other tests once more, over TLS with HTTP/2 and with HTTP/1.1 to the server: a foreign proxy (nghttpx)
//! translates. What a handler does must not depend on the wire.

use gfl_e2e::front::{OVER, program};
use gfl_e2e::skip;
use std::process::{Command, Stdio};

/// Topics whose tests speak whole requests and do not look at the connection.
const TOPICS: [&str; 12] = [
    "auth::",
    "events::",
    "names::",
    "ranges::",
    "sizes::",
    "uploads::",
    "uploads_writers::",
    "v0::",
    "v0_defects::",
    "versions::",
    "writers::",
    "wrong_input::",
];

/// Tests of what the proxy does itself: it passes half a body on to nobody, refuses verbs it does not know, and
/// cleans paths. (Half a body over HTTP/2 is tested beside the code that serves it.)
const SKIPPED: [&str; 3] = [
    "what_arrived_before_the_connection_broke_stays",
    "requests_that_are_no_requests",
    "traversal_in_every_encoding",
];

fn again_over(protocol: &str) {
    if Command::new(program())
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        skip::skip(
            &format!("the other tests over {protocol}"),
            "nghttpx is not there",
        );
        return;
    }
    let tests = std::env::current_exe().expect("the set-up works");
    let output = Command::new(tests)
        .args(TOPICS)
        .args(SKIPPED.iter().flat_map(|name| ["--skip", *name]))
        .args(["--test-threads", "2"])
        .env(OVER, protocol)
        .output()
        .expect("the set-up works");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let ran = text.matches(" ... ok\n").count();
    assert!(ran >= 80, "only {ran} tests ran over {protocol}:\n{text}");
}

#[test]
fn http2() {
    again_over("h2");
}

#[test]
fn http1() {
    again_over("http1");
}
