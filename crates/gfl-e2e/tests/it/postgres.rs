//! A server with its catalog in PostgreSQL: how it starts, what a start refuses and with which words, TLS, and that
//! its password goes nowhere.

use crate::common::{assert_file, list};
use gfl_e2e::postgres::Postgres;
use gfl_e2e::server::Server;
use gfl_e2e::{Setup, bins, http, wait};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

const PASSWORD: &str = "hunter2-hunter2-hunter2";

/// With a role that has a password, a database of its own, and TLS.
fn postgres(what: &str) -> Option<Postgres> {
    let postgres = Postgres::of_its_own(what)?;
    let data = postgres.dir().join("data");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(data.join("server.crt"), made.cert.pem()).expect("written");
    let key = data.join("server.key");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    fs::write(postgres.dir().join("ca.pem"), made.cert.pem()).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("closed");
    let owner = Command::new("chown")
        .arg("--reference")
        .arg(&data)
        .arg(&key)
        .status();
    assert!(owner.is_ok_and(|status| status.success()));
    let access = "host all gfl 127.0.0.1/32 trust\nhost all weak 127.0.0.1/32 trust\n\
                  host all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(data.join("pg_hba.conf"), access).expect("written");
    let role = format!("CREATE ROLE files LOGIN PASSWORD '{PASSWORD}'");
    postgres.sql(&[
        &role,
        "CREATE ROLE weak LOGIN",
        "CREATE DATABASE files OWNER files",
        "CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ]);
    Some(postgres)
}

impl Urls<'_> {
    fn with(&self, user: &str, host: &str, rest: &str) -> String {
        format!("postgres://{user}@{host}:{}/{rest}", self.0.port())
    }

    fn good(&self) -> String {
        self.with(&format!("files:{PASSWORD}"), "127.0.0.1", "files")
    }
}

struct Urls<'p>(&'p Postgres);

/// `gfl-server -check`; the output and whether it would start.
fn check(server: &Server) -> (bool, String) {
    let done = run(server, &["-check"]);
    (
        done.status.success(),
        String::from_utf8_lossy(&done.stdout).into_owned(),
    )
}

fn run(server: &Server, args: &[&str]) -> Output {
    let mut command = Command::new(bins::path("gfl-server"));
    command.arg("-config").arg(server.config_file()).args(args);
    command.output().expect("gfl-server runs")
}

#[test]
fn a_server_works_and_finds_everything_again() {
    let Some(postgres) = postgres("a server over PostgreSQL") else {
        return;
    };
    let mut server = Setup::default()
        .with("database", Urls(&postgres).good())
        .start();
    let http = server.http();
    http.put(http::file("a/b.txt"), "one").expect(201);
    http.put(http::file("a/b.txt"), "two").expect(200);
    http.delete(http::file("a/b.txt")).expect(204);
    http.put(http::file("a/c.txt"), "three").expect(201);
    assert!(!server.meta().join("catalog.db").exists());
    assert!(server.stop());
    server.restart();
    let http = server.http();
    assert_eq!(list(&http, "a"), ["c.txt"]);
    assert_file(&http, "a/c.txt", b"three");
    let versions = http.get("/v1/versions/a/b.txt").expect(200).json();
    assert_eq!(
        versions["versions"].as_array().map(Vec::len),
        Some(2),
        "{versions}"
    );
    assert!(server.stop());
    // SQLite is not what the history is in any more.
    let moved = server.meta().join("catalog.db");
    fs::write(&moved, "").expect("written");
    let (starts, told) = check(&server);
    assert!(
        !starts && told.contains("gfl-admin migrate postgres"),
        "{told}"
    );
}

/// Each of them at `-check` and at a start, in the same words, without the password.
#[test]
fn what_is_wrong_with_the_database_is_said() {
    let Some(postgres) = postgres("what is wrong with a PostgreSQL") else {
        return;
    };
    let urls = Urls(&postgres);
    let local = "127.0.0.1";
    let me = format!("files:{PASSWORD}");
    let newer = "CREATE SCHEMA newer CREATE TABLE gfl_schema (version BIGINT, name TEXT)";
    let filled = "INSERT INTO newer.gfl_schema VALUES (99, 'x')";
    postgres.sql(&[newer, filled]);
    let cases = [
        (
            urls.with("files:wrong-hunter2", local, "files"),
            "check the password of the role files",
        ),
        (
            urls.with("files", local, "files"),
            "check the password of the role files",
        ),
        (
            urls.with(&me, local, "nothing"),
            "CREATE DATABASE nothing OWNER files",
        ),
        (
            urls.with(&me, local, "files?sslmode=verify-full"),
            "name who vouches for it",
        ),
        (
            urls.with("weak", local, "files"),
            "GRANT CREATE, USAGE ON SCHEMA public",
        ),
        (urls.with("gfl", local, "latin"), "ENCODING 'UTF8'"),
        (
            urls.with("gfl", local, "postgres?options=-csearch_path%3Dnewer"),
            "made by a newer program",
        ),
        (
            urls.with("gfl", local, "postgres?options=-csearch_path%3Dnothing"),
            "leads to no schema",
        ),
        (
            urls.with(
                "gfl",
                local,
                "postgres?options=-cdefault_transaction_read_only%3Don",
            ),
            "takes no writes",
        ),
        (
            format!("postgres://{me}@127.0.0.1:1/files"),
            "start PostgreSQL there",
        ),
        (
            format!("postgres://{me}@nowhere.invalid/files"),
            "check the host's name",
        ),
        (format!("postgres://{me}@x@127.0.0.1/files"), "%40"),
        ("mysql://x".to_owned(), "is no URL of a PostgreSQL"),
        ("env:GFL_TEST_NOTHING".to_owned(), "not in the environment"),
        ("file:/no/such/file".to_owned(), "cannot be read"),
    ];
    for (url, said) in cases {
        let server = Setup::default().with("database", url.as_str()).prepare();
        let (starts, told) = check(&server);
        assert!(!starts && told.contains(said), "{url}: {told}");
        let start = run(&server, &[]);
        let refused = String::from_utf8_lossy(&start.stderr).into_owned();
        assert!(
            !start.status.success() && refused.contains(said),
            "{url}: {refused}"
        );
        assert!(
            !format!("{told}{refused}").contains("hunter2"),
            "{told}{refused}"
        );
        assert!(!server.data().exists() && !server.meta().exists(), "{url}");
    }
}

#[test]
fn sslmode_means_what_it_means_elsewhere() {
    let Some(postgres) = postgres("TLS to PostgreSQL") else {
        return;
    };
    let urls = Urls(&postgres);
    let ca = postgres.dir().join("ca.pem").display().to_string();
    let other = postgres.dir().join("other.pem").display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(&other, made.cert.pem()).expect("written");
    // (host, options, ca file, starts, encrypted)
    let cases = [
        ("127.0.0.1", "sslmode=disable", "", true, false),
        ("127.0.0.1", "sslmode=prefer", "", true, true),
        ("127.0.0.1", "sslmode=require", "", true, true),
        ("127.0.0.1", "sslmode=verify-ca", "", false, false),
        ("127.0.0.1", "sslmode=verify-ca", &*ca, true, true),
        ("127.0.0.1", "sslmode=verify-full", &*ca, false, false),
        ("localhost", "sslmode=verify-full", &*ca, true, true),
        ("localhost", "sslmode=verify-full", &*other, false, false),
        ("127.0.0.1", "sslmode=verify-ca", &*other, false, false),
        (
            "localhost",
            "sslmode=verify-full&channel_binding=require",
            &*ca,
            true,
            true,
        ),
    ];
    for (host, options, ca, starts, encrypted) in cases {
        let rest = format!("files?{options}&application_name=test");
        let url = urls.with(&format!("files:{PASSWORD}"), host, &rest);
        let setup = Setup::default()
            .with("database", url)
            .with("database_ca_file", ca);
        let mut server = setup.prepare();
        let (would, told) = check(&server);
        assert_eq!(would, starts, "{host} {options} {ca}: {told}");
        if !starts {
            let said = "name who vouches for it in server.database_ca_file";
            assert!(told.contains(said), "{host} {options} {ca}: {told}");
            continue;
        }
        server.restart();
        server.http().put(http::file("f"), "x").expect(201);
        let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'test' AND NOT ssl";
        let plain: u32 = postgres.sql(&[plain]).parse().expect("a number");
        assert_eq!(
            plain == 0,
            encrypted,
            "{host} {options}: {plain} connections in clear"
        );
        assert!(server.stop());
        postgres.sql(&["DROP OWNED BY files", "SELECT 1"]);
        reset(&postgres);
    }
}

/// An empty database again.
fn reset(postgres: &Postgres) {
    postgres.sql(&["DROP DATABASE files WITH (FORCE)"]);
    postgres.sql(&["CREATE DATABASE files OWNER files"]);
}

#[test]
fn the_password_goes_nowhere() {
    let Some(postgres) = postgres("the password of a PostgreSQL") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("url");
    fs::write(&file, format!("{}\n", Urls(&postgres).good())).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("opened");
    let by_file = format!("file:{}", file.display());
    let mut setup = Setup::default()
        .with("database", "env:GFL_TEST_DATABASE")
        .with("log_level", "trace");
    setup
        .env
        .push(("GFL_TEST_DATABASE".into(), Urls(&postgres).good()));
    let mut server = setup.start();
    let http = server.http();
    http.put(http::file("f"), "x").expect(201);
    postgres.stop("immediate");
    let answer = http.put(http::file("f"), "y").expect(503);
    let mut told = vec![
        answer.text(),
        http.get("/readyz").text(),
        http.get("/metrics").text(),
    ];
    told.push(fs::read_to_string(format!("/proc/{}/cmdline", server.pid())).expect("it runs"));
    told.push(server.log());
    postgres.resume();
    assert!(server.stop());
    server.set("database", by_file.as_str());
    let (starts, checked) = check(&server);
    assert!(starts, "{checked}");
    assert!(
        checked.contains("database's password and has mode 0644"),
        "{checked}"
    );
    told.push(checked);
    let without = Urls(&postgres).with("gfl", "127.0.0.1", "files");
    server.set("database", without.as_str());
    let (_, checked) = check(&server);
    assert!(
        !checked.contains("database's password and has mode"),
        "there is no password in it: {checked}"
    );
    server.set("database", by_file.as_str());
    server.restart();
    let doctor = Command::new(bins::path("gfl-admin"))
        .arg("doctor")
        .arg("-config")
        .arg(server.config_file())
        .output();
    told.push(String::from_utf8_lossy(&doctor.expect("gfl-admin runs").stdout).into_owned());
    for text in told {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_second_server_stays_out() {
    let Some(postgres) = postgres("two servers over one PostgreSQL") else {
        return;
    };
    let url = Urls(&postgres).good();
    let mut first = Setup::default().with("database", url.as_str()).start();
    first.http().put(http::file("f"), "x").expect(201);
    let mut second = Setup::default().with("database", url.as_str()).prepare();
    let refused = second.try_start().expect_err("the other one has it");
    let said = "another server works with the catalog's database: one at a time; end that one, or name another";
    assert!(refused.contains(said), "{refused}");
    // The lock's session is cut: it is taken again before anybody else gets it.
    let holder = "SELECT COALESCE(min(pid), 0) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1734765679";
    for _ in 0..3 {
        let before = postgres.sql(&[holder]);
        assert_ne!(before, "0", "nobody holds the lock");
        postgres.sql(&[&format!("SELECT pg_terminate_backend({before})")]);
        wait::until("the lock is held again, by another session", 10, || {
            let now = postgres.sql(&[holder]);
            (now != "0" && now != before).then_some(())
        });
    }
    first.http().put(http::file("f"), "y").expect(200);
    first.kill9();
    first.restart();
    assert_file(&first.http(), "f", b"y");
}
