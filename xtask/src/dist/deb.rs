//! The Debian package: an `ar` archive of two tar archives, written here because a machine without cargo-deb or
//! debhelper can make it as well.

use super::tree::{self, Entry, Stamp};
use anyhow::{Context, Result};
use md5::{Digest, Md5};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The name of the package.
pub(super) const PACKAGE: &str = "goflux-lite";
/// Of the packaging, not of the program.
const REVISION: u32 = 1;
const MAINTAINER: &str = "GoFlux Lite contributors <goflux-lite@users.noreply.github.com>";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const CONFIG: &str = "etc/gfl/goflux.json";

/// Debian's name of a processor, given Rust's.
pub(super) fn architecture(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        other => other,
    }
}

/// The file's name.
pub(super) fn file_name(stamp: &Stamp, arch: &str) -> String {
    format!(
        "{PACKAGE}_{}_{}.deb",
        debian_version(stamp),
        architecture(arch)
    )
}

fn debian_version(stamp: &Stamp) -> String {
    // A pre-release sorts before what it leads to.
    format!("{}-{REVISION}", stamp.version.replacen('-', "~", 1))
}

/// The package with these files in it.
pub(super) fn build(installed: &[Entry], stamp: &Stamp, arch: &str) -> Result<Vec<u8>> {
    let mut entries = installed.to_vec();
    entries.push(Entry::file(CONFIG, packaging("goflux.json")?));
    entries.extend(documents(stamp)?);
    let data = tree::archive("./", &entries, stamp)?;
    let control = tree::archive("./", &control(&entries, stamp, arch)?, stamp)?;
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.gz", &control),
        ("data.tar.gz", &data),
    ] {
        let head = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            stamp.seconds,
            0,
            0,
            100_644,
            content.len()
        );
        deb.extend(head.into_bytes());
        deb.extend(content);
        if content.len() % 2 == 1 {
            deb.push(b'\n');
        }
    }
    Ok(deb)
}

fn packaging(name: &str) -> Result<Vec<u8>> {
    read(&PathBuf::from("packaging/debian").join(name))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let path = gfl_e2e::bins::workspace().join(path);
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

/// What `/usr/share/doc` has of every package.
fn documents(stamp: &Stamp) -> Result<Vec<Entry>> {
    let folder = format!("usr/share/doc/{PACKAGE}");
    let changelog = format!(
        "{PACKAGE} ({}) unstable; urgency=medium\n\n  * Release {}; what is new stands in changelog.gz.\n\n -- {MAINTAINER}  {}\n",
        debian_version(stamp),
        stamp.version,
        rfc2822(stamp)
    );
    let copyright = String::from_utf8(packaging("copyright")?)?;
    let licence = String::from_utf8(read(Path::new("LICENSE"))?)?;
    let terms = licence
        .lines()
        .skip_while(|line| !line.starts_with("Permission"));
    let terms: String = terms
        .map(|line| {
            if line.is_empty() {
                " .\n".to_owned()
            } else {
                format!(" {line}\n")
            }
        })
        .collect();
    let overrides = format!("usr/share/lintian/overrides/{PACKAGE}");
    Ok(vec![
        Entry::file(format!("{folder}/copyright"), copyright + &terms),
        Entry::file(
            format!("{folder}/changelog.gz"),
            tree::gzip(&read(Path::new("CHANGELOG.md"))?)?,
        ),
        Entry::file(
            format!("{folder}/changelog.Debian.gz"),
            tree::gzip(changelog.as_bytes())?,
        ),
        Entry::file(overrides, packaging("lintian-overrides")?),
    ])
}

fn rfc2822(stamp: &Stamp) -> String {
    let time = jiff::Timestamp::from_second(stamp.seconds).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The members of `control.tar`.
fn control(entries: &[Entry], stamp: &Stamp, arch: &str) -> Result<Vec<Entry>> {
    let bytes: usize = entries.iter().map(|entry| entry.content.len()).sum();
    let programs = entries
        .iter()
        .filter(|entry| entry.path.starts_with("usr/bin/"));
    let libc = programs
        .filter_map(|entry| newest_glibc(&entry.content))
        .max();
    let libc = libc.map_or("libc6".to_owned(), |(a, b)| format!("libc6 (>= {a}.{b})"));
    let text = format!(
        "Package: {PACKAGE}\nVersion: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nInstalled-Size: {}\n\
         Depends: adduser, {libc}, libgcc-s1\nSection: net\nPriority: optional\n\
         Homepage: https://github.com/goflux-lite/goflux-lite\n{}",
        debian_version(stamp),
        architecture(arch),
        bytes.div_ceil(1024),
        String::from_utf8(packaging("description")?)?
    );
    let mut members = vec![
        Entry::file("control", text),
        Entry::file("conffiles", format!("/{CONFIG}\n")),
        Entry::file("md5sums", md5sums(entries)),
    ];
    for name in SCRIPTS {
        members.push(Entry::program(name, packaging(name)?));
    }
    Ok(members)
}

/// The newest version of glibc's symbols that a program asks for.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let marks = program
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK);
    let versions = marks.filter_map(|(at, _)| {
        let text = program[at + MARK.len()..].split(|byte| *byte == 0).next()?;
        let (major, minor) = std::str::from_utf8(text).ok()?.split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    });
    versions.max()
}

fn md5sums(entries: &[Entry]) -> String {
    let mut sums = String::new();
    for entry in entries.iter().filter(|entry| entry.path != CONFIG) {
        let sum = hex::encode(Md5::digest(&entry.content));
        let _ = writeln!(sums, "{sum}  {}", entry.path);
    }
    sums
}
