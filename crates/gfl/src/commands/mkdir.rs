//! `gfl mkdir`: makes folders and their parents; one that is there is fine.

use super::{Context, each, new_path};
use crate::args::Names;
use crate::exit::Exit;
use crate::remote::{OnServer, Remote};
use anyhow::Result;
use serde_json::json;

/// Makes folders.
pub(super) async fn run(context: &Context, names: &Names) -> Result<Exit> {
    for name in &names.paths {
        new_path(name)?;
    }
    let remote = context.remote().await?;
    each(context, names, async |name| {
        one(context, &remote, name).await
    })
    .await
    .inspect(|_| {
        if let ([name], true) = (names.paths.as_slice(), names.is_joined) {
            context.ui.hint(format_args!(
                "{name:?} was taken as one name, as in v0.1; for several folders write `gfl mkdir -- {name}`"
            ));
        }
    })
}

async fn one(context: &Context, remote: &Remote, shown: &str) -> Result<Exit> {
    let (path, _) = new_path(shown)?;
    context
        .ui
        .line(format_args!("Creating directory {shown}..."));
    let made = match remote {
        Remote::V1(v1) => v1.mkdir(&path).await,
        Remote::V0(v0) => v0.mkdir(shown).await,
    };
    made.map_err(|error| error.hint_if_there(super::mv::IN_THE_WAY))
        .on_server("make", &path)?;
    context.ui.done(
        format_args!("✓ Successfully created directory: {shown}"),
        json!({"op": "mkdir", "path": path.as_str()}),
    )?;
    Ok(Exit::Ok)
}
