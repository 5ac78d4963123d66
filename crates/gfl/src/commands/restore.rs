//! `gfl restore`: undo. Lists kept versions and brings one back.

use super::{Context, remote_path};
use crate::exit::Exit;
use crate::ui::words;
use anyhow::{Context as _, Result};
use gfl_api::v1::{EntryType, Version, VersionState};

/// Lists or restores.
pub(super) async fn run(
    context: &Context,
    shown: &str,
    version: Option<&str>,
    list: bool,
) -> Result<Exit> {
    let (path, is_folder) = remote_path(shown)?;
    let remote = context.remote().await?;
    let v1 = remote.v1("restore")?;
    if !list {
        let entry = v1
            .restore(&path, version)
            .await
            .map_err(|error| error.hint_if_there(super::mv::IN_THE_WAY))
            .with_context(|| format!("cannot restore {shown}"))?;
        if context.ui.is_json() {
            context.ui.data(serde_json::to_string(&entry)?)?;
        }
        context.ui.line(format_args!("✓ Restored: {path}"));
        return Ok(Exit::Ok);
    }
    let versions = v1
        .versions(&path, is_folder)
        .await
        .with_context(|| format!("cannot list versions of {shown}"))?;
    if versions.versions.is_empty() {
        context.ui.note(format_args!("nothing is kept of {shown}"));
    }
    for version in &versions.versions {
        if context.ui.is_json() {
            context.ui.data(serde_json::to_string(version)?)?;
        } else {
            context.ui.data(line(version))?;
        }
    }
    Ok(Exit::Ok)
}

/// Id, state, size, when it came and when it went, path.
fn line(version: &Version) -> String {
    let state = match version.state {
        VersionState::Current => "current",
        _ => version.kept_reason.as_deref().unwrap_or("kept"),
    };
    let size = if version.kind == EntryType::Dir {
        "folder".to_owned()
    } else {
        words::bytes(version.size)
    };
    let when = version
        .retired
        .as_deref()
        .or(version.uploaded.as_deref())
        .unwrap_or("-");
    format!(
        "{} {state:8} {size:>10} {when} {}",
        version.id, version.path
    )
}
