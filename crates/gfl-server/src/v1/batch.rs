//! `POST /v1/batch`: many small operations in one request, in order, each by itself.

use super::answers::{entry, json, read_json};
use super::{fields, files};
use crate::caller;
use crate::problem::{Failure, Outcome};
use crate::server::Call;
use gfl_api::limits::BATCH_OPS_MAX;
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_api::v1::{AtMost, BatchAnswer, BatchOp, BatchResult, BatchVerb, Entry, Members, Strict};
use gfl_core::App;
use gfl_core::auth::Caller;
use gfl_core::files::{Committed, Delete, Relocate};
use http::{Method, StatusCode};
use serde::Deserialize;

const VERBS: &str = "op is delete, mkdir, move, copy, stat or restore";

/// Answers a batch.
pub(super) async fn route(mut call: Call) -> Outcome {
    call.route("/v1/batch");
    let caller = caller::for_v1(&call).await?;
    if call.method != Method::POST {
        return Err(Failure::method("POST"));
    }
    let request: Strict<Request> = read_json(call.take_body()).await?;
    fields::refuse_unknown(&request, "the body")?;
    let ops = request.value.ops;
    if ops.more {
        return Err(Failure::new(
            Code::TooLarge,
            format!("a batch has at most {BATCH_OPS_MAX} operations, send several"),
        ));
    }
    let many = call.facts.many();
    let mut results = Vec::with_capacity(ops.items.len());
    for (index, op) in (0..).zip(&ops.items) {
        let done = match check(op, index) {
            Ok(()) => run(call.app(), &caller, &op.value).await,
            Err(failure) => Err(failure),
        };
        let result = match done {
            Ok((status, entry)) => {
                many.done();
                BatchResult {
                    index,
                    status,
                    entry,
                    problem: None,
                }
            }
            Err(failure) => {
                let path = match op.value.path.as_str() {
                    "" => &format!("ops[{index}]"),
                    path => path,
                };
                many.failed(path, failure.code().as_str());
                BatchResult {
                    index,
                    status: failure.status(),
                    entry: None,
                    problem: Some(failure.into_problem(&call.facts.id)),
                }
            }
        };
        results.push(result);
    }
    Ok(json(StatusCode::OK, &BatchAnswer { results }))
}

/// The body of a request, [`gfl_api::v1::BatchRequest`] on the wire.
#[derive(Deserialize)]
struct Request {
    ops: AtMost<Strict<BatchOp>, BATCH_OPS_MAX>,
}

impl Members for Request {
    const MEMBERS: &'static [&'static str] = &["ops"];
}

/// Whether an operation says what it needs to. A path that was left out, or came out empty in a script, must not be
/// taken for everything there is.
fn check(op: &Strict<BatchOp>, index: u32) -> Outcome<()> {
    let place = format!("ops[{index}]");
    fields::refuse_unknown(op, &place)?;
    let verb = op.value.op;
    if !op.has("op") {
        return Err(fields::missing(&place, "op", VERBS));
    }
    let refuse = |member: &'static str, why: &str| {
        Err(Failure::invalid(format!("{place}: {why}")).with("member", member))
    };
    if verb == BatchVerb::Unknown {
        return refuse("op", VERBS);
    }
    if !op.has("path") {
        return Err(fields::missing(&place, "path", "name what this is about"));
    }
    // The root can be looked at, and made as often as one likes.
    if op.value.path.is_empty() && !matches!(verb, BatchVerb::Stat | BatchVerb::Mkdir) {
        return refuse("path", "path is empty, and the root stays where it is");
    }
    if matches!(verb, BatchVerb::Move | BatchVerb::Copy) {
        match op.value.to.as_deref() {
            None => return Err(fields::missing(&place, "to", "name the new path")),
            Some("") => return refuse("to", "to is empty, and the root cannot be replaced"),
            Some(_) => {}
        }
    }
    if op.value.version.is_some() && verb != BatchVerb::Restore {
        return refuse("version", "version goes with restore only");
    }
    Ok(())
}

async fn run(app: &App, caller: &Caller, op: &BatchOp) -> Outcome<(u16, Option<Entry>)> {
    let path = FilePath::parse(&op.path)?;
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
        BatchVerb::Unknown => Err(Failure::invalid(VERBS)),
    }
}

/// Where a move or copy leads; [`check`] has seen that it is there.
fn target(op: &BatchOp) -> Outcome<FilePath> {
    Ok(FilePath::parse(op.to.as_deref().unwrap_or_default())?)
}

fn moved(committed: &Committed) -> (u16, Option<Entry>) {
    (
        if committed.created { 201 } else { 200 },
        Some(entry(&committed.stat, true)),
    )
}
