//! `gfl mkdir`: makes a folder and its parents; one that is there is fine.

use super::{Context, remote_path};
use crate::exit::Exit;
use crate::remote::Remote;
use anyhow::{Context as _, Result};

/// Makes a folder.
pub(super) async fn run(context: &Context, shown: &str) -> Result<Exit> {
    let (path, _) = remote_path(shown)?;
    let remote = context.remote().await?;
    context
        .ui
        .line(format_args!("Creating directory {shown}..."));
    let made = match &remote {
        Remote::V1(v1) => v1.mkdir(&path).await,
        Remote::V0(v0) => v0.mkdir(shown).await,
    };
    made.map_err(|error| error.hint_if_there(super::mv::IN_THE_WAY))
        .with_context(|| format!("cannot make {shown}"))?;
    context
        .ui
        .line(format_args!("✓ Successfully created directory: {shown}"));
    Ok(Exit::Ok)
}
