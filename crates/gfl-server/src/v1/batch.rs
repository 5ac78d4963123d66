//! `POST /v1/batch`: many small operations in one request, in order, each by itself.

use super::answers::{entry, json, read_json};
use super::files;
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::limits::BATCH_OPS_MAX;
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_api::v1::{BatchAnswer, BatchOp, BatchRequest, BatchResult, BatchVerb, Entry};
use gfl_core::App;
use gfl_core::auth::Caller;
use gfl_core::files::{Committed, Delete, Relocate};
use http::{Method, StatusCode};

/// Answers a batch.
pub(super) async fn route(mut call: Call) -> Outcome {
    call.route("/v1/batch");
    let caller = caller::for_v1(&call)?;
    if call.method != Method::POST {
        return Err(Failure::method("POST"));
    }
    let request: BatchRequest = read_json(call.take_body()).await?;
    if request.ops.len() > BATCH_OPS_MAX {
        return Err(Failure::new(
            Code::TooLarge,
            format!("a batch has at most {BATCH_OPS_MAX} operations, send several"),
        ));
    }
    let mut results = Vec::with_capacity(request.ops.len());
    for (index, op) in (0..).zip(&request.ops) {
        let result = match run(call.app(), &caller, op).await {
            Ok((status, entry)) => BatchResult {
                index,
                status,
                entry,
                problem: None,
            },
            Err(failure) => BatchResult {
                index,
                status: failure.status(),
                entry: None,
                problem: Some(failure.into_problem(&call.facts.id)),
            },
        };
        results.push(result);
    }
    Ok(json(StatusCode::OK, &BatchAnswer { results }))
}

async fn run(app: &App, caller: &Caller, op: &BatchOp) -> Outcome<(u16, Option<Entry>)> {
    let path = FilePath::parse(&op.path)?;
    if op.version.is_some() && op.op != BatchVerb::Restore {
        return Err(Failure::invalid("version goes with restore only"));
    }
    match op.op {
        BatchVerb::Stat => Ok((200, Some(entry(&app.stat(caller, &path).await?, true)))),
        BatchVerb::Mkdir => {
            let new = app.mkdir(caller, &path).await?;
            Ok((if new { 201 } else { 200 }, None))
        }
        BatchVerb::Delete => {
            if path.is_root() {
                return Err(Failure::new(Code::Forbidden, "the root cannot be deleted"));
            }
            let how = Delete {
                recursive: op.recursive,
                ..Delete::default()
            };
            app.delete(caller, &path, &how).await?;
            Ok((204, None))
        }
        BatchVerb::Move => {
            let how = Relocate {
                overwrite: op.overwrite,
                ..Relocate::default()
            };
            Ok(moved(&app.rename(caller, &path, &target(op)?, &how).await?))
        }
        BatchVerb::Copy => {
            let how = Relocate {
                overwrite: op.overwrite,
                ..Relocate::default()
            };
            Ok(moved(&app.copy(caller, &path, &target(op)?, &how).await?))
        }
        BatchVerb::Restore => {
            let version = op.version.as_deref().map(files::version).transpose()?;
            let stat = app.restore(caller, &path, version.as_ref()).await?;
            Ok((200, Some(entry(&stat, true))))
        }
        BatchVerb::Unknown => Err(Failure::invalid(
            "op is delete, mkdir, move, copy, stat or restore",
        )),
    }
}

fn target(op: &BatchOp) -> Outcome<FilePath> {
    let to = op
        .to
        .as_deref()
        .ok_or_else(|| Failure::invalid("move and copy need to"))?;
    Ok(FilePath::parse(to)?)
}

fn moved(committed: &Committed) -> (u16, Option<Entry>) {
    (
        if committed.created { 201 } else { 200 },
        Some(entry(&committed.stat, true)),
    )
}
