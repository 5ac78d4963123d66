//! `gfl restore`: undo. Lists kept versions and brings one back.

use super::{Context, each, remote_path};
use crate::args::Names;
use crate::exit::Exit;
use crate::remote::{OnServer, V1};
use crate::ui::words;
use anyhow::Result;
use gfl_api::v1::{EntryType, Version, VersionState};

/// The names of the columns of a list.
const HEADER: [&str; 6] = ["VERSION", "STATE", "SIZE", "UPLOADED", "UNTIL", "PATH"];

/// Lists or restores.
pub(super) async fn run(
    context: &Context,
    names: &Names,
    version: Option<&str>,
    list: bool,
) -> Result<Exit> {
    let remote = context.remote().await?;
    let v1 = remote.v1("restore")?;
    each(context, names, async |name| match list {
        true => show(context, v1, name).await,
        false => restore(context, v1, name, version).await,
    })
    .await
}

async fn restore(context: &Context, v1: &V1, shown: &str, version: Option<&str>) -> Result<Exit> {
    let (path, _) = remote_path(shown)?;
    let entry = v1
        .restore(&path, version)
        .await
        .map_err(|error| error.hint_if_there(super::mv::IN_THE_WAY))
        .on_server("restore", &path)?;
    let text = format_args!("✓ Restored: {path}");
    context.ui.done(text, serde_json::to_value(&entry)?)?;
    Ok(Exit::Ok)
}

async fn show(context: &Context, v1: &V1, shown: &str) -> Result<Exit> {
    let (path, is_folder) = remote_path(shown)?;
    let list = v1.versions(&path, is_folder).await;
    let list = list.on_server("list the versions of", &path)?.versions;
    if list.is_empty() {
        context.ui.note(format_args!("nothing is kept of {shown}"));
    } else {
        context.ui.line(row(HEADER));
    }
    for version in list.into_iter().map(plausible) {
        context.ui.data(match context.ui.is_json() {
            true => serde_json::to_string(&version)?,
            false => line(&version),
        })?;
    }
    Ok(Exit::Ok)
}

/// A folder that is kept whole has no time of its own, and servers write the beginning of time instead.
fn plausible(mut version: Version) -> Version {
    if version.kind == EntryType::Dir {
        let is_told = |time: &String| !time.starts_with("1970-01-01T00:00:00");
        version.uploaded = version.uploaded.filter(is_told);
        version.mtime = version.mtime.filter(is_told);
    }
    version
}

/// When it came, and until when it was current.
fn line(version: &Version) -> String {
    let state = match version.state {
        VersionState::Current => "current",
        _ => version.kept_reason.as_deref().unwrap_or("kept"),
    };
    let size = match version.kind {
        EntryType::Dir => "folder".to_owned(),
        _ => words::bytes(version.size),
    };
    let time = |time: &Option<String>| {
        time.as_deref()
            .map_or_else(|| "-".to_owned(), words::full_time)
    };
    let (uploaded, until) = (time(&version.uploaded), time(&version.retired));
    row([&version.id, state, &size, &uploaded, &until, &version.path])
}

/// Columns side by side; ids have 26 characters, times 19.
fn row([id, state, size, uploaded, until, path]: [&str; 6]) -> String {
    format!("{id:26}  {state:8}  {size:>10}  {uploaded:19}  {until:19}  {path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_no_time_of_upload() {
        let folder = Version {
            id: "x".into(),
            path: "d".into(),
            kind: EntryType::Dir,
            mtime: Some("1970-01-01T00:00:00Z".into()),
            state: VersionState::Kept,
            kept_reason: Some("deleted".into()),
            uploaded: Some("1970-01-01T00:00:00Z".into()),
            ..Version::default()
        };
        let shown = plausible(folder.clone());
        assert_eq!((&shown.uploaded, &shown.mtime), (&None, &None));
        let line = line(&shown);
        let columns: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(columns, ["x", "deleted", "folder", "-", "-", "d"]);
        let file = Version {
            kind: EntryType::File,
            ..folder
        };
        assert!(plausible(file).mtime.is_some(), "a file may be that old");
    }

    #[test]
    fn columns_stand_below_their_names() {
        let version = Version {
            id: "01m8264eaty515vvzqqhddsmy5".into(),
            path: "docs/a".into(),
            size: 2048,
            uploaded: Some("2026-01-02T03:04:05.678Z".into()),
            ..Version::default()
        };
        let (head, line) = (row(HEADER), line(&version));
        for (name, value) in [
            ("STATE", "current"),
            ("PATH", "docs/a"),
            ("UPLOADED", "2026-01-0"),
        ] {
            assert_eq!(head.find(name), line.find(value), "{head}\n{line}");
        }
        assert!(line.contains("    2.0 KiB  "), "{line}");
    }
}
