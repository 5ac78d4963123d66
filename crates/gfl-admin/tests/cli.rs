//! The real program: outputs and exit codes of v0.1, and what was mended since.

use std::path::Path;
use std::process::Command;

struct Output {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(dir: &Path, words: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_gfl-admin"))
        .args(words)
        .current_dir(dir)
        .output()
        .expect("the program starts");
    Output {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn usage_and_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    for (words, code, out, err) in [
        (&[][..], 1, "", "Usage: gfl-admin"),
        (&["help"], 0, "Usage: gfl-admin", ""),
        (&["-version"], 0, "goflux-lite-admin version: ", ""),
        (&["frobnicate"], 1, "", "Unknown command: frobnicate\n"),
        (&["-x"], 2, "", "flag provided but not defined: -x\n"),
        (&["-h"], 0, "Usage: gfl-admin", ""),
        (
            &["create"],
            1,
            "",
            "Error: -user is required\nUsage of create:",
        ),
        (
            &["create", "-nope"],
            2,
            "",
            "flag provided but not defined: -nope\nUsage of create:",
        ),
        (
            &["create", "-user", "a", "-days", "x"],
            2,
            "",
            "invalid value \"x\" for flag -days: parse error\n",
        ),
        (&["list"], 0, "No tokens found.\n", "note: "),
        (&["revoke"], 1, "", "Error: token ID is required\n"),
        (&["revoke", "tok_x"], 1, "", "Token not found: tok_x\n"),
    ] {
        let output = run(dir.path(), words);
        assert_eq!(
            output.code,
            Some(code),
            "{words:?}: {}{}",
            output.out,
            output.err
        );
        assert!(
            output.out.contains(out) && output.err.contains(err),
            "{words:?}: {}{}",
            output.out,
            output.err
        );
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(
        dir.path(),
        &[
            "create",
            "-user",
            "alice",
            "-permissions",
            "upload, lst",
            "-days",
            "0x10",
        ],
    );
    assert_eq!(made.code, Some(0), "{}", made.err);
    let lines: Vec<&str> = made.out.lines().collect();
    assert_eq!((lines[0], lines[1]), ("Token created successfully!", ""));
    assert_eq!(
        (lines[4], lines[5]),
        ("User:         alice", "Permissions:  [upload lst]")
    );
    let id = lines[2].strip_prefix("Token ID:     ").unwrap();
    let token = lines[3].strip_prefix("Token:        ").unwrap();
    assert!(id.starts_with("tok_") && id.len() == 16 && token.len() == 64);
    assert!(
        made.err.contains("note: spaces") && made.err.contains("did you mean \"list\"?"),
        "{}",
        made.err
    );
    let text = std::fs::read_to_string(dir.path().join("tokens.json")).unwrap();
    assert!(!text.contains(token) && text.contains(&gfl_api::tokens::hash_token(token)));
    let list = run(dir.path(), &["list"]).out;
    assert!(
        list.contains(id) && list.contains(" active ") && list.contains(&"─".repeat(95)),
        "{list}"
    );
    let gone = run(dir.path(), &["revoke", id]);
    assert_eq!(gone.out, format!("✓ Token {id} has been revoked.\n"));
    assert!(
        run(dir.path(), &["list", "-file=tokens.json"])
            .out
            .contains(" revoked ")
    );
    assert_eq!(
        run(dir.path(), &["revoke", "-file", "tokens.json", id]).code,
        Some(0)
    );
}

#[test]
fn what_create_wrote_and_what_is_wrong_with_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let bad = run(dir.path(), &["create", "-user", "a\u{1b}[2J"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.err.contains("control characters"), "{}", bad.err);
    assert!(!dir.path().join("tokens.json").exists());
    let good = run(dir.path(), &["create", "-user", "a"]);
    assert!(good.err.contains("written to tokens.json\n") && !good.err.contains("expired"));
    let late = run(dir.path(), &["create", "-user", "a", "-days", "-1"]);
    assert_eq!(late.code, Some(0));
    assert!(late.err.contains("WARNING: -days -1") && late.err.contains("expired already"));
}
