//! What the words of `gfl put` mean: which are local, which files they stand for, and where each goes.
//!
//! Asks the disk and no server.

use super::new_path;
use crate::exit::{Exit, Failed, UsageError};
use anyhow::{Context as _, Result};
use gfl_api::{FilePath, glob};
use std::path::{Path, PathBuf};

/// One thing to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) local: PathBuf,
    pub(super) remote: FilePath,
    pub(super) is_dir: bool,
    pub(super) size: u64,
    /// `[2/5] `, or nothing.
    pub(super) prefix: String,
}

/// What is to be sent, and what of it cannot be.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) jobs: Vec<Job>,
    /// Of several: why the others are no jobs.
    pub(super) failures: Vec<anyhow::Error>,
}

impl Gathered {
    /// How many were named.
    pub(super) fn count(&self) -> usize {
        self.jobs.len() + self.failures.len()
    }
}

/// Says what to write instead.
const JOINED: &str = "several words are several files if all but the last are here; \
    a remote name with spaces needs quotes, and behind `--` every word is a name of its own";

/// Which words are local and which is the target: v0.1's rule, but several words that are all here are several files,
/// as the shell's own wildcards give them. Where they may be either, nothing is guessed.
pub(super) fn split(
    words: &[String],
    is_here: impl Fn(&str) -> bool,
) -> Result<(Vec<String>, String)> {
    let Some((first, rest)) = words.split_first() else {
        return Ok((Vec::new(), String::new()));
    };
    if let [middle @ .., last] = rest
        && !middle.is_empty()
    {
        let missing = middle.iter().find(|word| !is_here(word));
        let Some(missing) = missing else {
            let sources = words[..words.len() - 1].to_vec();
            return Ok((sources, last.trim().to_owned()));
        };
        if last.ends_with('/') || middle.iter().any(|word| is_here(word)) {
            return Err(not_here(missing).with_hint(JOINED).into());
        }
    }
    Ok((vec![first.clone()], rest.join(" ").trim().to_owned()))
}

/// Whether a word names something on this machine, be it a symlink to nothing.
pub(super) fn is_here(word: &str) -> bool {
    Path::new(word).symlink_metadata().is_ok() || (glob::has_wildcard(word) && expand(word).is_ok())
}

fn not_here(source: &str) -> Failed {
    Failed::new(
        Exit::NotFound,
        format!("{source}: no such local file or folder"),
    )
    .at(source)
}

/// The jobs that words are. Of several, what cannot be one keeps no other back.
pub(super) fn gather(sources: &[String], target: &str) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let mut locals = Vec::new();
    for source in sources {
        match expand(source) {
            Ok(found) => locals.extend(found),
            Err(error) if sources.len() > 1 => gathered.failures.push(error),
            Err(error) => return Err(error),
        }
    }
    plan(
        &locals,
        sources.len().max(locals.len()) > 1,
        target,
        gathered,
    )
}

/// The files one word stands for: itself if there is such a file, else those that match it.
fn expand(source: &str) -> Result<Vec<PathBuf>> {
    let path = PathBuf::from(source);
    if path.symlink_metadata().is_ok() {
        return Ok(vec![path]);
    }
    if !glob::has_wildcard(source) {
        return Err(not_here(source).into());
    }
    let mut found = vec![PathBuf::new()];
    if source.starts_with('/') {
        found = vec![PathBuf::from("/")];
    }
    for part in source.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for dir in &found {
            matches(dir, part, &mut next).with_context(|| format!("pattern {source}"))?;
        }
        found = next;
    }
    if found.is_empty() {
        let message = format!("no local files match pattern: {source}");
        return Err(Failed::new(Exit::NotFound, message).at(source).into());
    }
    found.sort();
    Ok(found)
}

/// The names in `dir` that match one segment of a pattern.
fn matches(dir: &Path, part: &str, into: &mut Vec<PathBuf>) -> Result<()> {
    if !glob::has_wildcard(part) {
        let path = dir.join(part);
        if path.exists() {
            into.push(path);
        }
        return Ok(());
    }
    // A malformed pattern is told even if there is nothing to match.
    glob::go_match(part, "")?;
    let list = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let Ok(entries) = list.read_dir() else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| glob::go_match(part, name) == Ok(true))
        {
            into.push(dir.join(entry.file_name()));
        }
    }
    Ok(())
}

/// Where each goes. Several always go into a folder; one goes there if the target says so with a slash.
fn plan(
    locals: &[PathBuf],
    is_of_several: bool,
    target: &str,
    mut gathered: Gathered,
) -> Result<Gathered> {
    let (remote, is_folder) = new_path(target)?;
    let count = locals.len();
    for (at, local) in locals.iter().enumerate() {
        let prefix = match count {
            1 => String::new(),
            _ => format!("[{}/{count}] ", at + 1),
        };
        match job(local, &remote, is_folder || is_of_several, prefix) {
            Ok(job) => gathered.jobs.push(job),
            Err(error) if is_of_several => gathered.failures.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(gathered)
}

fn job(local: &Path, remote: &FilePath, is_folder: bool, prefix: String) -> Result<Job> {
    let shown = local.display();
    let meta = local
        .metadata()
        .with_context(|| format!("cannot read {shown}"))?;
    if !meta.is_dir() && !meta.is_file() {
        let message = format!("{shown}: not a regular file (a pipe, socket or device)");
        return Err(Failed::new(Exit::Failure, message)
            .at(shown.to_string())
            .with_hint("`gfl put - NAME` sends what comes from stdin")
            .into());
    }
    let is_content = meta.is_dir() && local.as_os_str().as_encoded_bytes().ends_with(b"/");
    let remote = if is_folder && !is_content {
        let joined = remote.join(&local_name(local)?);
        joined.with_context(|| format!("cannot send {shown}"))?
    } else {
        remote.clone()
    };
    if remote.is_root() && !meta.is_dir() {
        return Err(UsageError("the target needs a name".into()).into());
    }
    Ok(Job {
        local: local.to_owned(),
        remote,
        is_dir: meta.is_dir(),
        size: meta.len(),
        prefix,
    })
}

/// The last name of a path, also of `.` and `..`.
fn local_name(local: &Path) -> Result<String> {
    let resolved = match local.file_name() {
        Some(_) => local.to_owned(),
        None => local
            .canonicalize()
            .with_context(|| format!("cannot read {}", local.display()))?,
    };
    let name = resolved.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned)
        .with_context(|| format!("{}: its name is not utf-8; rename it", local.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn planned(locals: &[PathBuf], target: &str) -> Result<Vec<Job>> {
        plan(locals, locals.len() > 1, target, Gathered::default()).map(|gathered| gathered.jobs)
    }

    #[test]
    fn words_of_v01_and_several_files() {
        let check = |line: &str, sources: &str, target: &str| {
            let words: Vec<String> = line.split('|').map(str::to_owned).collect();
            let (got, to) = split(&words, |word| word.starts_with("f")).unwrap();
            assert_eq!(
                (got.join("|").as_str(), to.as_str()),
                (sources, target),
                "{line}"
            );
        };
        check("a.txt|b.txt", "a.txt", "b.txt");
        check("f1|my|remote|name", "f1", "my remote name");
        check("f1|f2|up/", "f1|f2", "up/");
        check("x|f2|f3|up", "x|f2|f3", "up");
        check("f1|f2|my up", "f1|f2", "my up");
        check("f1|my up/", "f1", "my up/");
        check("f1| spaced ", "f1", "spaced");
    }

    #[test]
    fn nothing_is_guessed_where_words_may_be_files_or_one_name() {
        for (line, missing) in [
            ("f1|f2|my|up", "my"),
            ("f1|nope|f2|up/", "nope"),
            ("f1|my|up/", "my"),
        ] {
            let words: Vec<String> = line.split('|').map(str::to_owned).collect();
            let error = split(&words, |word| word.starts_with("f")).unwrap_err();
            assert_eq!(Exit::of(&error), Exit::NotFound);
            assert!(
                error.to_string().starts_with(&format!("{missing}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn targets() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("b"), "22").unwrap();
        let check = |locals: &[&str], target: &str, want: &[&str]| {
            let locals: Vec<PathBuf> = locals
                .iter()
                .map(|l| PathBuf::from(format!("{}/{l}", dir.path().display())))
                .collect();
            let jobs = planned(&locals, target).unwrap();
            assert_eq!(
                jobs.iter().map(|j| j.remote.as_str()).collect::<Vec<_>>(),
                want,
                "{locals:?} {target}"
            );
        };
        check(&["a"], "up/", &["up/a"]);
        check(&["a"], "up", &["up"]);
        check(&["a"], "/", &["a"]);
        check(&["a", "b"], "up", &["up/a", "up/b"]);
        check(&["d"], "up", &["up"]);
        check(&["d"], "up/", &["up/d"]);
        check(&["d/"], "up/", &["up"]);
        check(&["d/"], "/", &[""]);
        let (a, missing) = (dir.path().join("a"), dir.path().join("missing"));
        let both = [a.clone(), dir.path().join("b")];
        assert_eq!(planned(&both, "x").unwrap()[1].prefix, "[2/2] ");
        assert!(planned(std::slice::from_ref(&missing), "x").is_err());
        let some = plan(&[a, missing], true, "x", Gathered::default()).unwrap();
        assert_eq!((some.jobs.len(), some.failures.len()), (1, 1));
        assert_eq!(some.jobs[0].remote.as_str(), "x/a", "as if all were there");
    }

    #[test]
    fn patterns() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.txt", "c.md", "[x].txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("d.txt")).unwrap();
        fs::write(dir.path().join("d.txt/e.txt"), "").unwrap();
        let found = |pattern: &str| -> Vec<String> {
            let found = expand(&format!("{}/{pattern}", dir.path().display())).unwrap_or_default();
            found
                .iter()
                .map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(found("[a-b].txt"), ["a.txt", "b.txt"]);
        assert_eq!(
            found("*.txt"),
            ["[x].txt", "a.txt", "b.txt", "d.txt"],
            "folders too"
        );
        assert_eq!(found("*/e.*"), ["d.txt/e.txt"]);
        assert_eq!(found("[x].txt"), ["[x].txt"], "a file of that very name");
        assert!(found("*.rs").is_empty() && found("[a").is_empty() && found("nothing").is_empty());
    }
}
