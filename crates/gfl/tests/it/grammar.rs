//! Words, settings and exit codes, without a server or nearly so.

use crate::fake::{Fake, capabilities, gfl, ok, problem};
use serde_json::{Value, json};
use std::fs;

#[test]
fn usage_goes_where_it_went_and_codes_are_what_they_were() {
    let dir = tempfile::tempdir().unwrap();
    for (words, code, out, err) in [
        (&[][..], 1, "Usage: gfl", ""),
        (&["help"], 0, "Usage: gfl", ""),
        (&["help", "put"], 0, "Usage: gfl put <local> <remote>", ""),
        (&["get", "--help"], 0, "Usage: gfl get", ""),
        (&["-h"], 0, "", "Usage: gfl"),
        (&["-version"], 0, "gfl version: ", ""),
        (&["frobnicate"], 1, "Unknown command: frobnicate\n", ""),
        (&["put", "a"], 1, "Usage: gfl put", ""),
        (&["-x", "ls"], 2, "", "flag provided but not defined: -x\n"),
        (&["ls", "--lnog"], 2, "", "did you mean --long?"),
        (
            &["put", "missing", "x"],
            4,
            "",
            "missing: no such file or folder",
        ),
        (
            &["put", "*.none", "x"],
            4,
            "",
            "no files match pattern: *.none",
        ),
        (&["-config", "missing.json", "ls"], 4, "", "missing.json"),
        (
            &["--server", "https://nas", "ls"],
            2,
            "",
            "https comes with a later release",
        ),
        (&["--server", "http://", "ls"], 2, "", "host is missing"),
        (
            &["--server", "127.0.0.1:1", "--retries", "0", "ls"],
            6,
            "",
            "cannot reach 127.0.0.1:1",
        ),
        (&["get", "a/../../b"], 1, "", "leads out of the root"),
        (&["mv", "a"], 1, "Usage: gfl mv", ""),
    ] {
        let output = gfl(dir.path(), words).expect(code);
        assert!(
            output.out.contains(out) && output.err.contains(err),
            "{words:?}: {output:?}"
        );
    }
}

#[test]
fn config_merges_and_never_shows_or_loses_a_token() {
    let fake =
        Fake::start(
            |request| match (request.line().as_str(), request.field("authorization")) {
                ("GET /v1/", _) => capabilities(),
                ("GET /v1/me", Some("Bearer right")) => {
                    ok(&json!({"user": "alice", "permissions": ["*"]}))
                }
                _ => problem(401, "unauthenticated"),
            },
        );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.json");
    let server = fake.address();
    fs::write(
        &file,
        r#"{"server":{"address":"x:1"},"client":{"token":"right","mine":1}}"#,
    )
    .unwrap();
    gfl(
        dir.path(),
        &["-config", "c.json", "config", &server, "other"],
    )
    .expect(5);
    gfl(
        dir.path(),
        &["-config", "c.json", "config", &server, "other", "--force"],
    )
    .expect(3);
    let output = gfl(dir.path(), &["-config", "c.json", "config", &server]).expect(0);
    assert!(output.err.contains("will be shown to"), "{output:?}");
    let config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(
        config["client"],
        json!({"token": "right", "mine": 1, "server_url": format!("http://{server}")})
    );
    assert_eq!(config["server"]["address"], "x:1");
    let shown = gfl(dir.path(), &["-config", "c.json", "config"]).expect(0);
    assert!(
        shown.out.contains("set, from the settings file") && !shown.out.contains("right"),
        "{shown:?}"
    );
    // Without a file the user's own is made, private.
    gfl(dir.path(), &["config", &server, "right"]).expect(0);
    let own = dir.path().join(".config/gfl/config.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&own).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let shown = gfl(dir.path(), &["config"]).expect(0);
    assert!(shown.out.contains(&own.display().to_string()), "{shown:?}");
}

#[test]
fn names_from_the_server_do_not_steer_a_terminal_and_json_is_clean() {
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" => capabilities(),
        _ => ok(
            &json!({"entries": [{"name": "a\u{1b}[2J", "type": "file", "size": 1}], "next": null}),
        ),
    });
    let dir = tempfile::tempdir().unwrap();
    // Also in a pipe, which may end on a terminal (`gfl ls | tail`); scripts take --json.
    assert_eq!(
        fake.gfl(dir.path(), &["ls"]).expect(0).out,
        "Files in /:\n  a\\x1b[2J\n"
    );
    let output = fake.gfl(dir.path(), &["ls", "--json"]).expect(0);
    let line: Value = serde_json::from_str(output.out.trim_end()).unwrap();
    assert_eq!(line["name"], "a\u{1b}[2J");
}

#[test]
fn a_server_named_by_this_folder_is_told_before_anything_goes_there() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(|request| match request.line().as_str() {
        "GET /v1/" if request.field("authorization").is_none() => capabilities(),
        "GET /v1/" => problem(400, "the token is not for everybody"),
        _ if request.field("authorization") == Some("Bearer t") => {
            ok(&json!({"entries": [], "next": null}))
        }
        _ => problem(401, "unauthenticated"),
    });
    let url = format!("http://{}", fake.address());
    let settings = json!({"client": {"server_url": url, "token": "t"}}).to_string();
    fs::write(dir.path().join("config.json"), settings).unwrap();
    let told = format!(
        "warning: using the server {url} from ./config.json in this folder; the token goes there\n"
    );
    for words in [&["ls"][..], &["-q", "ls"], &["version"]] {
        let output = gfl(dir.path(), words).expect(0);
        let is_told = output.err.contains(&told);
        assert!(
            is_told || (words == ["version"] && output.err.is_empty()),
            "{output:?}"
        );
    }
    for words in [
        &["-config", "config.json", "ls"][..],
        &["--server", &url, "ls"],
    ] {
        assert_eq!(gfl(dir.path(), words).expect(0).err, "");
    }
}
