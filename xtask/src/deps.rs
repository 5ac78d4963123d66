//! What may be linked: licences, bans, second copies, and how many crates there are. From the lock file
//! and `cargo metadata`, because a fresh machine has no cargo-deny.

use crate::tools;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// Licences that ask for nothing but a notice.
const LICENCES: [&str; 13] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
];

/// Never linked: one crypto provider, one way to SQL, nothing unmaintained.
const BANNED: [&str; 8] = [
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "rustls-pemfile",
    "sqlx",
    "sqlx-core",
    "async-std",
];

/// Large enough that a second copy is a mistake.
const ONE_COPY: [&str; 3] = ["hyper", "tokio", "rustls"];

/// Most crates a program may link.
const CRATES_MAX: [(&str, usize); 3] = [("gfl-server", 350), ("gfl", 200), ("gfl-admin", 200)];

/// Checks everything and reports all violations at once.
pub(crate) fn check() -> Result<()> {
    let metadata = tools::metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let mut wrong = Vec::new();
    for package in packages {
        let (name, licence) = (text(&package["name"]), text(&package["license"]));
        if !allowed(&licence) {
            wrong.push(format!("{name}: licence {licence:?} is not on the list"));
        }
    }
    // Not the lock file: it names what optional features would bring, although nobody asks for them.
    let tree = [
        "tree",
        "--locked",
        "--workspace",
        "--target=all",
        "--edges=normal,build,dev",
        "--prefix=none",
    ];
    wrong.extend(bans(&tools::output(&mut tools::cargo(&tree))?));
    let graph = Graph::new(&metadata);
    for (program, max) in CRATES_MAX {
        let count = graph.linked_by(program);
        println!("{program}: {count} crates (at most {max})");
        if count > max {
            wrong.push(format!("{program}: {count} crates, at most {max}"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// Violations in the lines of `cargo tree`: a name, a version, and what does not matter here.
fn bans(tree: &str) -> Vec<String> {
    let mut copies: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            continue;
        };
        // Other lines say which features of it somebody wants.
        if version.starts_with('v') {
            copies.entry(name).or_default().insert(version);
        }
    }
    let banned = BANNED.iter().filter(|b| copies.contains_key(**b));
    let mut wrong: Vec<String> = banned.map(|b| format!("{b}: is banned")).collect();
    let twice = ONE_COPY
        .iter()
        .filter(|c| copies.get(**c).is_some_and(|versions| versions.len() > 1));
    wrong.extend(twice.map(|c| format!("{c}: linked in two versions")));
    wrong
}

/// Evaluates an SPDX expression; `/` is the old way to write OR.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let joined = spaced.replace(" WITH ", "\u{1}");
    let mut tokens: Vec<String> = joined
        .split_whitespace()
        .map(|t| t.replace('\u{1}', " WITH "))
        .collect();
    tokens.reverse();
    any(&mut tokens) == Some(true) && tokens.is_empty()
}

/// `None`: malformed.
fn any(tokens: &mut Vec<String>) -> Option<bool> {
    let mut value = every(tokens)?;
    while tokens.last().is_some_and(|t| t == "OR") {
        tokens.pop();
        value |= every(tokens)?;
    }
    Some(value)
}

fn every(tokens: &mut Vec<String>) -> Option<bool> {
    let mut value = one(tokens)?;
    while tokens.last().is_some_and(|t| t == "AND") {
        tokens.pop();
        value &= one(tokens)?;
    }
    Some(value)
}

fn one(tokens: &mut Vec<String>) -> Option<bool> {
    let token = tokens.pop()?;
    if token != "(" {
        return Some(LICENCES.contains(&token.as_str()));
    }
    let value = any(tokens)?;
    (tokens.pop()? == ")").then_some(value)
}

/// Who needs whom, without development dependencies.
struct Graph {
    names: BTreeMap<String, String>,
    needs: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn new(metadata: &serde_json::Value) -> Graph {
        let list = |v: &serde_json::Value| v.as_array().cloned().unwrap_or_default();
        let names = list(&metadata["packages"])
            .into_iter()
            .map(|p| (text(&p["id"]), text(&p["name"])));
        let for_users = |dep: &serde_json::Value| {
            list(&dep["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"] != "dev")
        };
        let needs = list(&metadata["resolve"]["nodes"]);
        let needs = needs.iter().map(|node| {
            let deps = list(&node["deps"]);
            let deps = deps
                .iter()
                .filter(|d| for_users(d))
                .map(|d| text(&d["pkg"]))
                .collect();
            (text(&node["id"]), deps)
        });
        Graph {
            names: names.collect(),
            needs: needs.collect(),
        }
    }

    /// How many crates end up in, or help to build, a program; itself not counted.
    fn linked_by(&self, program: &str) -> usize {
        self.reached_from(program).len().saturating_sub(1)
    }

    /// The ids of those crates, and its own.
    fn reached_from(&self, program: &str) -> BTreeSet<String> {
        let start = self
            .names
            .iter()
            .find(|(_, name)| *name == program)
            .map(|(id, _)| id.clone());
        let mut open: Vec<String> = start.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id.clone()) {
                open.extend(self.needs.get(&id).into_iter().flatten().cloned());
            }
        }
        seen
    }
}

/// The packages that these programs are made of.
pub(crate) fn linked(metadata: &serde_json::Value, programs: &[&str]) -> Vec<serde_json::Value> {
    let graph = Graph::new(metadata);
    let ids = programs
        .iter()
        .flat_map(|program| graph.reached_from(program));
    let ids: BTreeSet<String> = ids.collect();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let is_linked = |package: &serde_json::Value| ids.contains(&text(&package["id"]));
    packages.into_iter().filter(is_linked).collect()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_understood() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR ISC",
            "MIT OR",
            "MIT)",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn banned_crates_and_second_copies_are_found() {
        let tree = "ring v0.17.14\ntokio v1.54.1\ntokio v1.54.1 (*)\ntokio v0.2.0\nhyper v1.12.0\nhyper feature \"http1\"\n\n[dev-dependencies]\n";
        assert_eq!(
            bans(tree),
            ["ring: is banned", "tokio: linked in two versions"]
        );
    }
}
