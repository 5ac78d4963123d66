//! `gfl update`: what is taken, what is refused, and that a failure at any step leaves the old program in its place.

use crate::fake::{Fake, Output, Reply, names, reply};
use crate::signing::{key, sign};
use gfl_api::release::{Binary, Manifest, platform};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const SEED: [u8; 32] = [7; 32];
const NEWER: &str = "9.10.0-lite";

/// A program that says that it is this version.
fn program(version: &str) -> Vec<u8> {
    format!("#!/bin/sh\necho \"gfl version: {version}\"\n").into_bytes()
}

/// What a server offers.
#[derive(Clone)]
struct Release {
    manifest: Manifest,
    seed: [u8; 32],
    content: Vec<u8>,
}

impl Release {
    /// A release of `version` with this program for this platform, at `/gfl` of the server that tells of it.
    fn new(version: &str, content: Vec<u8>) -> Self {
        let binary = Binary {
            url: String::new(),
            checksum: hex::encode(Sha256::digest(&content)),
            size: content.len() as u64,
        };
        let here = platform(std::env::consts::OS, std::env::consts::ARCH);
        Self {
            manifest: Manifest {
                version: version.into(),
                release_date: "2026-12-01".into(),
                notes: "faster\nsmaller".into(),
                binaries: BTreeMap::from([(here, binary)]),
            },
            seed: SEED,
            content,
        }
    }

    fn serve(self) -> Fake {
        let content = self.content.clone();
        self.serve_program(move || reply(200, content.clone()))
    }

    fn serve_program(self, answer: impl Fn() -> Reply + Send + Sync + 'static) -> Fake {
        Fake::start(move |request| {
            let mut manifest = self.manifest.clone();
            for binary in manifest.binaries.values_mut().filter(|b| b.url.is_empty()) {
                binary.url = format!("http://{}/gfl?a=b", request.field("host").unwrap());
            }
            assert_eq!(request.field("authorization"), None, "{}", request.line());
            match request.line().as_str() {
                "GET /version.json" => reply(200, manifest.to_json()),
                "GET /version.json.minisig" => reply(200, sign(&manifest.to_json(), self.seed)),
                "GET /gfl?a=b" => answer(),
                _ => reply(404, "404 page not found\n"),
            }
        })
    }
}

/// A copy of gfl in a folder of its own.
struct Copy {
    dir: tempfile::TempDir,
    before: Vec<u8>,
}

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("bin/gfl");
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_gfl"), &exe).unwrap();
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o751)).unwrap();
        let before = fs::read(&exe).unwrap();
        Self { dir, before }
    }

    fn exe(&self) -> PathBuf {
        self.dir.path().join("bin/gfl")
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// Runs it as it is installed, with our key and a token that is nobody's business.
    fn run(&self, exe: &Path, fake: &Fake, words: &[&str], answer: &str) -> Output {
        let mut command = Command::new(exe);
        command
            .args([
                "--server",
                &fake.address(),
                "--retries",
                "2",
                "--timeout",
                "2",
            ])
            .args(words)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("GOFLUX_TOKEN_LITE", "secret")
            .env("GFL_UPDATE_KEYS", key(SEED).1.to_text())
            .env("GFL_UPDATE_URL", "http://127.0.0.1:1/version.json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(&mut command);
        let mut stdin = child.stdin.take().unwrap();
        // It may not ask at all.
        let _ = stdin.write_all(answer.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Output {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn update(&self, fake: &Fake, options: &[&str]) -> Output {
        self.run(
            &self.exe(),
            fake,
            &[&["update", "--local"][..], options].concat(),
            "",
        )
    }

    #[track_caller]
    fn assert_unchanged(&self) {
        assert!(
            fs::read(self.exe()).unwrap() == self.before,
            "another program"
        );
        assert_eq!(names(&self.bin()), ["gfl"], "something is left");
    }
}

/// A copy that was just written may be held open by another test's child for a moment.
fn spawn(command: &mut Command) -> std::process::Child {
    loop {
        match command.spawn() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now()
            }
            done => return done.unwrap(),
        }
    }
}

#[test]
fn a_newer_release_takes_the_place_of_the_old_one() {
    let (copy, new) = (Copy::new(), program(NEWER));
    let fake = Release::new(NEWER, new.clone()).serve();
    let output = copy.update(&fake, &["--yes"]).expect(0);
    assert!(output.out.starts_with(
        "Checking for updates...\nNew version available: 9.10.0-lite (released 2026-12-01)\n"
    ));
    assert!(
        output
            .out
            .contains("\n  faster\n  smaller\n✓ Updated to 9.10.0-lite; "),
        "{}",
        output.out
    );
    assert!(fs::read(copy.exe()).unwrap() == new);
    let mode = fs::metadata(copy.exe()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o751, "permissions are kept");
    assert_eq!(names(&copy.bin()), ["gfl", "gfl.backup"]);
    let backup = copy.bin().join("gfl.backup");
    assert!(fs::read(&backup).unwrap() == copy.before);
    // And back: the old program still runs, and is told apart from what it is called.
    let output = copy.run(&backup, &fake, &["-version"], "").expect(0);
    assert!(output.out.starts_with("gfl version: "), "{}", output.out);
}

#[test]
fn a_symlink_stays_one() {
    let copy = Copy::new();
    let link = copy.dir.path().join("gfl");
    std::os::unix::fs::symlink(copy.exe(), &link).unwrap();
    let fake = Release::new(NEWER, program(NEWER)).serve();
    copy.run(&link, &fake, &["update", "-l", "-y"], "")
        .expect(0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read(copy.exe()).unwrap() == program(NEWER));
}

#[test]
fn it_asks_as_v01_asked() {
    let copy = Copy::new();
    let fake = Release::new(NEWER, program(NEWER)).serve();
    for answer in ["", "n\n", "yes\n", "j\n"] {
        let output = copy
            .run(&copy.exe(), &fake, &["update", "--local"], answer)
            .expect(0);
        assert!(
            output
                .out
                .contains("Do you want to install this update? (y/N): "),
            "{}",
            output.out
        );
        assert_eq!(fake.seen("GET /gfl"), Vec::<String>::new(), "{answer:?}");
        copy.assert_unchanged();
    }
    copy.run(&copy.exe(), &fake, &["update", "--local"], "y\n")
        .expect(0);
    assert!(fs::read(copy.exe()).unwrap() == program(NEWER));
}

#[test]
fn older_and_equal_releases_need_to_be_asked_for() {
    let ours = env!("CARGO_PKG_VERSION");
    for (version, order) in [
        ("0.1.9-lite", "older"),
        (&*format!("{ours}-lite"), "the same"),
        (ours, "the same"),
    ] {
        let copy = Copy::new();
        let fake = Release::new(version, program(version)).serve();
        let output = copy.update(&fake, &["--yes"]).expect(0);
        let latest = format!("You are already running the latest version ({ours})");
        assert!(output.out.contains(&latest), "{}", output.out);
        assert_eq!(
            output.err.contains("--downgrade"),
            order == "older",
            "{}",
            output.err
        );
        copy.assert_unchanged();
        copy.update(&fake, &["--yes", "--downgrade"]).expect(0);
        assert!(
            fs::read(copy.exe()).unwrap() == program(version),
            "{version}"
        );
    }
}

#[test]
fn checking_changes_nothing() {
    let copy = Copy::new();
    let fake = Release::new(NEWER, program(NEWER)).serve();
    let output = copy.update(&fake, &["--check"]).expect(0);
    assert!(
        output.out.contains("New version available: 9.10.0-lite"),
        "{}",
        output.out
    );
    let output = copy.update(&fake, &["--check", "--json"]).expect(0);
    let told: serde_json::Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(
        (&told["offered"], &told["is_newer"]),
        (&NEWER.into(), &true.into())
    );
    copy.update(&fake, &["--json"]).expect(2);
    copy.assert_unchanged();
}

#[test]
fn what_is_not_signed_with_our_key_is_not_believed() {
    let release = Release::new(NEWER, program(NEWER));
    let other_key = Release {
        seed: [8; 32],
        ..release.clone()
    };
    let copy = Copy::new();
    let output = copy.update(&other_key.serve(), &["--yes"]).expect(7);
    assert!(
        output.err.contains("signature does not fit"),
        "{}",
        output.err
    );
    copy.assert_unchanged();
    let unsigned = Fake::start(move |request| match request.target.as_str() {
        "/version.json" => reply(200, release.manifest.to_json()),
        _ => reply(404, "404 page not found\n"),
    });
    let output = copy.update(&unsigned, &["--yes"]).expect(6);
    assert!(output.err.contains("has no signature"), "{}", output.err);
    assert_eq!(unsigned.seen("GET /gfl"), Vec::<String>::new());
    copy.assert_unchanged();
}

#[test]
fn a_build_without_a_key_says_so_and_asks_nobody() {
    let copy = Copy::new();
    let fake = Release::new(NEWER, program(NEWER)).serve();
    for words in [
        &["update", "--local", "--yes"][..],
        &["update", "--local", "--check"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_gfl"))
            .args(["--server", &fake.address()])
            .args(words)
            .env_clear()
            .env("HOME", copy.dir.path())
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && err.contains("without a key"),
            "{err}"
        );
    }
    assert_eq!(fake.seen("GET"), Vec::<String>::new());
}

#[test]
fn other_bytes_than_the_release_names_are_not_installed() {
    let good = program(NEWER);
    let mut flipped = good.clone();
    flipped[3] ^= 1;
    let (short, long) = (good[1..].to_vec(), [&good[..], b"\n"].concat());
    for (bad, why) in [
        (flipped, "checksum"),
        (short, "bytes instead of"),
        (long, "longer than"),
    ] {
        let copy = Copy::new();
        let fake = Release::new(NEWER, good.clone()).serve_program(move || reply(200, bad.clone()));
        let output = copy.update(&fake, &["--yes"]).expect(7);
        assert!(output.err.contains(why), "{}", output.err);
        copy.assert_unchanged();
    }
}

#[test]
fn a_program_that_does_not_run_or_is_another_one_is_not_installed() {
    for (bad, code, why) in [
        (program("9.9.9"), 7, "does not say that it is 9.10.0-lite"),
        (
            b"\x7fELF of another machine".to_vec(),
            1,
            "does not run on this machine",
        ),
        (b"#!/bin/sh\nexit 3\n".to_vec(), 1, "ended with"),
    ] {
        let copy = Copy::new();
        let fake = Release::new(NEWER, bad).serve();
        let output = copy.update(&fake, &["--yes"]).expect(code);
        assert!(output.err.contains(why), "{}", output.err);
        copy.assert_unchanged();
    }
}

#[test]
fn a_program_that_fails_in_its_place_gives_it_back() {
    let copy = Copy::new();
    // Runs under the name it is tried with, and not under its own.
    let fickle = format!(
        "#!/bin/sh\ncase $0 in */.gfl*) echo \"gfl version: {NEWER}\" ;; *) exit 1 ;; esac\n"
    );
    let fake = Release::new(NEWER, fickle.into_bytes()).serve();
    let output = copy.update(&fake, &["--yes"]).expect(1);
    assert!(
        output.err.contains("the old program is back in place"),
        "{}",
        output.err
    );
    copy.assert_unchanged();
}

#[test]
fn a_lost_connection_is_made_again_and_silence_ends_it() {
    let (copy, good) = (Copy::new(), program(NEWER));
    let tries = Arc::new(AtomicUsize::new(0));
    let (counted, content) = (Arc::clone(&tries), good.clone());
    let fake = Release::new(NEWER, good.clone()).serve_program(move || {
        match counted.fetch_add(1, SeqCst) {
            0 => reply(200, content.clone()).cut(5),
            1 => reply(503, ""),
            _ => reply(200, content.clone()),
        }
    });
    copy.update(&fake, &["--yes"]).expect(0);
    assert!(fs::read(copy.exe()).unwrap() == good && tries.load(SeqCst) == 3);

    let copy = Copy::new();
    let fake = Release::new(NEWER, good).serve_program(|| Reply {
        stall: true,
        ..reply(200, "")
    });
    let output = copy
        .update(&fake, &["--yes", "--retries", "0", "--timeout", "1"])
        .expect(6);
    assert!(
        output.err.contains("no byte moved for 1 s"),
        "{}",
        output.err
    );
    copy.assert_unchanged();
}

#[test]
fn redirects_are_followed_and_loops_end() {
    let copy = Copy::new();
    let target = Release::new(NEWER, program(NEWER)).serve();
    let address = target.address();
    let mut release = Release::new(NEWER, program(NEWER));
    for binary in release.manifest.binaries.values_mut() {
        binary.url = format!("http://{address}/gfl?a=b");
    }
    let (manifest, seed) = (release.manifest.to_json(), release.seed);
    let front = Fake::start(move |request| match request.target.as_str() {
        "/version.json" => reply(302, "").with("location", "/moved/version.json"),
        "/moved/version.json" => reply(200, manifest.clone()),
        "/version.json.minisig" => reply(307, "").with("location", "moved/x"),
        "/moved/x" => reply(200, sign(&manifest, seed)),
        _ => reply(302, "").with("location", "/again"),
    });
    copy.update(&front, &["--yes"]).expect(0);
    let endless = Fake::start(|_| reply(302, "").with("location", "/again"));
    let copy = Copy::new();
    let output = copy.update(&endless, &["--yes"]).expect(1);
    assert!(output.err.contains("redirects"), "{}", output.err);
    copy.assert_unchanged();
}

#[test]
fn a_server_without_a_release_is_passed_over_aloud() {
    let project = Release::new(NEWER, program(NEWER)).serve();
    let bare = Fake::start(|_| reply(404, "404 page not found\n"));
    let copy = Copy::new();
    let output = Command::new(copy.exe())
        .args(["--server", &bare.address(), "update", "--local", "--check"])
        .env_clear()
        .env("HOME", copy.dir.path())
        .env("GFL_UPDATE_KEYS", key(SEED).1.to_text())
        .env(
            "GFL_UPDATE_URL",
            format!("http://{}/version.json", project.address()),
        )
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        out.contains("New version available: 9.10.0-lite"),
        "{out}{err}"
    );
    assert!(
        err.contains(&format!("asking http://{}/version.json", project.address())),
        "{err}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_named_before_anything_is_fetched() {
    let copy = Copy::new();
    let fake = Release::new(NEWER, program(NEWER)).serve();
    // Also root cannot make a file whose name is longer than the file system takes.
    let long = copy.bin().join("g".repeat(250));
    fs::rename(copy.exe(), &long).unwrap();
    let output = copy
        .run(&long, &fake, &["update", "--local", "--yes"], "")
        .expect(1);
    let folder = copy.bin().canonicalize().unwrap();
    assert!(
        output
            .err
            .contains(&format!("cannot write to {}", folder.display())),
        "{}",
        output.err
    );
    assert_eq!(fake.seen("GET /gfl"), Vec::<String>::new());
    assert_eq!(names(&copy.bin()).len(), 1);
}
