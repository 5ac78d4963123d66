//! `gfl put`: which local files, and where each goes. Also the lines v0.1 printed.

use super::sources::{Job, gather, is_here, split};
use super::{Context, legacy, new_path};
use crate::exit::{Exit, UsageError};
use crate::remote::{Naming, Remote, V1};
use crate::transfer::{Options, Sent, Transfer};
use crate::ui::{Ui, words};
use anyhow::Result;
use futures_util::stream::{self, TryStreamExt};
use gfl_api::v1::EntryType;

/// Up to here several files of one command are sent at once.
const SIDE_BY_SIDE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The unit in which v0.1 counted chunks and chose its words.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Uploads.
pub(super) async fn run(
    context: &Context,
    words: &[String],
    is_exact: bool,
    options: Options,
) -> Result<Exit> {
    let (sources, target) = match words.split_last() {
        Some((target, sources)) if is_exact => (sources.to_vec(), target.clone()),
        _ => split(words, is_here)?,
    };
    if sources == ["-"] {
        return from_stdin(context, &target, options).await;
    }
    let gathered = gather(&sources, &target)?;
    let ui = &context.ui;
    if gathered.jobs.is_empty() {
        return Ok(tell_all(ui, &gathered.failures));
    }
    let (count, jobs) = (gathered.count(), gathered.jobs);
    let v1 = match context.remote().await? {
        Remote::V1(v1) => v1,
        Remote::V0(v0) => {
            let exit = tell_all(ui, &gathered.failures);
            let exit = exit.and(legacy::put(context, &v0, &jobs, options).await?);
            if count > 1 && exit == Exit::Ok {
                tell_count(ui, count as u64, &target);
            }
            return Ok(exit);
        }
    };
    let transfer = Transfer::new(&v1, ui, options);
    for failure in gathered.failures {
        transfer.tally.set_out();
        transfer.set_aside(failure)?;
    }
    let sent = send_all(&transfer, &jobs, count).await;
    ui.progress().end();
    let is_large = |job: &Job| job.is_dir || job.size > SIDE_BY_SIDE_BYTES_MAX;
    let is_worth_words = count > 1 || options.no_clobber || jobs.iter().any(is_large);
    if let (Err(error), true) = (&sent, ui.is_json()) {
        transfer.tally.fail(Exit::of(error));
    }
    finish(context, &transfer, is_worth_words)?;
    sent?;
    let exit = transfer.tally.exit();
    if count > 1 && exit == Exit::Ok {
        tell_count(ui, transfer.tally.held(), &target);
    }
    Ok(exit)
}

/// Failures of several, and the exit code of them all.
fn tell_all(ui: &Ui, failures: &[anyhow::Error]) -> Exit {
    let mut exit = Exit::Ok;
    for failure in failures {
        ui.error(failure);
        exit = exit.and(Exit::of(failure));
    }
    exit
}

fn tell_count(ui: &Ui, count: u64, target: &str) {
    let files = words::count(count, "file", "files");
    ui.line(format_args!("✓ Uploaded {files} to {target}"));
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

/// Sends what can be sent of `count` things that were named.
async fn send_all(transfer: &Transfer<'_>, jobs: &[Job], count: usize) -> Result<()> {
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
            .map(|job| Ok(send_one(transfer, job, count))),
    )
    .try_buffer_unordered(transfer.options.parallel)
    .try_collect::<()>()
    .await?;
    for job in alone {
        send_one(transfer, job, count).await?;
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
    let (remote, is_folder) = new_path(target)?;
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
