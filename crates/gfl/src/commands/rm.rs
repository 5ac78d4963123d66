//! `gfl rm`: deletes files, and folders with all they hold, without asking, as v0.1 did. The server keeps them for undo.

use super::{Context, each, remote_path};
use crate::args::Names;
use crate::exit::Exit;
use crate::remote::{Error, Kind, OnServer, Remote, V1};
use anyhow::Result;
use gfl_api::FilePath;
use gfl_api::problem::Code;
use serde_json::json;

/// Deletes.
pub(super) async fn run(context: &Context, names: &Names) -> Result<Exit> {
    // Nothing is deleted before every name is understood.
    for name in &names.paths {
        let (path, _) = remote_path(name)?;
        if path.is_root() {
            let error = Error::new(
                Kind::Refused,
                "the root folder is never deleted; name something in it",
            );
            return Err(error.into());
        }
    }
    let remote = context.remote().await?;
    each(context, names, async |name| {
        one(context, &remote, name).await
    })
    .await
}

async fn one(context: &Context, remote: &Remote, shown: &str) -> Result<Exit> {
    let (path, is_folder) = remote_path(shown)?;
    context.ui.line(format_args!("Deleting {shown}..."));
    let deleted = match remote {
        Remote::V1(v1) => delete(v1, &path, is_folder).await,
        Remote::V0(v0) => v0.delete(shown).await,
    };
    deleted.on_server("delete", &path)?;
    context.ui.done(
        format_args!("✓ Successfully deleted: {shown}"),
        json!({"op": "delete", "path": path.as_str()}),
    )?;
    Ok(Exit::Ok)
}

/// One request for a file; a folder takes a second one.
async fn delete(v1: &V1, path: &FilePath, is_folder: bool) -> crate::remote::Result<()> {
    if is_folder {
        return v1.delete_dir(path).await;
    }
    match v1.delete_file(path).await {
        Err(error) if error.code == Code::IsADirectory => v1.delete_dir(path).await,
        other => other,
    }
}
