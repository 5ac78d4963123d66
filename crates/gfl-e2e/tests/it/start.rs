//! What an administrator meets: the first start, `-check`, and a start that is refused.

use gfl_e2e::mount::Mount;
use gfl_e2e::server::{Token, new_token};
use gfl_e2e::{Http, Setup, bins, skip};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(bins::path("gfl-server"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command
}

/// Runs to the end: a check, or a start that fails.
fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().expect("gfl-server runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("can be listed");
    let mut names: Vec<String> = entries
        .map(|e| text(e.expect("can be listed").file_name().as_encoded_bytes()))
        .collect();
    names.sort();
    names
}

/// A running server, killed when dropped.
struct Running {
    child: Child,
    told: String,
    addr: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Starts it with these arguments, and waits until it is ready.
fn start(dir: &Path, args: &[&str], out: Option<(File, Stdio)>) -> Running {
    ready(dir, command(dir, args), out)
}

/// Starts and reads `out` (default: a pipe) until the server is ready; stderr goes to a file beside `dir`.
fn ready(dir: &Path, mut command: Command, out: Option<(File, Stdio)>) -> Running {
    let log = File::create(dir.with_extension("log")).expect("a log");
    let (mut child, out): (Child, Box<dyn Read>) = match out {
        Some((ours, theirs)) => {
            let child = command.stdout(theirs).stderr(log).spawn();
            (child.expect("gfl-server starts"), Box::new(ours))
        }
        None => {
            let child = command.stdout(Stdio::piped()).stderr(log).spawn();
            let mut child = child.expect("gfl-server starts");
            let out = child.stdout.take().expect("is piped");
            (child, Box::new(out))
        }
    };
    // The child's end of a terminal must be closed here, or its end would never be seen.
    drop(command);
    let mut told = String::new();
    let mut lines = BufReader::new(out);
    loop {
        let before = told.len();
        let read = lines.read_line(&mut told).unwrap_or(0);
        if let Some(addr) = told[before..].split("listening on ").nth(1) {
            let addr = addr.trim().parse().expect("an address");
            return Running { child, told, addr };
        }
        if read == 0 {
            let _gone = child.kill();
            let _reaped = child.wait();
            let log = fs::read_to_string(dir.with_extension("log"));
            panic!(
                "the server did not start: {told}{}",
                log.unwrap_or_default()
            );
        }
    }
}

/// A folder in a folder of its own, so that the log does not lie in it.
fn empty() -> (tempfile::TempDir, std::path::PathBuf) {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let dir = temp.path().join("here");
    fs::create_dir(&dir).expect("can be made");
    (temp, dir)
}

/// Whether a text holds something like a token.
fn has_secret(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_hexdigit())
        .any(|word| word.len() >= 64)
}

fn works(running: &Running, token: &str) {
    let http = Http::new(running.addr, Some(format!("Bearer {token}")));
    assert_eq!(http.get("/v1/me").expect(200).json()["user"], "admin");
}

#[test]
fn an_address_in_use_leaves_nothing_behind() {
    let (_temp, dir) = empty();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = run(&dir, &["-listen", &address]);
    assert_eq!(failed.status.code(), Some(1));
    let why = text(&failed.stderr);
    assert!(
        why.contains("cannot listen on") && why.contains(&address),
        "{why}"
    );
    assert_eq!(text(&failed.stdout), "");
    assert_eq!(names(&dir), [""; 0]);
    // With another one it is a first start as ever.
    let running = start(&dir, &["-port", "0"], None);
    assert!(running.told.contains("Created default configuration"));
}

#[test]
fn the_first_token_reaches_no_log() {
    let (_temp, dir) = empty();
    let running = start(&dir, &["-port", "0"], None);
    let log = fs::read_to_string(dir.with_extension("log")).unwrap();
    assert!(!has_secret(&running.told), "{}", running.told);
    assert!(!has_secret(&log), "{log}");
    let file = dir.join("first-token");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&file).unwrap();
    works(&running, secret.trim());
    // Where everything is, so that nobody looks for it elsewhere.
    let at = |name: &str| dir.join(name).display().to_string();
    for line in [
        format!("Storage directory: {}\n", at("data")),
        format!("Metadata directory: {}\n", at(".goflux-meta")),
        format!("Configuration: {}\n", at("goflux.json")),
        format!("Authentication enabled: {}\n", at("tokens.json")),
        format!("GOFLUX_TOKEN_LITE=$(cat {}) gfl", at("first-token")),
    ] {
        assert!(running.told.contains(&line), "{line}: {}", running.told);
    }
    drop(running);
    // As long as it lies there, it is not forgotten.
    let check = text(&run(&dir, &["-check"]).stdout);
    assert!(check.contains("first token still stands in"), "{check}");
    let again = start(&dir, &[], None);
    assert!(!again.told.contains("Created"), "{}", again.told);
    works(&again, secret.trim());
}

#[test]
fn the_first_token_is_printed_for_who_asks() {
    let (_temp, dir) = empty();
    let running = start(&dir, &["-port", "0", "-print-token"], None);
    shown(&dir, &running);
}

#[test]
fn the_first_token_is_shown_on_a_terminal() {
    let (_temp, dir) = empty();
    let ours =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY);
    let ours = ours.expect("a terminal");
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let name = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
    // Not the terminal of this process, which would be told when it is closed.
    let theirs = File::options()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
        .open(name.to_str().unwrap());
    let terminal = (File::from(ours), Stdio::from(theirs.unwrap()));
    let running = start(&dir, &["-port", "0"], Some(terminal));
    shown(&dir, &running);
}

/// The token was told on stdout, works, and stands in no file.
#[track_caller]
fn shown(dir: &Path, running: &Running) {
    let token = running.told.split("GOFLUX_TOKEN_LITE=").nth(1);
    let token = token.and_then(|rest| rest.split(' ').next());
    works(running, token.expect("a token was shown"));
    assert!(running.told.contains("shown only once"));
    assert_eq!(
        names(dir),
        [".goflux-meta", "data", "goflux.json", "tokens.json"]
    );
}

/// As nohup does it. The shell becomes the server.
#[test]
fn a_hangup_that_was_ignored_stays_ignored() {
    let (_temp, dir) = empty();
    let server = bins::path("gfl-server").display().to_string();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' HUP; exec \"$0\" -port 0", &server])
        .current_dir(&dir);
    let mut running = ready(&dir, shell, None);
    let pid = Pid::from_child(&running.child);
    kill_process(pid, Signal::HUP).expect("it runs");
    kill_process(pid, Signal::TERM).expect("it still runs");
    let ended = running.child.wait().expect("can be waited for");
    assert!(ended.success(), "{ended}");
    let log = fs::read_to_string(dir.with_extension("log")).unwrap();
    assert!(log.contains("SIGTERM: finishing"), "{log}");
    assert!(!log.contains("SIGHUP: finishing"), "{log}");
}

/// Writes a configuration with this `server` section (null takes a key out), over folders in `dir`.
fn configure(dir: &Path, server: &serde_json::Value, beside: &serde_json::Value) {
    let mut all = serde_json::json!({
        "address": "127.0.0.1:0", "storage_dir": dir.join("data"), "meta_dir": dir.join("meta"),
        "tokens_file": dir.join("tokens.json"),
    });
    let mut config = serde_json::json!({});
    for (key, value) in server.as_object().expect("is an object") {
        all[key] = value.clone();
    }
    config["server"] = all;
    for (key, value) in beside.as_object().expect("is an object") {
        config[key] = value.clone();
    }
    fs::write(dir.join("goflux.json"), config.to_string()).expect("config written");
}

/// A token file that only its owner reads.
fn good_tokens(dir: &Path) {
    let server = Setup::default().at(dir).prepare();
    server.write_tokens(&[Token::new(&new_token(), "tok_000000000001", &["*"])]);
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(server.tokens_file(), closed).expect("is ours");
}

/// `-check` and a start refuse in the same words, and neither changes anything.
#[track_caller]
fn refused(dir: &Path, args: &[&str], words: &str) {
    let before = names(dir);
    let check = run(dir, &[args, &["-check"]].concat());
    let told = text(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{told}");
    let error = told.lines().find_map(|line| {
        let error = line.strip_prefix("error: ")?;
        error.contains(words).then_some(error)
    });
    let error = error.unwrap_or_else(|| panic!("no {words:?} in {told}"));
    assert!(told.ends_with("the server does not start\n"), "{told}");
    let start = run(dir, args);
    let why = text(&start.stderr);
    assert_eq!(start.status.code(), Some(1), "{why}");
    assert!(why.contains(error), "{error:?} is not in {why}");
    assert_eq!(text(&start.stdout), "");
    assert_eq!(names(dir), before, "{words}");
}

#[test]
fn what_check_calls_an_error_is_refused_by_a_start() {
    use serde_json::json;
    let (_temp, dir) = empty();
    good_tokens(&dir);
    fs::write(dir.join("file"), "x").unwrap();
    fs::write(dir.join("broken.json"), r#"{"tokens":[{"#).unwrap();
    let at = |path: &str| json!(dir.join(path));
    let none = || json!({});
    for (server, beside, words) in [
        (
            json!({"log_level": "loud"}),
            none(),
            r#"server.log_level "loud""#,
        ),
        (
            json!({"address": "127.0.0.1:65536"}),
            none(),
            "server.address",
        ),
        (
            json!({"address": "192.0.2.1:80"}),
            none(),
            "no address of this machine",
        ),
        (
            json!({"meta_dir": at("data")}),
            none(),
            "is the storage folder",
        ),
        (
            json!({"meta_dir": at("data/meta")}),
            none(),
            "lies inside the storage folder",
        ),
        (
            json!({"storage_dir": at(".")}),
            none(),
            "lies inside the storage folder",
        ),
        (
            json!({"storage_dir": at("file")}),
            none(),
            "is not a folder",
        ),
        (
            json!({"meta_dir": at("file/meta")}),
            none(),
            "server.meta_dir",
        ),
        (
            json!({"tokens_file": at("broken.json")}),
            none(),
            "not valid json",
        ),
        (
            json!({"tokens_file": at(".")}),
            none(),
            "nobody could log in",
        ),
        (
            json!({"tokens_file": null, "token_file": "t"}),
            none(),
            "server.token_file",
        ),
        (
            json!({"tokens_file": null}),
            json!({"tokens_file": "t"}),
            "authentication would be off",
        ),
        (json!({"tls_cert": "c"}), none(), "server.tls_key"),
        (
            json!({"tls_cert": "c", "tls_key": "k"}),
            none(),
            "cannot read c, which server.tls_cert",
        ),
        (
            json!({"plain_http": "refuse"}),
            none(),
            "there is no certificate",
        ),
        (
            json!({"acme_domains": ["nas"], "acme_accept_terms": true}),
            none(),
            "server.acme_domains \"nas\"",
        ),
    ] {
        configure(&dir, &server, &beside);
        refused(&dir, &[], words);
    }
    configure(&dir, &none(), &none());
    refused(&dir, &["-port", "x"], r#"-port "x""#);
    refused(&dir, &["-durability", "some"], "-durability");
    // A first start, too.
    let (_temp, dir) = empty();
    refused(
        &dir,
        &["-storage-dir", "."],
        "lies inside the storage folder",
    );
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn a_storage_that_cannot_be_written_is_refused() {
    let mount = match Mount::tmpfs(8) {
        Ok(mount) => mount,
        Err(why) => return skip::skip("a start on a read-only disk", &why),
    };
    let (_temp, dir) = empty();
    good_tokens(&dir);
    mount.set_read_only(true).expect("can be remounted");
    let none = serde_json::json!({});
    let on_mount = |path: &str| serde_json::json!(mount.dir().join(path));
    for storage in ["", "new/data"] {
        configure(
            &dir,
            &serde_json::json!({"storage_dir": on_mount(storage)}),
            &none,
        );
        refused(&dir, &[], "mounted read-only");
    }
    configure(
        &dir,
        &serde_json::json!({"meta_dir": on_mount("meta")}),
        &none,
    );
    refused(&dir, &[], "server.meta_dir");
}

#[test]
fn check_warns_about_what_a_start_allows() {
    use serde_json::json;
    let (_temp, dir) = empty();
    good_tokens(&dir);
    let mode =
        |mode| fs::set_permissions(dir.join("tokens.json"), fs::Permissions::from_mode(mode));
    let at = |path: &str| json!(dir.join(path));
    configure(&dir, &json!({}), &json!({}));
    let before = names(&dir);
    let fine = run(&dir, &["-check"]);
    let told = text(&fine.stdout);
    assert_eq!(fine.status.code(), Some(0), "{told}");
    assert!(told.ends_with("nothing is doubtful about this\n"), "{told}");
    assert!(told.contains("(valid tokens: 1 of 1)"), "{told}");
    mode(0o644).unwrap();
    for (server, args, words) in [
        (json!({}), &[][..], "chmod 600"),
        (
            json!({"tokens_file": at("no.json")}),
            &[],
            "does not exist: nobody can log in",
        ),
        (
            json!({"tokens_file": at("data/t.json")}),
            &[],
            "lies in the storage folder",
        ),
        (
            json!({"tokens_file": null}),
            &[],
            "every user of this machine may read",
        ),
        (
            json!({"tokens_file": null}),
            &["-public", "-plain-http"],
            "everybody in the network may read",
        ),
        (json!({}), &["-listen", "0.0.0.0:0"], "without TLS"),
        (
            json!({"storage_dir": at("meta/data")}),
            &[],
            "lies inside the metadata folder",
        ),
        (json!({"undo_dais": 3}), &[], r#"did you mean "undo_days""#),
        (json!({"durability": "none"}), &[], "power cut"),
        (
            json!({"show_paths_in_config": true}),
            &[],
            "without a token",
        ),
    ] {
        configure(&dir, &server, &json!({}));
        let check = run(&dir, &[&["-check"], args].concat());
        let told = text(&check.stdout);
        assert_eq!(check.status.code(), Some(0), "{told}");
        let warning = |line: &str| line.starts_with("warning: ") && line.contains(words);
        assert!(told.lines().any(warning), "no {words:?} in {told}");
        assert!(told.ends_with("; the server starts\n"), "{told}");
        assert_eq!(names(&dir), before);
    }
    // The server does start, and says the same.
    let running = start(&dir, &[], None);
    let log = fs::read_to_string(dir.with_extension("log")).unwrap();
    assert!(log.contains("WARN") && log.contains("chmod 600"), "{log}");
    assert!(running.addr.ip().is_loopback());
}
