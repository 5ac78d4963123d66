//! `gfl get`: what the remote words name, and where each file goes. Also the lines v0.1 printed.

use super::put::finish;
use super::{Context, legacy, remote_path};
use crate::exit::{Exit, Failed, UsageError};
use crate::local::dest::Place;
use crate::remote::{Error, Kind, Listed, Listing, Naming, OnServer, Remote, V1};
use crate::transfer::{Downloaded, Options, Stream, Transfer};
use crate::ui::words;
use anyhow::{Context as _, Result};
use gfl_api::v1::EntryType;
use gfl_api::{FilePath, glob};
use std::path::{Path, PathBuf};

/// From here on the numbers at the end are worth a line.
const WORDS_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// The unit in which v0.1 chose its words.
const CHUNK_BYTES: u64 = 1024 * 1024;
/// The local name that means stdout.
const STDOUT: &str = "-";

/// Where downloads go.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    /// A file, a folder, `-`, or nothing.
    pub(super) local: Option<&'a str>,
    /// It was put together from several words.
    pub(super) is_joined: bool,
}

/// Who chose the name of a local file. What a server calls its files must not lead anywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    User,
    Server,
}

/// Downloads.
pub(super) async fn run(
    context: &Context,
    sources: &[String],
    target: Target<'_>,
    options: Options,
) -> Result<Exit> {
    for source in sources {
        remote_path(source)?;
    }
    refuse_if_several(sources, target)?;
    let remote = context.remote().await?;
    let v1 = match &remote {
        Remote::V1(v1) => v1,
        Remote::V0(v0) => return legacy::get(context, v0, sources, target.local, options).await,
    };
    let transfer = Transfer::new(v1, &context.ui, options);
    let is_piped = target.local == Some(STDOUT);
    let got = match sources {
        [one] => source(&transfer, one, target.local).await,
        several => all(&transfer, several, target.local).await,
    };
    context.ui.progress().end();
    let is_worth_words = *got.as_ref().unwrap_or(&true);
    if let (Err(error), true) = (&got, context.ui.is_json()) {
        transfer.tally.fail(Exit::of(error));
    }
    if !is_piped {
        finish(context, &transfer, is_worth_words)?;
    } else if context.ui.is_json() {
        // Numbers must not get into a file that goes to stdout.
        context.ui.data_aside(transfer.tally.to_json());
    }
    got?;
    if target.is_joined {
        hint_at_several(context, v1, &sources[0], target.local.unwrap_or_default()).await;
    }
    Ok(transfer.tally.exit())
}

/// v0.1 made one local name out of several words. What cannot be such a name was meant as something else.
fn refuse_if_several(sources: &[String], target: Target<'_>) -> Result<()> {
    let (Some(local), true) = (target.local, target.is_joined) else {
        return Ok(());
    };
    let is_pattern = sources.iter().any(|source| glob::has_wildcard(source));
    let is_folder = local.ends_with('/') && !is_pattern;
    if !is_folder && !local.ends_with(" -") && !glob::has_wildcard(local) {
        return Ok(());
    }
    let message = format!("{local:?}: several words are one local name, and this cannot be one");
    Err(Failed::new(Exit::Usage, message)
        .with_hint(
            "for several files write `gfl get -- REMOTE... FOLDER`; a local name with spaces needs quotes",
        )
        .into())
}

/// v0.1 made one local name out of several words. Where they are names on the server, that was hardly meant.
async fn hint_at_several(context: &Context, v1: &V1, source: &str, local: &str) {
    let mut words: Vec<&str> = local.split(' ').collect();
    words.pop();
    for word in &words {
        let Ok((path, _)) = remote_path(word) else {
            return;
        };
        // Whatever fails here is no failure of the download.
        if !matches!(v1.entry_if_any(&path).await, Ok(Some(_))) {
            return;
        }
    }
    context.ui.hint(format_args!(
        "{local:?} was taken as one local name, as in v0.1; \
         for several files write `gfl get -- {source} {} FOLDER`",
        words.join(" ")
    ));
}

/// Several sources go into one folder. What fails is told, and the others are fetched all the same.
async fn all(transfer: &Transfer<'_>, sources: &[String], local: Option<&str>) -> Result<bool> {
    let local = local.unwrap_or(".");
    let folder = match local {
        STDOUT => STDOUT.to_owned(),
        local => format!("{}/", local.trim_end_matches('/')),
    };
    for shown in sources {
        if let Err(error) = source(transfer, shown, Some(&folder)).await {
            transfer.tally.set_out();
            transfer.set_aside(error)?;
        }
    }
    if local != STDOUT && transfer.tally.exit() == Exit::Ok {
        let files = words::count(transfer.tally.held(), "file", "files");
        transfer
            .ui
            .line(format_args!("✓ Downloaded {files} to {local}"));
    }
    Ok(true)
}

/// What one word names. Whether it is worth a summary.
async fn source(transfer: &Transfer<'_>, shown: &str, local: Option<&str>) -> Result<bool> {
    let (path, _) = remote_path(shown)?;
    // A name is first of all a name, even if it looks like a pattern.
    match transfer
        .v1
        .entry_if_any(&path)
        .await
        .on_server("get", &path)?
    {
        Some(entry) if local == Some(STDOUT) => to_stdout(transfer, &Listed { path, entry })
            .await
            .map(|()| false),
        Some(entry) => one(transfer, shown, Listed { path, entry }, local).await,
        None if local != Some(STDOUT) && glob::has_wildcard(shown) => {
            matching(transfer, shown, &path, local).await.map(|()| true)
        }
        None => {
            let message = format!("cannot get {path}: not found on the server");
            Err(Error::new(Kind::NotFound, message).at(&path).into())
        }
    }
}

async fn to_stdout(transfer: &Transfer<'_>, listed: &Listed) -> Result<()> {
    let path = &listed.path;
    if listed.is_dir() {
        let message = format!("{path} is a folder; only a file can go to stdout");
        return Err(UsageError(message).into());
    }
    // A progress line and the file would get into each other.
    if !transfer.ui.is_out_terminal() {
        let progress = transfer.ui.progress();
        progress.begin_bytes(path.as_str(), listed.entry.size);
    }
    let done = transfer
        .download_to_stream(path, &listed.entry, &Stream::Stdout)
        .await
        .map_err(|error| failed(path, error))?;
    if !done.is_verified {
        transfer.ui.note(format_args!(
            "{path}: the server has not hashed it yet, nothing could be compared"
        ));
    }
    Ok(())
}

fn failed(path: &FilePath, error: anyhow::Error) -> anyhow::Error {
    error
        .naming(path)
        .context(format!("download of {path} failed"))
}

/// One file or folder that is there. Whether it is worth a summary.
async fn one(
    transfer: &Transfer<'_>,
    shown: &str,
    listed: Listed,
    local: Option<&str>,
) -> Result<bool> {
    if listed.is_dir() {
        let target = folder_target(shown, &listed.path, local)?;
        transfer.ui.progress().begin_bytes("downloading", 0);
        folder(transfer, &listed.path, &target).await?;
        return Ok(true);
    }
    let name = listed.path.name().unwrap_or_default();
    let target = file_target(name, local, |path| path.is_dir());
    transfer.ui.progress().begin_bytes(name, listed.entry.size);
    file(transfer, &listed, &target, NamedBy::User, "").await?;
    Ok(listed.entry.size >= WORDS_BYTES_MIN || transfer.options.no_clobber)
}

async fn folder(transfer: &Transfer<'_>, path: &FilePath, target: &Path) -> Result<()> {
    transfer.ui.line(format_args!("Downloading {path}..."));
    let failures = transfer.tally.failures();
    transfer
        .get_folder(path, target)
        .await
        .map_err(|error| failed(path, error))?;
    if transfer.tally.failures() == failures {
        transfer.ui.line(format_args!(
            "✓ Download complete: {path} → {}",
            target.display()
        ));
    }
    Ok(())
}

async fn file(
    transfer: &Transfer<'_>,
    listed: &Listed,
    target: &Path,
    named_by: NamedBy,
    prefix: &str,
) -> Result<()> {
    let (ui, path, shown) = (transfer.ui, &listed.path, target.display());
    ui.line(format_args!("{prefix}Downloading {path}..."));
    if transfer.options.no_clobber && target.symlink_metadata().is_ok() {
        transfer.tally.existing(1);
        ui.progress().advance(listed.entry.size);
        ui.line(format_args!("{prefix}Skipped: {path} → {shown} (exists)"));
        return Ok(());
    }
    let done = fetch(transfer, listed, target, named_by).await;
    let done = done.map_err(|error| failed(path, error))?;
    if !done.is_verified {
        transfer.tell_unverified(path);
    }
    let how = match done.b3.to_string().get(..8) {
        _ if done.is_updated => "updated time and mode".to_owned(),
        _ if done.is_unchanged => "unchanged".to_owned(),
        _ if !done.is_verified => "not verified".to_owned(),
        Some(checksum) if done.size < CHUNK_BYTES => format!("checksum: {checksum}"),
        _ => "verified".to_owned(),
    };
    ui.line(format_args!(
        "{prefix}✓ Download complete: {path} → {shown} ({} bytes, {how})",
        done.size
    ));
    Ok(())
}

async fn fetch(
    transfer: &Transfer<'_>,
    listed: &Listed,
    target: &Path,
    named_by: NamedBy,
) -> Result<Downloaded> {
    let Listed { path, entry } = listed;
    if named_by == NamedBy::User && Stream::is_at(target) {
        let to = Stream::Named(target.to_owned());
        return transfer.download_to_stream(path, entry, &to).await;
    }
    let place = Place::named(&followed(target, named_by))
        .with_context(|| format!("cannot write {}", target.display()))?;
    transfer.download(path, entry, &place, true).await
}

/// A symlink that the user named stays one: what it leads to is replaced.
pub(super) fn followed(target: &Path, named_by: NamedBy) -> PathBuf {
    match target.symlink_metadata() {
        Ok(meta) if meta.is_symlink() && named_by == NamedBy::User => {
            target.canonicalize().unwrap_or_else(|_| target.to_owned())
        }
        _ => target.to_owned(),
    }
}

/// Everything in the parent folder whose name matches.
async fn matching(
    transfer: &Transfer<'_>,
    shown: &str,
    pattern: &FilePath,
    local: Option<&str>,
) -> Result<()> {
    let (Some(parent), Some(name)) = (pattern.parent(), pattern.name()) else {
        return Ok(());
    };
    glob::go_match(name, "").with_context(|| format!("pattern {shown}"))?;
    let found = find(transfer.v1, &parent, name).await;
    if matches!(&found, Err(error) if error.kind == Kind::NotFound) {
        refuse_folder_pattern(&parent)?;
    }
    let found = found.on_server("list", &parent)?;
    if found.is_empty() {
        let message = format!("no files match pattern: {shown} on the server");
        return Err(Error::new(Kind::NotFound, message).into());
    }
    let count = found.len();
    let files = words::count(count as u64, "file", "files");
    transfer
        .ui
        .line(format_args!("Found {files} matching {shown}"));
    let dir = PathBuf::from(local.unwrap_or("."));
    transfer.ui.progress().begin_bytes(
        "downloading",
        found.iter().map(|listed| listed.entry.size).sum(),
    );
    let failures = transfer.tally.failures();
    for (at, listed) in found.iter().enumerate() {
        let target = dir.join(listed.path.name().unwrap_or_default());
        let prefix = format!("[{}/{count}] ", at + 1);
        let got = match listed.entry.kind {
            EntryType::Dir => folder(transfer, &listed.path, &target).await,
            _ => file(transfer, listed, &target, NamedBy::Server, &prefix).await,
        };
        if let Err(error) = got {
            transfer.tally.set_out();
            transfer.set_aside(error)?;
        }
    }
    if transfer.tally.failures() == failures {
        transfer
            .ui
            .line(format_args!("✓ Downloaded {files} to {}", dir.display()));
    }
    Ok(())
}

/// A folder that is not there and looks like a pattern: only the last part of a name can be one.
pub(super) fn refuse_folder_pattern(folder: &FilePath) -> Result<()> {
    if !glob::has_wildcard(folder.as_str()) {
        return Ok(());
    }
    let message = format!("{folder}: no such folder on the server, and folders take no wildcards");
    Err(Failed::new(Exit::Usage, message)
        .at(folder.as_str())
        .with_hint(
            "only the part behind the last / is a pattern, as in 'photos/2024/*.jpg'; \
             `gfl get FOLDER` takes a folder with all it holds",
        )
        .into())
}

async fn find(v1: &V1, parent: &FilePath, name: &str) -> crate::remote::Result<Vec<Listed>> {
    let mut listing = Listing::new(v1, parent.clone(), false);
    let mut found = Vec::new();
    while let Some(listed) = listing.next().await? {
        if listed
            .path
            .name()
            .is_some_and(|one| glob::go_match(name, one) == Ok(true))
        {
            found.push(listed);
        }
    }
    Ok(found)
}

/// Where a file goes: the name given, or its own name in a folder that is given or there.
fn file_target(name: &str, local: Option<&str>, is_dir: impl Fn(&Path) -> bool) -> PathBuf {
    match local {
        None => PathBuf::from(name),
        Some(local) if local.ends_with('/') || is_dir(Path::new(local)) => {
            Path::new(local).join(name)
        }
        Some(local) => PathBuf::from(local),
    }
}

/// Where a folder goes: the name given, or its own name below it if that ends in a slash. The same wherever it is run
/// again, so that a second run continues the first.
fn folder_target(shown: &str, path: &FilePath, local: Option<&str>) -> Result<PathBuf> {
    match (local, path.name()) {
        (None, Some(name)) => Ok(PathBuf::from(name)),
        (None, None) => Err(UsageError(
            "name a local folder for the whole server: gfl get / FOLDER".into(),
        )
        .into()),
        (Some(local), Some(name)) if local.ends_with('/') && !shown.ends_with('/') => {
            Ok(Path::new(local).join(name))
        }
        (Some(local), _) => Ok(PathBuf::from(local)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_where_they_are_told() {
        for (local, want) in [
            (None, "a"),
            (Some("x"), "x"),
            (Some("x/"), "x/a"),
            (Some("there"), "there/a"),
        ] {
            assert_eq!(
                file_target("a", local, |path| path == Path::new("there")),
                Path::new(want),
                "{local:?}"
            );
        }
    }

    #[test]
    fn folders_go_to_the_same_place_every_time() {
        let path = FilePath::parse("docs/2024").unwrap();
        for (shown, local, want) in [
            ("docs/2024", None, "2024"),
            ("docs/2024", Some("out"), "out"),
            ("docs/2024", Some("out/"), "out/2024"),
            ("docs/2024/", Some("out/"), "out/"),
        ] {
            assert_eq!(
                folder_target(shown, &path, local).unwrap(),
                Path::new(want),
                "{shown} {local:?}"
            );
        }
        assert!(folder_target("/", &FilePath::root(), None).is_err());
        assert_eq!(
            folder_target("/", &FilePath::root(), Some("all/")).unwrap(),
            Path::new("all/")
        );
    }
}
