//! `gfl stat`: all that is known of a file or folder.

use super::{Context, each, remote_path};
use crate::args::Names;
use crate::exit::Exit;
use crate::remote::{OnServer, V1};
use crate::ui::words;
use anyhow::Result;
use gfl_api::v1::{Entry, EntryType};

/// In place of a digest. The server reads such a file again as soon as it comes to it.
const NOT_HASHED: &str = "not hashed yet: it was changed or restored by hand";

/// Shows entries.
pub(super) async fn run(context: &Context, names: &Names) -> Result<Exit> {
    let remote = context.remote().await?;
    let v1 = remote.v1("stat")?;
    each(context, names, async |name| one(context, v1, name).await).await
}

async fn one(context: &Context, v1: &V1, shown: &str) -> Result<Exit> {
    let (path, _) = remote_path(shown)?;
    let entry = v1.entry(&path).await.on_server("stat", &path)?;
    if context.ui.is_json() {
        context.ui.data(serde_json::to_string(&entry)?)?;
    } else {
        for (name, value) in fields(shown, &entry) {
            context.ui.data(format_args!("{name:8} {value}"))?;
        }
    }
    Ok(Exit::Ok)
}

fn fields(path: &str, entry: &Entry) -> Vec<(&'static str, String)> {
    let is_file = entry.kind == EntryType::File;
    let mut fields = vec![
        ("path", path.to_owned()),
        ("type", if is_file { "file" } else { "folder" }.to_owned()),
    ];
    if is_file {
        let size = match entry.size {
            size if size < 1024 => words::count(size, "byte", "bytes"),
            size => format!("{size} bytes ({})", words::bytes(size)),
        };
        fields.push(("size", size));
    }
    let optional = [
        ("mtime", &entry.mtime),
        ("mode", &entry.mode),
        ("b3", &entry.b3),
        ("etag", &entry.etag),
        ("version", &entry.version),
    ];
    fields.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    if is_file && entry.b3.is_none() {
        fields.push(("b3", NOT_HASHED.to_owned()));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known() {
        let entry = Entry {
            size: 2048,
            mode: Some("0600".into()),
            ..Entry::default()
        };
        let names: Vec<_> = fields("a", &entry)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            names,
            [
                "path=a",
                "type=file",
                "size=2048 bytes (2.0 KiB)",
                "mode=0600",
                "b3=not hashed yet: it was changed or restored by hand"
            ]
        );
        let folder = Entry {
            kind: EntryType::Dir,
            ..Entry::default()
        };
        assert_eq!(fields("/", &folder).len(), 2);
    }
}
