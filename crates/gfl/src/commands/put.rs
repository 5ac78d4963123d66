//! `gfl put`: which local files, and where each goes. Also the lines v0.1 printed.

use super::{Context, legacy, remote_path};
use crate::exit::{Exit, Failed, UsageError};
use crate::remote::{Naming, Remote, V1};
use crate::transfer::{Options, Sent, Transfer};
use anyhow::{Context as _, Result};
use futures_util::stream::{self, TryStreamExt};
use gfl_api::v1::EntryType;
use gfl_api::{FilePath, glob};
use std::path::{Path, PathBuf};

/// Up to here several files of one command are sent at once.
const SIDE_BY_SIDE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The unit in which v0.1 counted chunks and chose its words.
const CHUNK_BYTES: u64 = 1024 * 1024;

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

/// Uploads.
pub(super) async fn run(
    context: &Context,
    words: &[String],
    is_exact: bool,
    options: Options,
) -> Result<Exit> {
    let (sources, target) = match words.split_last() {
        Some((target, sources)) if is_exact => (sources.to_vec(), target.clone()),
        _ => split(words, |word| Path::new(word).exists()),
    };
    if sources == ["-"] {
        return from_stdin(context, &target, options).await;
    }
    let mut locals = Vec::new();
    for source in &sources {
        locals.extend(expand(source)?);
    }
    let jobs = plan(&locals, &target)?;
    let ui = &context.ui;
    let v1 = match context.remote().await? {
        Remote::V1(v1) => v1,
        Remote::V0(v0) => {
            legacy::put(context, &v0, &jobs, options).await?;
            if jobs.len() > 1 {
                ui.line(format_args!("✓ Uploaded {} files to {target}", jobs.len()));
            }
            return Ok(Exit::Ok);
        }
    };
    let transfer = Transfer::new(&v1, ui, options);
    let sent = send_all(&transfer, &jobs).await;
    ui.progress().end();
    let is_large = |job: &Job| job.is_dir || job.size > SIDE_BY_SIDE_BYTES_MAX;
    let is_worth_words = jobs.len() > 1 || options.no_clobber || jobs.iter().any(is_large);
    finish(context, &transfer, is_worth_words)?;
    sent?;
    let exit = transfer.tally.exit();
    if jobs.len() > 1 && exit == Exit::Ok {
        let count = transfer.tally.held();
        ui.line(format_args!("✓ Uploaded {count} files to {target}"));
    }
    Ok(exit)
}

/// The numbers at the end.
pub(super) fn finish(
    context: &Context,
    transfer: &Transfer<'_>,
    is_worth_words: bool,
) -> Result<()> {
    if context.ui.is_json() {
        context.ui.data(transfer.tally.to_json())?;
    } else if is_worth_words && transfer.tally.has_news() {
        context.ui.note(transfer.tally.to_words());
    }
    Ok(())
}

async fn send_all(transfer: &Transfer<'_>, jobs: &[Job]) -> Result<()> {
    let total = jobs
        .iter()
        .map(|job| if job.is_dir { 0 } else { job.size })
        .sum();
    transfer.ui.progress().begin_bytes("uploading", total);
    let (side_by_side, alone): (Vec<&Job>, Vec<&Job>) = jobs
        .iter()
        .partition(|job| !job.is_dir && job.size <= SIDE_BY_SIDE_BYTES_MAX);
    stream::iter(
        side_by_side
            .into_iter()
            .map(|job| Ok(send_one(transfer, job, jobs.len()))),
    )
    .try_buffer_unordered(transfer.options.parallel)
    .try_collect::<()>()
    .await?;
    for job in alone {
        send_one(transfer, job, jobs.len()).await?;
    }
    Ok(())
}

/// Of several, what fails is told, and the others are sent all the same.
async fn send_one(transfer: &Transfer<'_>, job: &Job, count: usize) -> Result<()> {
    let sent = match job.is_dir {
        true => send_folder(transfer, job).await,
        false => send_file(transfer, job).await,
    };
    match sent {
        Err(error) if count > 1 => {
            transfer.tally.set_out();
            transfer.set_aside(error)
        }
        other => other,
    }
}

async fn send_folder(transfer: &Transfer<'_>, job: &Job) -> Result<()> {
    let Job {
        local,
        remote,
        prefix,
        ..
    } = job;
    transfer
        .ui
        .line(format_args!("{prefix}Uploading {}...", local.display()));
    let failures = transfer.tally.failures();
    let sent = transfer.put_folder(local, remote).await;
    sent.map_err(|error| failed(job, error))?;
    if transfer.tally.failures() == failures {
        transfer.ui.line(format_args!(
            "{prefix}✓ Upload complete: {} → {remote}",
            local.display()
        ));
    }
    Ok(())
}

/// The local name as the user wrote it, the remote one as the server's.
fn failed(job: &Job, error: anyhow::Error) -> anyhow::Error {
    let what = format!("upload of {} failed", job.local.display());
    error.placing(&job.remote).context(what)
}

async fn send_file(transfer: &Transfer<'_>, job: &Job) -> Result<()> {
    let Job {
        local,
        remote,
        size,
        prefix,
        ..
    } = job;
    let name = local.file_name().unwrap_or(local.as_os_str()).display();
    if *size < CHUNK_BYTES {
        transfer
            .ui
            .line(format_args!("{prefix}Uploading {name} ({size} bytes)..."));
    } else {
        let chunks = size.div_ceil(gfl_api::plan::part_bytes_for(*size));
        transfer.ui.line(format_args!(
            "{prefix}Uploading {name} ({size} bytes) in {chunks} chunks..."
        ));
    }
    transfer.ui.progress().say(name.to_string());
    let there = transfer.there(remote).await;
    let there = there.map_err(|error| failed(job, error.into()))?;
    let is_taken = there
        .as_ref()
        .is_some_and(|there| there.kind == EntryType::File);
    let sent = if is_taken && transfer.options.no_clobber {
        transfer.tally.existing(1);
        transfer.ui.progress().advance(*size);
        Ok(Sent::Existing)
    } else {
        transfer.upload(local, remote, there.as_ref()).await
    };
    let (size, how) = match sent.map_err(|error| failed(job, error))? {
        Sent::Done(done) => {
            let checksum = done.b3.get(..8).filter(|_| done.size < CHUNK_BYTES);
            let how = checksum.map(|checksum| format!("checksum: {checksum}"));
            (done.size, how.unwrap_or_else(|| "verified".to_owned()))
        }
        Sent::Unchanged(size) => (size, "unchanged".to_owned()),
        Sent::Updated(size) => (size, "updated time and mode".to_owned()),
        Sent::Existing => {
            transfer.ui.line(format_args!(
                "{prefix}Skipped: {name} → {remote} (exists on the server)"
            ));
            return Ok(());
        }
    };
    transfer.ui.line(format_args!(
        "{prefix}✓ Upload complete: {name} → {remote} ({size} bytes, {how})"
    ));
    Ok(())
}

async fn from_stdin(context: &Context, target: &str, options: Options) -> Result<Exit> {
    let (remote, is_folder) = remote_path(target)?;
    if is_folder {
        return Err(UsageError(
            "stdin needs a file name on the server: gfl put - FOLDER/NAME".into(),
        )
        .into());
    }
    let server = context.remote().await?;
    let v1: &V1 = server.v1("take a stream from stdin")?;
    let transfer = Transfer::new(v1, &context.ui, options);
    context.ui.line(format_args!("Uploading stdin..."));
    transfer.ui.progress().begin("stdin");
    let done = transfer.upload_stdin(&remote, &context.leftovers).await;
    transfer.ui.progress().end();
    let done = done.map_err(|error| error.placing(&remote).context("upload of stdin failed"))?;
    context.ui.line(format_args!(
        "✓ Upload complete: stdin → {remote} ({} bytes, verified)",
        done.size
    ));
    finish(context, &transfer, done.size > SIDE_BY_SIDE_BYTES_MAX)?;
    Ok(Exit::Ok)
}

/// Which words are local and which is the target: v0.1's rule, but several words that are all files are several
/// files, as the shell's own wildcards give them.
fn split(words: &[String], exists: impl Fn(&str) -> bool) -> (Vec<String>, String) {
    if let [first, middle @ .., last] = words
        && !middle.is_empty()
        && middle.iter().all(|word| exists(word))
    {
        let sources = std::iter::once(first).chain(middle).cloned().collect();
        return (sources, last.trim().to_owned());
    }
    let (first, rest) = words
        .split_first()
        .map_or((String::new(), &[][..]), |(first, rest)| {
            (first.clone(), rest)
        });
    (vec![first], rest.join(" ").trim().to_owned())
}

/// The files one word stands for: itself if there is such a file, else those that match it.
fn expand(source: &str) -> Result<Vec<PathBuf>> {
    let path = PathBuf::from(source);
    if path.symlink_metadata().is_ok() {
        return Ok(vec![path]);
    }
    if !glob::has_wildcard(source) {
        return Err(Failed::new(
            Exit::NotFound,
            format!("{source}: no such local file or folder"),
        )
        .into());
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
    found.retain(|path| path.is_file());
    if found.is_empty() {
        return Err(Failed::new(
            Exit::NotFound,
            format!("no local files match pattern: {source}"),
        )
        .into());
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
fn plan(locals: &[PathBuf], target: &str) -> Result<Vec<Job>> {
    let (remote, is_folder) = remote_path(target)?;
    let count = locals.len();
    let mut jobs = Vec::with_capacity(count);
    for (at, local) in locals.iter().enumerate() {
        let meta = local
            .metadata()
            .with_context(|| format!("cannot read {}", local.display()))?;
        if !meta.is_dir() && !meta.is_file() {
            return Err(UsageError(format!(
                "{}: not a regular file (a pipe, socket or device); `gfl put - NAME` sends what comes from stdin",
                local.display()
            ))
            .into());
        }
        let is_content = meta.is_dir() && local.as_os_str().as_encoded_bytes().ends_with(b"/");
        let remote = if (is_folder || count > 1) && !is_content {
            let name = local_name(local)?;
            remote
                .join(&name)
                .with_context(|| format!("cannot send {}", local.display()))?
        } else {
            remote.clone()
        };
        if remote.is_root() && !meta.is_dir() {
            return Err(UsageError("the target needs a name".into()).into());
        }
        let prefix = if count > 1 {
            format!("[{}/{count}] ", at + 1)
        } else {
            String::new()
        };
        jobs.push(Job {
            local: local.clone(),
            remote,
            is_dir: meta.is_dir(),
            size: meta.len(),
            prefix,
        });
    }
    Ok(jobs)
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

    #[test]
    fn words_of_v01_and_several_files() {
        let check = |line: &str, sources: &str, target: &str| {
            let words: Vec<String> = line.split('|').map(str::to_owned).collect();
            let (got, to) = split(&words, |word| word.starts_with("f"));
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
        check("f1|f2|my|up", "f1", "f2 my up");
        check("f1| spaced ", "f1", "spaced");
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
            let jobs = plan(&locals, target).unwrap();
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
        assert_eq!(
            plan(&[dir.path().join("a"), dir.path().join("b")], "x").unwrap()[1].prefix,
            "[2/2] "
        );
        assert!(plan(&[dir.path().join("missing")], "x").is_err());
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
            ["[x].txt", "a.txt", "b.txt"],
            "folders are left out"
        );
        assert_eq!(found("*/e.*"), ["d.txt/e.txt"]);
        assert_eq!(found("[x].txt"), ["[x].txt"], "a file of that very name");
        assert!(found("*.rs").is_empty() && found("[a").is_empty() && found("nothing").is_empty());
    }
}
