//! What a person sees: one line that fits the terminal while it runs, and nothing of it afterwards.

use crate::fake::{Fake, capabilities, command, ok, problem, reply};
use gfl_api::Root;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};

const COLUMNS: u16 = 20;
/// A test that waits longer for something to be shown has failed.
const SILENT_MAX: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Starts gfl with its messages on a terminal of [`COLUMNS`] columns; the other end of the terminal comes back too.
fn spawn(fake: &Fake, rows: u16, words: &[&str], env: &[(&str, &str)]) -> (Child, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let size = Winsize {
        ws_row: rows,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = fake.address();
    let mut command = command(dir.path(), &[&["--server", &address][..], words].concat());
    command
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(theirs);
    (command.spawn().unwrap(), File::from(ours))
}

/// A server that takes uploads of unknown length and says that all is well.
fn server() -> Fake {
    let hasher = std::sync::Mutex::new((Vec::new(), 0));
    Fake::start(move |request| {
        let mut file = hasher.lock().unwrap();
        match request.method.as_str() {
            "GET" if request.target == "/v1/" => capabilities(),
            "POST" => ok(&json!({"id": "u1", "state": "receiving", "received": []})),
            "PUT" => {
                file.0.extend_from_slice(&request.body);
                reply(204, "").with("upload-offset", file.0.len())
            }
            "PATCH" => {
                let b3 = Root::of(&file.0).to_string();
                ok(&json!({"path": "f", "b3": b3, "size": file.0.len()}))
            }
            _ => problem(404, "not-found"),
        }
    })
}

/// Reads from the terminal until `is_enough`, or to its end.
fn read(terminal: &mut File, seen: &mut String, is_enough: impl Fn(&str) -> bool) {
    let mut buf = [0; 4096];
    while !is_enough(seen) {
        let mut ready = [PollFd::new(terminal, PollFlags::IN)];
        let waited = poll(&mut ready, Some(&SILENT_MAX)).unwrap();
        assert_ne!(waited, 0, "nothing more comes after {seen:?}");
        match terminal.read(&mut buf) {
            Ok(0) => return,
            // What a terminal says when nobody holds its other end any more.
            Err(_) => return,
            Ok(got) => seen.push_str(&String::from_utf8_lossy(&buf[..got])),
        }
    }
}

/// The text without escape sequences, cut where the cursor goes back or down.
fn lines(seen: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut chars = seen.chars();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        // ESC [ … letter
        chars.next();
        for c in chars.by_ref() {
            if c.is_ascii_alphabetic() {
                break;
            }
        }
        plain.push('\r');
    }
    plain.split(['\r', '\n']).map(str::to_owned).collect()
}

#[test]
fn the_progress_line_fits_a_narrow_terminal_and_goes_away() {
    // Some terminals (those of `script` and of containers) know their columns only.
    for rows in [10, 0] {
        fits(rows);
    }
}

fn fits(rows: u16) {
    let (mut child, mut terminal) = spawn(&server(), rows, &["put", "-", "f"], &[]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![1; 20 << 20]).unwrap();
    let mut seen = String::new();
    // The pipe stays open until the line was drawn with bytes in it.
    read(&mut terminal, &mut seen, |seen| seen.contains("16.0 MiB"));
    let running = lines(&seen);
    drop(stdin);
    assert!(child.wait().unwrap().success());
    read(&mut terminal, &mut seen, |_| false);
    assert!(seen.contains("B/s"), "{seen:?}");
    for line in running {
        assert!(line.chars().count() <= usize::from(COLUMNS), "{line:?}");
    }
    // The last thing done to the line is to clear it; then comes the summary and nothing else.
    let cleared = seen.rfind("\u{1b}[2K").expect("the line is cleared");
    let after = lines(&seen[cleared..]);
    let said: Vec<&String> = after
        .iter()
        .filter(|line| !line.trim().is_empty())
        .collect();
    assert!(
        said.len() == 1 && said[0].starts_with("1 file, 20.0 MiB in "),
        "{said:?}"
    );
}

#[test]
fn terminals_without_a_cursor_and_quiet_ones_get_no_progress() {
    for (words, env) in [
        (&["put", "-", "f"][..], &[("TERM", "dumb")][..]),
        (&["-q", "put", "-", "f"], &[]),
    ] {
        let (mut child, mut terminal) = spawn(&server(), 10, words, env);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&vec![1; 20 << 20]).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
        let mut seen = String::new();
        read(&mut terminal, &mut seen, |_| false);
        assert!(!seen.contains('\u{1b}'), "{seen:?}");
        let summary = if env.is_empty() { 0 } else { 1 };
        assert_eq!(seen.lines().count(), summary, "{seen:?}");
    }
}

#[test]
fn who_waits_sees_how_long_still() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::start(move |request| {
        let before = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match request.target.as_str() {
            "/v1/" => capabilities(),
            _ if before == 1 => problem(503, "unavailable").with("retry-after", 1),
            _ => ok(&json!({"entries": [], "next": null})),
        }
    });
    let (mut child, mut terminal) = spawn(&fake, 10, &["ls"], &[]);
    let mut seen = String::new();
    read(&mut terminal, &mut seen, |_| false);
    assert!(child.wait().unwrap().success());
    let said = lines(&seen);
    let is_told = |line: &String| line.trim() == "waiting, 5:00 left";
    assert!(said.iter().any(is_told), "{seen:?}");
    let cleared = seen.rfind("\u{1b}[2K").expect("the line is cleared");
    let after = lines(&seen[cleared..]);
    assert!(after.iter().all(|line| line.trim().is_empty()), "{seen:?}");
}
