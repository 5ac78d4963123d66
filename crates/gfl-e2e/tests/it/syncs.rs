//! A catalog whose disk fails to sync: what was done is known, or said to be unknown until it is. The failures
//! are made by a library that is loaded before the C library; needs a C compiler, as building SQLite does.

use crate::common::{assert_file, assert_nothing};
use gfl_e2e::{Server, Setup, http, skip, wait};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lets as many syncs of a write-ahead log fail as a file says.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    char link[64], path[512], text[16] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 4 || memcmp(path + n - 4, "-wal", 4)) return 0;
    int file = open(getenv("FAILING_SYNCS"), O_RDWR);
    if (file < 0) return 0;
    int left = read(file, text, sizeof text - 1) > 0 ? atoi(text) : 0;
    if (left > 0) {
        snprintf(text, sizeof text, "%-8d", left - 1);
        if (pwrite(file, text, strlen(text), 0) < 0) abort();
    }
    close(file);
    return left > 0;
}

#define SYNC(name) \
    int name(int fd) { \
        int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, #name); \
        if (fails(fd)) { errno = EIO; return -1; } \
        return real(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)
"#;

struct Failing {
    dir: tempfile::TempDir,
}

impl Failing {
    /// The error is the reason why not.
    fn build() -> Result<Failing, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let source = dir.path().join("failing.c");
        std::fs::write(&source, SOURCE).map_err(|e| e.to_string())?;
        let failing = Failing { dir };
        failing.next(0);
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(failing.library())
            .arg(&source)
            .arg("-ldl")
            .output()
            .map_err(|e| format!("cc: {e}"))?;
        if built.status.success() {
            return Ok(failing);
        }
        Err(String::from_utf8_lossy(&built.stderr).into_owned())
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("failing.so")
    }

    fn count(&self) -> PathBuf {
        self.dir.path().join("count")
    }

    /// So many syncs fail from now on.
    fn next(&self, count: u32) {
        std::fs::write(self.count(), format!("{count:<8}")).expect("the count is written");
    }

    fn start(&self) -> Server {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let setup = Setup {
            env: vec![
                ("LD_PRELOAD".into(), text(&self.library())),
                ("FAILING_SYNCS".into(), text(&self.count())),
            ],
            ..Setup::default()
        };
        setup.start()
    }
}

const FOREVER: u32 = 1_000_000;

#[test]
fn a_catalog_that_fails_to_sync() {
    let failing = match Failing::build() {
        Ok(failing) => failing,
        Err(why) => return skip::skip("failing syncs of the catalog", &why),
    };
    let mut server = failing.start();
    let http = server.http();
    for name in ["a", "b", "c"] {
        http.put(http::file(name), name).expect(201);
    }
    // Once: the second try overwrites what the first may have left in the log.
    failing.next(1);
    http.delete(http::file("a")).expect(204);
    assert_nothing(&http, "a");
    // For a while: nobody can tell, and nothing is built upon it.
    failing.next(FOREVER);
    let answer = http.delete(http::file("b")).problem(500, "outcome-unknown");
    assert!(answer.text().contains("look before you try again"));
    http.put(http::file("b"), "new").problem(503, "unavailable");
    assert_file(&http, "c", b"c");
    failing.next(0);
    wait::until("the outcome is known", 20, || {
        let answer = http.put(http::file("b"), "new");
        (answer.status == 200).then_some(())
    });
    assert_file(&http, "b", b"new");
    server.kill9();
    server.restart();
    let http = server.http();
    assert_nothing(&http, "a");
    assert_file(&http, "b", b"new");
    // The process dies in doubt: whichever way it went, the next one shows it whole.
    failing.next(FOREVER);
    http.delete(http::file("c")).problem(500, "outcome-unknown");
    server.kill9();
    failing.next(0);
    server.restart();
    let http = server.http();
    let listed = http.get("/v1/files/?limit=10").expect(200).text();
    let there = http.get(http::file("c")).status;
    assert_eq!(there == 200, listed.contains("\"c\""), "{there}: {listed}");
    http.put(http::file("c"), "again");
    assert_file(&http, "c", b"again");
}
