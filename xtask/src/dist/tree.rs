//! The files of a release as they are installed, and the tar archives they travel in.

use super::{completions, help, man};
use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use std::io::Write;
use std::path::Path;

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its path without the slash in front.
    pub(super) path: String,
    /// Its permissions.
    pub(super) mode: u32,
    /// Its content.
    pub(super) content: Vec<u8>,
}

impl Entry {
    /// A file that everybody reads.
    pub(super) fn file(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            content: content.into(),
        }
    }

    /// A file that everybody runs.
    pub(super) fn program(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            mode: 0o755,
            ..Self::file(path, content)
        }
    }
}

/// Of when and which version files tell.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// The version, bare.
    pub(super) version: String,
    /// Seconds since 1970, the time of every file in an archive.
    pub(super) seconds: i64,
    /// The same as a day.
    pub(super) date: String,
    /// How hard to compress archives, 1 to 9.
    pub(super) effort: u32,
}

/// What is installed below `/`: programs, manuals, completions, units.
pub(super) fn installed(programs: &Path, stamp: &Stamp) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for program in help::programs(programs)? {
        let name = program.name;
        let file = programs.join(name);
        let content = std::fs::read(&file).with_context(|| file.display().to_string())?;
        entries.push(Entry::program(format!("usr/bin/{name}"), content));
        let page = man::page(&program, &man::more(name)?, &stamp.version, &stamp.date);
        entries.push(manual(name, program.section, &page)?);
        let scripts = [
            (
                format!("bash-completion/completions/{name}"),
                completions::bash(&program),
            ),
            (
                format!("zsh/vendor-completions/_{name}"),
                completions::zsh(&program),
            ),
            (
                format!("fish/vendor_completions.d/{name}.fish"),
                completions::fish(&program),
            ),
        ];
        let scripts = scripts.into_iter();
        entries.extend(scripts.map(|(path, text)| Entry::file(format!("usr/share/{path}"), text)));
    }
    entries.push(manual(
        "goflux.json",
        5,
        &man::config(&stamp.version, &stamp.date),
    )?);
    entries.extend(units()?);
    Ok(entries)
}

fn manual(name: &str, section: u8, page: &str) -> Result<Entry> {
    let path = format!("usr/share/man/man{section}/{name}.{section}.gz");
    Ok(Entry::file(path, gzip(page.as_bytes())?))
}

/// What systemd is told, as far as the repository has it.
fn units() -> Result<Vec<Entry>> {
    let packaging = gfl_e2e::bins::workspace().join("packaging");
    let mut entries = Vec::new();
    for (folder, suffixes, target) in [
        (
            packaging.clone(),
            &[".service", ".socket"][..],
            "usr/lib/systemd/system",
        ),
        (
            packaging.join("sysusers.d"),
            &[".conf"][..],
            "usr/lib/sysusers.d",
        ),
    ] {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for file in files {
            let name = file.file_name().to_string_lossy().into_owned();
            if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
                let content = std::fs::read(file.path()).with_context(|| name.clone())?;
                entries.push(Entry::file(format!("{target}/{name}"), content));
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// A document, compressed as hard as Debian wants it.
pub(super) fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    compress(content, Compression::best())
}

/// With neither name nor time in it: the same content gives the same bytes.
fn compress(content: &[u8], effort: Compression) -> Result<Vec<u8>> {
    let mut gz = GzBuilder::new().write(Vec::new(), effort);
    gz.write_all(content)?;
    Ok(gz.finish()?)
}

/// A compressed tar archive, every folder named before what is in it. All belongs to root.
pub(super) fn archive(prefix: &str, entries: &[Entry], stamp: &Stamp) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut folders = std::collections::BTreeSet::new();
    for entry in sorted {
        let mut folder = String::from(prefix);
        append(&mut tar, &folder, &mut folders, stamp)?;
        let (above, _) = entry.path.rsplit_once('/').unwrap_or_default();
        for part in above.split('/').filter(|part| !part.is_empty()) {
            folder.push_str(part);
            folder.push('/');
            append(&mut tar, &folder, &mut folders, stamp)?;
        }
        let mut header = header(tar::EntryType::Regular, entry.mode, stamp);
        header.set_size(entry.content.len() as u64);
        set_name(&mut header, &format!("{prefix}{}", entry.path))?;
        header.set_cksum();
        tar.append(&header, &entry.content[..])?;
    }
    compress(&tar.into_inner()?, Compression::new(stamp.effort))
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    folder: &str,
    done: &mut std::collections::BTreeSet<String>,
    stamp: &Stamp,
) -> Result<()> {
    if done.insert(folder.to_owned()) {
        let mut header = header(tar::EntryType::Directory, 0o755, stamp);
        // `Header::set_path` would drop the `./` that dpkg wants in front.
        set_name(&mut header, folder)?;
        header.set_cksum();
        tar.append(&header, &[][..])?;
    }
    Ok(())
}

fn header(kind: tar::EntryType, mode: u32, stamp: &Stamp) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    let _ = (header.set_username("root"), header.set_groupname("root"));
    header.set_mtime(u64::try_from(stamp.seconds).unwrap_or_default());
    header.set_size(0);
    header
}

fn set_name(header: &mut tar::Header, name: &str) -> Result<()> {
    let field = &mut header.as_old_mut().name;
    let room = field
        .get_mut(..name.len())
        .with_context(|| format!("{name} is too long for tar"))?;
    room.copy_from_slice(name.as_bytes());
    Ok(())
}
