//! Rules about the source that no compiler checks: who may import what, how long a file may be, what
//! must be named in the map.

use gfl_e2e::bins::workspace;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;

/// All Rust files below a folder of the repository, as (path relative to the root, text).
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = workspace();
    let mut found = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("sources are readable");
                found.push((relative(&root, &path), text));
            }
        }
    }
    found.sort();
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .expect("was found below it")
        .to_string_lossy()
        .into_owned()
}

/// Lines of code: without comments, and without what is only a string of this test.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = |(_, line): &(usize, &str)| !line.trim_start().starts_with("//");
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .filter(code)
}

/// Places where code below `folder` contains one of `words`, except in files named in `but_in`.
fn uses(folder: &str, words: &[&str], but_in: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in sources(folder) {
        if but_in.iter().any(|allowed| path.ends_with(allowed)) {
            continue;
        }
        for (number, line) in code_lines(&text) {
            if let Some(word) = words.iter().find(|w| line.contains(**w)) {
                wrong.push(format!("{path}:{number}: {word}"));
            }
        }
    }
    wrong
}

#[test]
fn the_formats_do_no_io() {
    // Addresses are values; sockets and name look-ups are not.
    let sockets = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];
    let words = [
        &sockets[..],
        &["std::fs", "tokio", "std::process", "std::env"],
    ]
    .concat();
    let wrong = uses("crates/gfl-api/src", &words, &[]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_client_links_no_database() {
    let wrong = uses(
        "crates/gfl/src",
        &["rusqlite", "tokio_postgres", "gfl_core"],
        &[],
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_database_is_named_in_one_file() {
    let core = "crates/gfl-core/src";
    let mut wrong = uses(
        core,
        &["rusqlite"],
        &["catalog/sqlite.rs", "catalog/sqlite/mod.rs"],
    );
    let postgres = ["catalog/postgres.rs", "catalog/postgres/mod.rs"];
    wrong.extend(uses(core, &["tokio_postgres", "deadpool"], &postgres));
    for program in ["gfl-server", "gfl-admin", "gfl"] {
        let folder = format!("crates/{program}/src");
        wrong.extend(uses(
            &folder,
            &["rusqlite", "tokio_postgres", "deadpool"],
            &[],
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_knows_no_protocol() {
    let wrong = uses(
        "crates/gfl-core/src",
        &["hyper", "axum", "println!(", "eprintln!("],
        &[],
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<String> = ["crates", "xtask"]
        .iter()
        .flat_map(|folder| sources(folder))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "at most {LINES_MAX}: {}", long.join(", "));
}

#[test]
fn nothing_is_left_unwritten() {
    // Put together here, so that this file does not find itself.
    let words = ["todo", "unimplemented"].map(|w| format!("{w}!("));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let wrong: Vec<String> = ["crates", "xtask"]
        .iter()
        .flat_map(|folder| uses(folder, &words, &[]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_names_every_folder() {
    let root = workspace();
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    let mut missing = Vec::new();
    for krate in folders(&root.join("crates")) {
        for folder in folders(&krate.join("src")) {
            let name = folder.file_name().map(|n| n.to_string_lossy().into_owned());
            if name.is_some_and(|n| !map.contains(&n)) {
                missing.push(relative(&root, &folder));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not name {}",
        missing.join(", ")
    );
}

/// The dependencies that a manifest names, under any of its headings.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).expect("manifests are readable");
    let mut inside = false;
    let mut names = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(['.', ' ', '=']).filter(|_| inside) {
            names.extend((!name.is_empty() && !name.starts_with('#')).then(|| name.to_owned()));
        }
    }
    names
}

#[test]
fn every_dependency_is_used() {
    let root = workspace();
    let mut wrong = Vec::new();
    let mut all = folders(&root.join("crates"));
    all.push(root.join("xtask"));
    for krate in all {
        let folder = relative(&root, &krate);
        for name in dependencies(&krate.join("Cargo.toml")) {
            // Its library has another name than the package.
            let word = if name == "md-5" {
                "md5".to_owned()
            } else {
                name.replace('-', "_")
            };
            // As a path, or as a crate that is imported whole.
            let words = [
                format!("{word}::"),
                format!("{word}!"),
                format!("use {word}"),
            ];
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if uses(&folder, &words, &[]).is_empty() {
                wrong.push(format!("{folder}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "used by nothing: {}", wrong.join(", "));
}

#[test]
fn every_dependency_has_its_reason() {
    let root = workspace();
    let named = dependencies(&root.join("Cargo.toml"));
    assert!(named.len() > 10, "the workspace's dependencies: {named:?}");
    let text = fs::read_to_string(root.join("docs/dependencies.md")).unwrap_or_default();
    let table: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.split([',', ' ']))
        .collect();
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !name.starts_with("gfl") && !table.contains(&name.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "no line in docs/dependencies.md: {missing:?}"
    );
    let gone: Vec<_> = table
        .iter()
        .filter(|name| !name.is_empty() && !["crate", "---"].contains(name))
        .filter(|name| !name.starts_with('(') && !name.ends_with(')'))
        .filter(|name| !named.iter().any(|n| n == *name))
        .collect();
    assert!(
        gone.is_empty(),
        "docs/dependencies.md explains what is not there: {gone:?}"
    );
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.is_dir()).collect()
}
