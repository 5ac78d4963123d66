//! `gfl cp`: copies on the server. A folder is copied entry by entry in batches, nothing is downloaded.

use super::{Context, between, remote_path, target};
use crate::exit::Exit;
use crate::remote::{Error, Kind, Listing, Naming, OnServer, V1};
use crate::ui::{Ui, words};
use anyhow::Result;
use gfl_api::FilePath;
use gfl_api::v1::{BatchOp, BatchVerb, EntryType};
use serde_json::json;

/// Operations in one request: short enough that Ctrl-C does not leave much running.
const OPS_PER_REQUEST: usize = 200;

/// Copies.
pub(super) async fn run(context: &Context, from: &str, to: &str, overwrite: bool) -> Result<Exit> {
    let (source, _) = remote_path(from)?;
    let target = target(&source, to)?;
    let remote = context.remote().await?;
    let v1 = remote.v1("copy")?;
    let ui = &context.ui;
    let entry = v1.entry(&source).await.on_server("copy", &source)?;
    if entry.kind != EntryType::Dir {
        let copied = v1.operation(copy(&source, &target, overwrite)).await;
        let copied = copied.map_err(|error| match overwrite {
            true => error.hint_if_there(super::mv::IN_THE_WAY),
            false => error,
        });
        copied.map_err(|error| between("copy", &source, &target, error))?;
        ui.done(
            format_args!("✓ Copied: {source} → {target}"),
            copied_object(&source, &target, 1),
        )?;
        return Ok(Exit::Ok);
    }
    // Listed while it grows, such a copy would never end.
    if target.starts_with(&source) {
        let message = format!("cannot copy {source} into itself ({target})");
        return Err(Error::new(Kind::Refused, message).into());
    }
    ui.progress().begin(format!("copying {source}"));
    let done = copy_folder(ui, v1, &source, &target, overwrite).await;
    let (count, exit) = done.on_server("copy", &source)?;
    ui.progress().end();
    if exit == Exit::Ok || ui.is_json() {
        let files = words::count(count, "file", "files");
        ui.done(
            format_args!("✓ Copied: {source} → {target} ({files})"),
            copied_object(&source, &target, count),
        )?;
    }
    Ok(exit)
}

fn copied_object(source: &FilePath, target: &FilePath, files: u64) -> serde_json::Value {
    json!({"op": "copy", "path": source.as_str(), "to": target.as_str(), "files": files})
}

async fn copy_folder(
    ui: &Ui,
    v1: &V1,
    source: &FilePath,
    target: &FilePath,
    overwrite: bool,
) -> Result<(u64, Exit)> {
    let (mut count, mut exit) = (0, Exit::Ok);
    let mut ops = vec![mkdir(target)];
    let mut listing = Listing::new(v1, source.clone(), true);
    loop {
        let listed = listing.next().await?;
        let is_last = listed.is_none();
        if let Some(listed) = listed {
            let rest = listed
                .path
                .as_str()
                .strip_prefix(source.as_str())
                .unwrap_or_default();
            let to = target.join_path(&FilePath::parse(rest.trim_start_matches('/'))?)?;
            // A folder comes before what is in it, so its copy is there in time.
            ops.push(if listed.is_dir() {
                mkdir(&to)
            } else {
                copy(&listed.path, &to, overwrite)
            });
        }
        if ops.len() >= OPS_PER_REQUEST || is_last {
            let asked = std::mem::take(&mut ops);
            let answer = v1.batch(asked.clone()).await?;
            for (op, result) in asked.iter().zip(&answer.results) {
                if result.status >= 400 {
                    let error = Error::from_problem(result.status, result.problem.as_ref());
                    exit = exit.and(error.kind.into());
                    ui.set_aside(&not_copied(op, error));
                } else if op.op == BatchVerb::Copy {
                    count += 1;
                }
            }
        }
        if is_last {
            for text in listing.missing() {
                ui.warn(text);
            }
            if listing.lacks() > 0 {
                exit = exit.and(Exit::Failure);
            }
            return Ok((count, exit));
        }
    }
}

fn not_copied(op: &BatchOp, error: Error) -> anyhow::Error {
    let parsed = |path: &str| FilePath::parse(path).unwrap_or_default();
    let path = parsed(&op.path);
    match &op.to {
        Some(to) => between("copy", &path, &parsed(to), error),
        None => {
            let what = format!("cannot make {path} on the server");
            anyhow::Error::from(error.naming(&path)).context(what)
        }
    }
}

fn mkdir(path: &FilePath) -> BatchOp {
    BatchOp {
        op: BatchVerb::Mkdir,
        path: path.as_str().to_owned(),
        recursive: true,
        ..BatchOp::default()
    }
}

fn copy(from: &FilePath, to: &FilePath, overwrite: bool) -> BatchOp {
    BatchOp {
        op: BatchVerb::Copy,
        path: from.as_str().to_owned(),
        to: Some(to.as_str().to_owned()),
        overwrite,
        ..BatchOp::default()
    }
}
