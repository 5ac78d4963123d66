//! `gfl mv`: moves or renames on the server.

use super::{Context, between, remote_path, target};
use crate::exit::Exit;
use anyhow::Result;
use gfl_api::v1::{BatchOp, BatchVerb};
use serde_json::json;

/// What to do when `--overwrite` was given and was not enough.
pub(super) const IN_THE_WAY: &str =
    "what is there cannot be replaced; move or delete it first, or choose another name";

/// Moves.
pub(super) async fn run(context: &Context, from: &str, to: &str, overwrite: bool) -> Result<Exit> {
    let (source, _) = remote_path(from)?;
    let target = target(&source, to)?;
    let remote = context.remote().await?;
    let op = BatchOp {
        op: BatchVerb::Move,
        path: source.as_str().to_owned(),
        to: Some(target.as_str().to_owned()),
        overwrite,
        ..BatchOp::default()
    };
    let moved = remote.v1("move")?.operation(op).await;
    let moved = moved.map_err(|error| match overwrite {
        true => error.hint_if_there(IN_THE_WAY),
        false => error,
    });
    moved.map_err(|error| between("move", &source, &target, error))?;
    context.ui.done(
        format_args!("✓ Moved: {source} → {target}"),
        json!({"op": "move", "path": source.as_str(), "to": target.as_str()}),
    )?;
    Ok(Exit::Ok)
}
