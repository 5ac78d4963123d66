//! A foreign client: what `gfl` can do, `curl` can do.

use crate::common::assert_file;
use gfl_e2e::{Server, data, skip};
use std::fs;
use std::process::Command;

/// Runs curl with these arguments in `dir`; `None` (announced) when there is none.
fn curl(dir: &std::path::Path, what: &str, args: &[&str]) -> Option<String> {
    let output = Command::new("curl")
        .args(["-sS", "--fail-with-body"])
        .args(args)
        .current_dir(dir)
        .output();
    match output {
        Ok(output) => {
            let (out, err) = (
                output.stdout,
                String::from_utf8_lossy(&output.stderr).into_owned(),
            );
            assert!(
                output.status.success(),
                "curl {args:?}: {err} {}",
                String::from_utf8_lossy(&out)
            );
            Some(String::from_utf8_lossy(&out).into_owned())
        }
        Err(e) => {
            skip::skip(what, &format!("curl: {e}"));
            None
        }
    }
}

#[test]
fn curl_uploads_downloads_and_continues() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let content = data::bytes(1, 3_000_000);
    fs::write(dir.path().join("in"), &content).unwrap();
    let url = format!("{}/v1/files/dir/f", server.url());
    let bearer = format!("Authorization: Bearer {}", server.token());
    let up = curl(
        dir.path(),
        "curl as a client",
        &["-H", &bearer, "-T", "in", &url],
    );
    if up.is_none() {
        return;
    }
    assert_file(&server.http(), "dir/f", &content);
    fs::write(dir.path().join("out"), &content[..1_000_000]).unwrap();
    curl(
        dir.path(),
        "",
        &["-H", &bearer, "-C", "-", "-o", "out", &url],
    );
    assert!(fs::read(dir.path().join("out")).unwrap() == content);
    curl(dir.path(), "", &["-H", &bearer, "-X", "DELETE", &url]);
    // A token as the password of Basic, as in ~/.netrc.
    let netrc = format!("machine 127.0.0.1 login any password {}\n", server.token());
    fs::write(dir.path().join("netrc"), netrc).unwrap();
    curl(dir.path(), "", &["--netrc-file", "netrc", "-T", "in", &url]);
    assert_file(&server.http(), "dir/f", &content);
}

#[test]
fn curl_with_expect_continue() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in"), "body").unwrap();
    let bearer = format!("Authorization: Bearer {}", server.token());
    let url = format!("{}/v1/files/f", server.url());
    let args = [
        "-H",
        &bearer,
        "-H",
        "Expect: 100-continue",
        "-T",
        "in",
        &url,
    ];
    if curl(dir.path(), "curl with Expect: 100-continue", &args).is_some() {
        assert_file(&server.http(), "f", b"body");
    }
}
