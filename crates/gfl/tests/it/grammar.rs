//! Words, settings and exit codes, without a server or nearly so.

use crate::fake::{Fake, capabilities, command, finish, gfl, ok, problem};
use serde_json::{Value, json};
use std::fs;

#[test]
fn usage_goes_where_it_went_and_codes_are_what_they_were() {
    let dir = tempfile::tempdir().unwrap();
    for (words, code, out, err) in [
        (&[][..], 1, "", "Usage: gfl"),
        (&["help"], 0, "Usage: gfl", ""),
        (
            &["help", "put"],
            0,
            "Usage: gfl put <local>... <remote>",
            "",
        ),
        (&["get", "--help"], 0, "Usage: gfl get", ""),
        (&["-h"], 0, "Usage: gfl", ""),
        (&["--help"], 0, "Usage: gfl", ""),
        (&["help", "frob"], 1, "", "Unknown command: frob\n"),
        (&["-version"], 0, "gfl version: ", ""),
        (&["frobnicate"], 1, "", "Unknown command: frobnicate\n"),
        (&["put", "a"], 1, "", "Usage: gfl put"),
        (&["-x", "ls"], 2, "", "flag provided but not defined: -x\n"),
        (&["ls", "--lnog"], 2, "", "did you mean --long?"),
        (
            &["put", "missing", "x"],
            4,
            "",
            "missing: no such local file or folder",
        ),
        (
            &["put", "*.none", "x"],
            4,
            "",
            "no local files match pattern: *.none",
        ),
        (&["-config", "missing.json", "ls"], 4, "", "missing.json"),
        (
            &["--server", "https://127.0.0.1:1", "--retries", "0", "ls"],
            6,
            "",
            "cannot reach 127.0.0.1:1",
        ),
        (&["--server", "http://", "ls"], 2, "", "host is missing"),
        (
            &["--server", "127.0.0.1:1", "--retries", "0", "ls"],
            6,
            "",
            "cannot reach 127.0.0.1:1",
        ),
        (&["get", "a/../../b"], 1, "", "leads out of the root"),
        (&["mv", "a"], 1, "", "Usage: gfl mv"),
    ] {
        let output = gfl(dir.path(), words).expect(code);
        assert!(
            output.out.contains(out) && output.err.contains(err),
            "{words:?}: {output:?}"
        );
        // What is said goes to one of them; what failed never to stdout.
        assert!(code == 0 || output.out.is_empty(), "{words:?}: {output:?}");
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
    assert!(output.err.contains("is kept and shown to"), "{output:?}");
    let config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(
        config["client"],
        json!({"token": "right", "mine": 1, "server_url": format!("http://{server}")})
    );
    assert_eq!(config["server"]["address"], "x:1");
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
    // A token that is in no list of processes.
    let token = dir.path().join("token");
    let words = ["-config", "d.json", "config", &server, "-"];
    for (text, code) in [("right\n", 0), ("wrong\n", 5), ("\n", 2)] {
        fs::write(&token, text).unwrap();
        let mut config = command(dir.path(), &words);
        finish(config.stdin(fs::File::open(&token).unwrap())).expect(code);
    }
    let config = fs::read_to_string(dir.path().join("d.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["client"]["token"], "right");
}

#[test]
fn settings_are_shown_with_their_origin_and_no_server_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let text = r#"{"client":{"server_url":"http://127.0.0.1:1","token":"secret-one"}}"#;
    fs::write(dir.path().join("c.json"), text).unwrap();
    let words = ["-config", "c.json", "config"];
    let shown = gfl(dir.path(), &words).expect(0);
    assert_eq!(
        shown.out,
        "file     c.json\nserver   http://127.0.0.1:1, from the file\ntoken    ****, from the file\n"
    );
    let mut with_env = command(dir.path(), &words);
    let shown = finish(with_env.env("GOFLUX_TOKEN_LITE", "secret-two")).expect(0);
    assert!(
        shown.out.ends_with(
            "token    ****, from the environment (GOFLUX_TOKEN_LITE); the one in the file is not used\n"
        ),
        "{shown:?}"
    );
    assert!(!format!("{shown:?}").contains("secret"));
    let shown = gfl(dir.path(), &["config", "--server", "127.0.0.1:2"]).expect(0);
    assert_eq!(
        shown.out,
        "file     none\nserver   http://127.0.0.1:2, from --server\ntoken    none\n"
    );
    let shown = gfl(dir.path(), &[&words[..], &["--json"]].concat()).expect(0);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(
        (&shown["token"], &shown["server_source"]),
        (&true.into(), &"from the file".into())
    );
    // What cannot be used is told with the file it is in.
    fs::write(
        dir.path().join("c.json"),
        r#"{"client":{"server_url":"ftp://x"}}"#,
    )
    .unwrap();
    let shown = gfl(dir.path(), &words).expect(2);
    assert!(shown.err.contains("c.json: server address"), "{shown:?}");
}

#[test]
fn a_settings_file_that_cannot_be_read_is_not_written_over() {
    let fake = Fake::start(|_| capabilities());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.json");
    for bytes in [&b"\xff\xfe not text"[..], b"{ not json"] {
        fs::write(&file, bytes).unwrap();
        let words = ["-config", "c.json", "config", &fake.address()];
        let output = gfl(dir.path(), &words).expect(1);
        assert!(output.err.contains("c.json"), "{output:?}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let words = ["-config", "c.json", "config", &fake.address()];
    let output = gfl(dir.path(), &words).expect(4);
    assert!(
        output.err.contains("c.json is no settings file"),
        "{output:?}"
    );
    assert!(fake.seen("GET").is_empty());
}

#[test]
fn the_token_of_the_environment_is_tried_and_never_saved() {
    let fake =
        Fake::start(
            |request| match (request.line().as_str(), request.field("authorization")) {
                ("GET /v1/", _) => capabilities(),
                (_, Some("Bearer env-token")) => ok(&json!({"user": "e", "permissions": ["*"]})),
                _ => problem(401, "unauthenticated"),
            },
        );
    let dir = tempfile::tempdir().unwrap();
    let words = ["-config", "c.json", "config", &fake.address()];
    let output = finish(command(dir.path(), &words).env("GOFLUX_TOKEN_LITE", "env-token"));
    let output = output.expect(0);
    assert!(output.err.contains("knows you as e"), "{output:?}");
    let text = fs::read_to_string(dir.path().join("c.json")).unwrap();
    assert!(!text.contains("env-token"), "{text}");
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
