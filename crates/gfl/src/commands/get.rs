//! `gfl get`: what the remote words name, and where each file goes. Also the lines v0.1 printed.

use super::put::finish;
use super::{Context, legacy, remote_path};
use crate::exit::{Exit, Failed, UsageError};
use crate::local::dest::Place;
use crate::remote::{Error, Kind, Listed, Listing, Remote, V1};
use crate::transfer::{Options, Transfer};
use anyhow::{Context as _, Result};
use gfl_api::v1::EntryType;
use gfl_api::{FilePath, glob};
use std::path::{Path, PathBuf};

/// From here on the numbers at the end are worth a line.
const WORDS_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// The unit in which v0.1 chose its words.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Downloads.
pub(super) async fn run(
    context: &Context,
    shown: &str,
    local: Option<&str>,
    options: Options,
) -> Result<Exit> {
    let (path, _) = remote_path(shown)?;
    let remote = context.remote().await?;
    let v1 = match &remote {
        Remote::V1(v1) => v1,
        Remote::V0(v0) => {
            legacy::get(context, v0, shown, local).await?;
            return Ok(Exit::Ok);
        }
    };
    let transfer = Transfer::new(v1, &context.ui, options);
    // A name is first of all a name, even if it looks like a pattern.
    let entry = v1
        .entry_if_any(&path)
        .await
        .with_context(|| format!("cannot get {shown}"))?;
    let got = match entry {
        Some(entry) if local == Some("-") => to_stdout(&transfer, &Listed { path, entry })
            .await
            .map(|()| false),
        Some(entry) => one(&transfer, shown, Listed { path, entry }, local).await,
        None if glob::has_wildcard(shown) => matching(&transfer, shown, &path, local)
            .await
            .map(|()| true),
        None => Err(Error::new(Kind::NotFound, format!("{shown}: not found on the server")).into()),
    };
    context.ui.progress().end();
    let is_worth_words = *got.as_ref().unwrap_or(&true);
    if local != Some("-") || context.ui.is_json() {
        finish_unless_stdout(context, &transfer, local, is_worth_words)?;
    }
    got?;
    Ok(transfer.tally.exit())
}

/// Numbers must not get into a file that goes to stdout.
fn finish_unless_stdout(
    context: &Context,
    transfer: &Transfer<'_>,
    local: Option<&str>,
    words: bool,
) -> Result<()> {
    if local == Some("-") {
        context.ui.note(transfer.tally.to_json());
        return Ok(());
    }
    finish(context, transfer, words)
}

async fn to_stdout(transfer: &Transfer<'_>, listed: &Listed) -> Result<()> {
    if listed.is_dir() {
        return Err(UsageError(format!(
            "{} is a folder; only a file can go to stdout",
            listed.path
        ))
        .into());
    }
    transfer
        .ui
        .progress()
        .begin_bytes(listed.path.as_str(), listed.entry.size);
    let done = transfer
        .download_to_stdout(&listed.path, &listed.entry)
        .await;
    let done = done.with_context(|| format!("download of {} failed", listed.path))?;
    if !done.is_verified {
        transfer.ui.note(format_args!(
            "{}: the server has not hashed it yet, nothing could be compared",
            listed.path
        ));
    }
    Ok(())
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
    file(transfer, &listed, &target, "").await?;
    Ok(listed.entry.size >= WORDS_BYTES_MIN)
}

async fn folder(transfer: &Transfer<'_>, path: &FilePath, target: &Path) -> Result<()> {
    transfer.ui.line(format_args!("Downloading {path}..."));
    let failed = || format!("download of {path} failed");
    transfer
        .get_folder(path, target)
        .await
        .with_context(failed)?;
    if transfer.tally.exit() == Exit::Ok {
        transfer.ui.line(format_args!(
            "✓ Download complete: {path} → {}",
            target.display()
        ));
    }
    Ok(())
}

async fn file(transfer: &Transfer<'_>, listed: &Listed, target: &Path, prefix: &str) -> Result<()> {
    let path = &listed.path;
    transfer
        .ui
        .line(format_args!("{prefix}Downloading {path}..."));
    if transfer.options.no_clobber && target.symlink_metadata().is_ok() {
        let message = format!(
            "{} is there already; --overwrite replaces it",
            target.display()
        );
        return Err(Failed::new(Exit::Conflict, message).into());
    }
    let failed = || format!("download of {path} failed");
    let place =
        Place::named(target).with_context(|| format!("cannot write {}", target.display()))?;
    let done = transfer
        .download(path, &listed.entry, &place, true)
        .await
        .with_context(failed)?;
    if !done.is_verified {
        transfer.ui.note(format_args!(
            "{path}: the server has not hashed it yet, only its size was compared"
        ));
    }
    let how = match done.b3.to_string().get(..8) {
        _ if !done.is_verified => "not verified".to_owned(),
        Some(checksum) if done.size < CHUNK_BYTES => format!("checksum: {checksum}"),
        _ => "verified".to_owned(),
    };
    let shown = target.display();
    transfer.ui.line(format_args!(
        "{prefix}✓ Download complete: {path} → {shown} ({} bytes, {how})",
        done.size
    ));
    Ok(())
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
    let found = find(transfer.v1, &parent, name)
        .await
        .with_context(|| format!("cannot list {parent}"))?;
    if found.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("no files match pattern: {shown}")).into());
    }
    transfer
        .ui
        .line(format_args!("Found {} files matching {shown}", found.len()));
    let dir = PathBuf::from(local.unwrap_or("."));
    transfer.ui.progress().begin_bytes(
        "downloading",
        found.iter().map(|listed| listed.entry.size).sum(),
    );
    for (at, listed) in found.iter().enumerate() {
        let target = dir.join(listed.path.name().unwrap_or_default());
        match listed.entry.kind {
            EntryType::Dir => folder(transfer, &listed.path, &target).await?,
            _ => {
                file(
                    transfer,
                    listed,
                    &target,
                    &format!("[{}/{}] ", at + 1, found.len()),
                )
                .await?
            }
        }
    }
    if transfer.tally.exit() == Exit::Ok {
        transfer.ui.line(format_args!(
            "✓ Downloaded {} files to {}",
            found.len(),
            dir.display()
        ));
    }
    Ok(())
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
