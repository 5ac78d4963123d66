//! put and get with a v0.1 server: whole files in chunks one after another, nothing resumed, nothing verified.

use super::get::{NamedBy, followed, refuse_folder_pattern};
use super::sources::Job;
use super::{Context, remote_path};
use crate::exit::{Exit, Failed};
use crate::local::dest::Place;
use crate::local::{Source, read_exact_at};
use crate::remote::{Answer, Error, Kind, V0};
use crate::transfer::{Options, Stream};
use crate::ui::{self, words};
use anyhow::{Context as _, Result, bail};
use gfl_api::{FilePath, glob};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

const CHUNK_BYTES: u64 = crate::remote::V0_CHUNK_BYTES as u64;

/// Sends files. Of several, one that fails keeps no other back, unless nothing else can fare better.
pub(super) async fn put(
    context: &Context,
    v0: &V0,
    jobs: &[Job],
    options: Options,
) -> Result<Exit> {
    if let Some(folder) = jobs.iter().find(|job| job.is_dir) {
        let message = format!(
            "{}: the server is GoFlux Lite v0.1 and gfl sends it files only",
            folder.local.display()
        );
        return Err(Error::new(Kind::Refused, message)
            .with_hint("name the files, or update the server")
            .into());
    }
    context
        .ui
        .progress()
        .begin_bytes("uploading", jobs.iter().map(|job| job.size).sum());
    let mut exit = Exit::Ok;
    for job in jobs {
        let sent = put_job(context, v0, job, options).await;
        let sent = sent.with_context(|| format!("upload of {} failed", job.local.display()));
        match sent.map_err(|error| (Exit::of(&error), error)) {
            Ok(()) => {}
            Err((Exit::Auth | Exit::Network | Exit::Limit, error)) => return Err(error),
            Err((_, error)) if jobs.len() == 1 => return Err(error),
            Err((failed, error)) => {
                context.ui.error(&error);
                exit = exit.and(failed);
            }
        }
    }
    Ok(exit)
}

async fn put_job(context: &Context, v0: &V0, job: &Job, options: Options) -> Result<()> {
    if options.no_clobber && is_there(v0, &job.remote).await? {
        let (prefix, name) = (&job.prefix, job.local.display());
        let text = format_args!(
            "{prefix}Skipped: {name} → {} (exists on the server)",
            job.remote
        );
        context.ui.line(text);
        return Ok(());
    }
    put_file(context, v0, job).await
}

/// Whether the parent's listing has the name: such a server cannot be asked for one path.
async fn is_there(v0: &V0, path: &FilePath) -> Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
        return Ok(true);
    };
    match v0.list_once(&format!("/{}", parent.as_str())).await {
        Ok(names) => Ok(names.iter().any(|one| one == name)),
        // What it says to a folder that is not there.
        Err(error) if error.status == 500 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn put_file(context: &Context, v0: &V0, job: &Job) -> Result<()> {
    let ui = &context.ui;
    V0::check_upload_path(job.remote.as_str())?;
    let source = Source::open(&job.local)?;
    let len = source.stamp.size;
    let name = job
        .local
        .file_name()
        .unwrap_or(job.local.as_os_str())
        .display();
    // An empty file is one empty chunk.
    let total = len.div_ceil(CHUNK_BYTES).max(1);
    let (prefix, remote) = (&job.prefix, &job.remote);
    let chunks = if len < CHUNK_BYTES {
        String::new()
    } else {
        format!(" in {total} chunks")
    };
    ui.line(format_args!(
        "{prefix}Uploading {name} ({len} bytes){chunks}..."
    ));
    let mut buf = Vec::new();
    for id in 0..total {
        let at = id * CHUNK_BYTES;
        buf.resize(usize::try_from(CHUNK_BYTES.min(len - at))?, 0);
        read_exact_at(&source.file, &mut buf, at)?;
        v0.put_chunk(remote.as_str(), id, total, &buf).await?;
        ui.progress().advance(buf.len() as u64);
    }
    if source.has_changed()? {
        return Err(Failed::new(
            Exit::Conflict,
            "it changed while it was sent; send it again",
        )
        .into());
    }
    ui.line(format_args!(
        "{prefix}✓ Upload complete: {name} → {remote} ({len} bytes)"
    ));
    Ok(())
}

/// Fetches files, or all that match.
pub(super) async fn get(
    context: &Context,
    v0: &V0,
    sources: &[String],
    local: Option<&str>,
    options: Options,
) -> Result<Exit> {
    let folder = local.unwrap_or(".");
    let folder = format!("{}/", folder.trim_end_matches('/'));
    for source in sources {
        let local = match sources.len() {
            1 => local,
            _ if local == Some("-") => local,
            _ => Some(folder.as_str()),
        };
        get_source(context, v0, source, local, options).await?;
    }
    Ok(Exit::Ok)
}

async fn get_source(
    context: &Context,
    v0: &V0,
    shown: &str,
    local: Option<&str>,
    options: Options,
) -> Result<()> {
    let (path, _) = remote_path(shown)?;
    let name = path.name().unwrap_or_default();
    if local == Some("-") {
        let done = to_stream(v0, path.as_str(), &mut Out).await;
        return done.with_context(|| format!("download of {path} failed"));
    }
    if !glob::has_wildcard(name) {
        let target = match local {
            Some(local) if local.ends_with('/') || Path::new(local).is_dir() => {
                Path::new(local).join(name)
            }
            Some(local) => PathBuf::from(local),
            None => PathBuf::from(name),
        };
        let one = (path.as_str(), target.as_path(), NamedBy::User);
        return get_file(context, v0, one, "", options).await;
    }
    let parent = path.parent().unwrap_or_default();
    let names = v0.list(&format!("/{}", parent.as_str())).await?;
    let names: Vec<&String> = names
        .iter()
        .filter(|one| glob::go_match(name, one) == Ok(true))
        .collect();
    if names.is_empty() {
        refuse_folder_pattern(&parent)?;
        let message = format!("no files match pattern: {shown} on the server");
        return Err(Error::new(Kind::NotFound, message).into());
    }
    let files = words::count(names.len() as u64, "file", "files");
    context
        .ui
        .line(format_args!("Found {files} matching {shown}"));
    let dir = PathBuf::from(local.unwrap_or("."));
    for (at, name) in names.iter().enumerate() {
        // Names from the server go through the path rules before they touch the disk.
        let remote = parent.join(name)?;
        let prefix = format!("[{}/{}] ", at + 1, names.len());
        let target = dir.join(name);
        let one = (remote.as_str(), target.as_path(), NamedBy::Server);
        get_file(context, v0, one, &prefix, options).await?;
    }
    context
        .ui
        .line(format_args!("✓ Downloaded {files} to {}", dir.display()));
    Ok(())
}

/// stdout, as the rest of the program writes it.
struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        ui::raw(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        ui::flush()
    }
}

/// What is out cannot be taken back: one try.
async fn to_stream(v0: &V0, path: &str, to: &mut impl Write) -> Result<()> {
    let mut answer = v0.download(path).await?;
    let mut left: Option<u64> = answer
        .header("content-length")
        .and_then(|text| text.parse().ok());
    while let Some(piece) = answer.piece().await? {
        left = left.map(|left| left.saturating_sub(piece.len() as u64));
        tokio::task::block_in_place(|| to.write_all(&piece)).context("cannot write it")?;
    }
    if left.is_some_and(|left| left > 0) {
        return Err(Error::network("the answer was cut short").into());
    }
    to.flush().context("cannot write it")
}

async fn get_file(
    context: &Context,
    v0: &V0,
    (remote, target, named_by): (&str, &Path, NamedBy),
    prefix: &str,
    options: Options,
) -> Result<()> {
    let ui = &context.ui;
    ui.line(format_args!("{prefix}Downloading {remote}..."));
    if options.no_clobber && target.symlink_metadata().is_ok() {
        let shown = target.display();
        ui.line(format_args!("{prefix}Skipped: {remote} → {shown} (exists)"));
        return Ok(());
    }
    ui.progress().begin(remote);
    let failed = || format!("download of {remote} failed");
    if named_by == NamedBy::User && Stream::is_at(target) {
        let file = File::options().write(true).open(target);
        let mut file = file.with_context(|| format!("cannot write {}", target.display()))?;
        to_stream(v0, remote, &mut file)
            .await
            .with_context(failed)?;
        let shown = target.display();
        ui.line(format_args!(
            "{prefix}✓ Download complete: {remote} → {shown}"
        ));
        return Ok(());
    }
    let place = Place::named(&followed(target, named_by))
        .with_context(|| format!("cannot write {}", target.display()))?;
    let mut attempts = v0.http().attempts();
    loop {
        match fetch(context, v0, remote, &place).await {
            Ok(len) => {
                ui.line(format_args!(
                    "{prefix}✓ Download complete: {remote} → {} ({len} bytes)",
                    target.display()
                ));
                return Ok(());
            }
            Err(error) => {
                let error = error.downcast::<Error>().with_context(failed)?;
                v0.http()
                    .pause(&mut attempts, error)
                    .await
                    .with_context(failed)?;
            }
        }
    }
}

async fn fetch(context: &Context, v0: &V0, remote: &str, place: &Place) -> Result<u64> {
    let mut answer = v0.download(remote).await?;
    let told: Option<u64> = answer
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let temp = place.temp()?;
    let len = receive(context, &mut answer, told, temp.file()).await?;
    if !temp.publish(place)? {
        bail!("somebody removed or replaced it while it was written");
    }
    place.sync_folder()?;
    Ok(len)
}

/// A v0.1 server tells no hash: what can be compared is the length.
async fn receive(
    context: &Context,
    answer: &mut Answer,
    told: Option<u64>,
    mut file: &File,
) -> Result<u64> {
    let mut len = 0;
    while let Some(piece) = answer.piece().await? {
        tokio::task::block_in_place(|| file.write_all(&piece))?;
        context.ui.progress().advance(piece.len() as u64);
        len += piece.len() as u64;
    }
    if told.is_some_and(|told| told != len) {
        return Err(Error::network("the answer was cut short").into());
    }
    file.sync_all()?;
    Ok(len)
}
