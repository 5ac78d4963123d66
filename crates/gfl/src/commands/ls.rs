//! `gfl ls`: names as v0.1 showed them, or everything that is known.

use super::{Context, each, remote_path};
use crate::args::Names;
use crate::exit::Exit;
use crate::remote::{Listed, Listing, OnServer, Remote, V0, V1};
use crate::ui::{Ui, words};
use anyhow::Result;
use gfl_api::FilePath;
use gfl_api::problem::Code;
use gfl_api::v1::EntryType;

/// How much is shown.
#[derive(Clone, Copy)]
struct Look {
    long: bool,
    recursive: bool,
    /// One of several folders: each entry must tell where it is.
    is_one_of_many: bool,
}

/// Lists folders; a file is listed as itself.
pub(super) async fn run(
    context: &Context,
    names: &Names,
    long: bool,
    recursive: bool,
) -> Result<Exit> {
    let look = Look {
        long,
        recursive,
        is_one_of_many: names.paths.len() > 1,
    };
    let remote = context.remote().await?;
    each(context, names, async |name| {
        one(context, &remote, name, look).await
    })
    .await
}

async fn one(context: &Context, remote: &Remote, shown: &str, look: Look) -> Result<Exit> {
    let (dir, _) = remote_path(shown)?;
    let listed = match remote {
        Remote::V1(v1) => list(context, v1, shown, &dir, look).await,
        Remote::V0(_) if look.long || look.recursive || context.ui.is_json() => remote
            .v1("list with -l, -r or --json")
            .map(|_| Exit::Ok)
            .map_err(Into::into),
        Remote::V0(v0) => list_v0(context, v0, shown).await,
    };
    match listed {
        // Not the server's doing: it is stdout that failed.
        Err(error) if error.is::<std::io::Error>() => Err(error),
        other => other.on_server("list", &dir),
    }
}

async fn list(context: &Context, v1: &V1, shown: &str, dir: &FilePath, look: Look) -> Result<Exit> {
    let ui = &context.ui;
    let mut listing = Listing::new(v1, dir.clone(), look.recursive);
    let first = match listing.next().await {
        // v0.1 failed here; showing the file is what `ls` does everywhere else.
        Err(error) if error.code == Code::NotADirectory => {
            let entry = v1.entry(dir).await?;
            let path = dir.clone();
            ui.data(line(ui.is_json(), look, dir, &Listed { path, entry })?)?;
            return Ok(Exit::Ok);
        }
        other => other?,
    };
    let Some(first) = first else {
        ui.line(format_args!("No files in {shown}"));
        return Ok(tell_missing(ui, &listing));
    };
    if !look.long || look.is_one_of_many {
        ui.line(format_args!("Files in {shown}:"));
    }
    let mut next = Some(first);
    while let Some(listed) = next {
        ui.data(line(ui.is_json(), look, dir, &listed)?)?;
        next = listing.next().await?;
    }
    Ok(tell_missing(ui, &listing))
}

fn tell_missing(ui: &Ui, listing: &Listing) -> Exit {
    for text in listing.missing() {
        ui.warn(text);
    }
    match listing.lacks() {
        0 => Exit::Ok,
        _ => Exit::Failure,
    }
}

async fn list_v0(context: &Context, v0: &V0, path: &str) -> Result<Exit> {
    let names = v0.list(path).await?;
    if names.is_empty() {
        context.ui.line(format_args!("No files in {path}"));
        return Ok(Exit::Ok);
    }
    context.ui.line(format_args!("Files in {path}:"));
    for name in names {
        context.ui.data(format_args!("  {name}"))?;
    }
    Ok(Exit::Ok)
}

fn line(is_json: bool, look: Look, dir: &FilePath, listed: &Listed) -> Result<String> {
    if is_json && look.is_one_of_many {
        let mut entry = listed.entry.clone();
        entry.path = Some(listed.path.as_str().to_owned());
        return Ok(serde_json::to_string(&entry)?);
    }
    if is_json {
        return Ok(serde_json::to_string(&listed.entry)?);
    }
    let below = listed
        .path
        .as_str()
        .strip_prefix(dir.as_str())
        .unwrap_or_default()
        .trim_start_matches('/');
    let name = match below {
        "" => listed.path.name().unwrap_or("/"),
        below => below,
    };
    Ok(if look.long {
        long_line(listed, name)
    } else {
        format!("  {name}")
    })
}

/// Type and mode, size, time, the beginning of the hash, name.
fn long_line(listed: &Listed, name: &str) -> String {
    let entry = &listed.entry;
    let (kind, slash) = match entry.kind {
        EntryType::Dir => ('d', "/"),
        _ => ('-', ""),
    };
    let size = if listed.is_dir() {
        "-".to_owned()
    } else {
        words::bytes(entry.size)
    };
    let mode = entry.mode.as_deref().unwrap_or("----");
    let time = entry
        .mtime
        .as_deref()
        .map(words::short_time)
        .unwrap_or_else(|| "-".to_owned());
    let b3 = entry
        .b3
        .as_deref()
        .and_then(|hex| hex.get(..12))
        .unwrap_or("-");
    format!("{kind}{mode} {size:>10} {time:>16} {b3:12} {name}{slash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfl_api::v1::Entry;

    const SHORT: Look = Look {
        long: false,
        recursive: false,
        is_one_of_many: false,
    };
    const LONG: Look = Look {
        long: true,
        ..SHORT
    };

    fn listed(path: &str, kind: EntryType) -> Listed {
        let path = FilePath::parse(path).unwrap();
        let entry = Entry {
            name: path.name().unwrap().into(),
            kind,
            size: 2048,
            mode: Some("0644".into()),
            b3: Some("ab".repeat(32)),
            ..Entry::default()
        };
        Listed { path, entry }
    }

    #[test]
    fn lines() {
        let dir = FilePath::parse("d").unwrap();
        let file = listed("d/a b", EntryType::File);
        assert_eq!(line(false, SHORT, &dir, &file).unwrap(), "  a b");
        assert_eq!(
            line(false, SHORT, &FilePath::root(), &file).unwrap(),
            "  d/a b"
        );
        assert_eq!(line(false, SHORT, &file.path, &file).unwrap(), "  a b");
        assert_eq!(
            line(false, LONG, &dir, &file).unwrap(),
            "-0644    2.0 KiB                - abababababab a b"
        );
        assert!(
            line(false, LONG, &dir, &listed("d/s", EntryType::Dir))
                .unwrap()
                .ends_with(" s/")
        );
        assert!(line(true, LONG, &dir, &file).unwrap().starts_with('{'));
        let many = Look {
            is_one_of_many: true,
            ..SHORT
        };
        assert!(
            line(true, many, &dir, &file)
                .unwrap()
                .contains(r#""path":"d/a b""#)
        );
    }
}
