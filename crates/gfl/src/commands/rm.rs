//! `gfl rm`: deletes a file, or a folder with all it holds, without asking, as v0.1 did. The server keeps it for undo.

use super::{Context, remote_path};
use crate::exit::Exit;
use crate::remote::{Error, Kind, Remote, V1};
use anyhow::{Context as _, Result};
use gfl_api::FilePath;
use gfl_api::problem::Code;

/// Deletes.
pub(super) async fn run(context: &Context, shown: &str) -> Result<Exit> {
    let (path, is_folder) = remote_path(shown)?;
    if path.is_root() {
        let error = Error::new(
            Kind::Refused,
            "the root folder is never deleted; name something in it",
        );
        return Err(error.into());
    }
    let remote = context.remote().await?;
    context.ui.line(format_args!("Deleting {shown}..."));
    let deleted = match &remote {
        Remote::V1(v1) => delete(v1, &path, is_folder).await,
        Remote::V0(v0) => v0.delete(shown).await,
    };
    deleted.with_context(|| format!("cannot delete {shown}"))?;
    context
        .ui
        .line(format_args!("✓ Successfully deleted: {shown}"));
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
