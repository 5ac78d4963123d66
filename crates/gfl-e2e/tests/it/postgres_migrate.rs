//! `gfl-admin migrate`: a catalog goes into PostgreSQL and back with everything that is in it.

use crate::common::{assert_file, begin, complete, part, received};
use gfl_e2e::postgres::Postgres;
use gfl_e2e::{Server, Setup, bins, data, http, wait};
use std::process::Command;

/// The exit code and all that was said.
fn admin(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(bins::path("gfl-admin"))
        .args(args)
        .arg("-config")
        .arg(server.config_file())
        .output()
        .expect("gfl-admin runs");
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_catalog_goes_into_postgres_and_back() {
    let Some(postgres) = Postgres::of_its_own("a catalog that moves") else {
        return;
    };
    let mut server = Setup::default().start();
    let http = server.http();
    let content = data::bytes(3, 3 << 20);
    // More than one page of rows, names that are no ASCII, history, and an upload that is not finished.
    for n in 0..1_100 {
        http.put(http::file(&format!("many/ä{n}")), format!("{n}"))
            .expect(201);
    }
    http.put(http::file("a"), "one").expect(201);
    http.put(http::file("a"), "two").expect(200);
    http.delete(http::file("a")).expect(204);
    let session = begin(&http, "large", Some(content.len()));
    http.send(&part(&session, &content, 0, 1 << 20)).expect(204);
    wait::until("a checkpoint", 10, || {
        (!received(&http, &session).is_empty()).then_some(())
    });
    let (code, said) = admin(&server, &["migrate", "postgres"]);
    assert!(
        code == Some(1) && said.contains("no PostgreSQL is configured"),
        "{said}"
    );
    server.set("database", postgres.url());
    let (code, said) = admin(&server, &["migrate", "postgres"]);
    assert!(
        code == Some(1) && said.contains("stop the server first"),
        "{said}"
    );
    assert!(server.stop());

    let (code, said) = admin(&server, &["migrate", "postgres"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("All read again") && said.contains("version "),
        "{said}"
    );
    let names = |server: &Server| -> Vec<String> {
        let names = std::fs::read_dir(server.meta())
            .expect("is there")
            .flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("catalog")).collect()
    };
    assert_eq!(names(&server), ["catalog.db.migrated"]);
    server.restart();
    let http = server.http();
    assert_file(&http, "many/ä1099", b"1099");
    assert_eq!(received(&http, &session), [(0, 1 << 20)]);
    http.send(&part(&session, &content, 1 << 20, 2 << 20))
        .expect(204);
    http.put(http::file("over"), "postgres").expect(201);
    assert!(server.stop());

    // What is there is not written over.
    std::fs::copy(
        server.meta().join("catalog.db.migrated"),
        server.meta().join("catalog.db"),
    )
    .expect("copied");
    let (code, said) = admin(&server, &["migrate", "postgres"]);
    assert!(
        code == Some(1) && said.contains("has a catalog already"),
        "{said}"
    );
    let (code, said) = admin(&server, &["migrate", "sqlite"]);
    assert!(
        code == Some(1) && said.contains("has a catalog already"),
        "{said}"
    );
    std::fs::remove_file(server.meta().join("catalog.db")).expect("removed");

    let (code, said) = admin(&server, &["migrate", "sqlite"]);
    assert_eq!(code, Some(0), "{said}");
    server.set("database", "");
    server.restart();
    let http = server.http();
    assert_file(&http, "over", b"postgres");
    http.send(&part(&session, &content, 2 << 20, content.len()))
        .expect(204);
    complete(&http, &session, content.len()).expect(201);
    assert_file(&http, "large", &content);
    let versions = http.get("/v1/versions/a").expect(200).json();
    assert_eq!(
        versions["versions"].as_array().map(Vec::len),
        Some(2),
        "{versions}"
    );
    let (code, said) = admin(&server, &["doctor"]);
    assert!(said.contains("catalog"), "{code:?} {said}");
}

/// A catalog that was moved, and a configuration that does not know it: no start with an empty one.
#[test]
fn a_moved_catalog_is_not_forgotten() {
    let mut server = Setup::default().start();
    server.http().put(http::file("f"), "x").expect(201);
    assert!(server.stop());
    let meta = server.meta();
    std::fs::rename(meta.join("catalog.db"), meta.join("catalog.db.migrated")).expect("renamed");
    let refused = server.try_start().expect_err("its history is elsewhere");
    assert!(
        refused.contains("the catalog was moved into PostgreSQL"),
        "{refused}"
    );
}
