//! `cargo xtask dist`: everything of a release in one folder: the programs, an archive and a Debian package of them
//! with manuals, completions and units, the manifest for `gfl update`, checksums, and signatures of both.

mod completions;
mod deb;
mod help;
mod man;
mod notices;
mod sign;
mod tree;

use crate::tools;
use anyhow::{Context, Result, bail};
use gfl_api::release::{Binary, MANIFEST_NAME, Manifest, platform};
use sha2::{Digest, Sha256};
use sign::Signer;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tree::{Entry, Stamp};

const PROGRAMS: [&str; 3] = ["gfl", "gfl-server", "gfl-admin"];
const SUMS: &str = "SHA256SUMS";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Of gzip.
const EFFORT_MAX: u32 = 9;
/// v0.1's versions end so, and its client shows them as they are.
const EDITION: &str = "-lite";

const USAGE: &str = "usage: cargo xtask dist [--out FOLDER] [--profile NAME] [--url BASE]
  --out FOLDER     where the release goes (default: goflux-lite-VERSION in the build folder)
  --profile NAME   of cargo (default dist)
  --url BASE       where the programs will be found, for version.json (default: the project's releases)
Signs with the minisign key in GFL_SIGNING_KEY or GFL_SIGNING_KEY_FILE, and builds gfl with its public half.
Programs of other platforms that lie in the folder already (gfl_linux_arm64 …) are taken into version.json.";

/// What was asked for.
struct Wish {
    out: PathBuf,
    profile: String,
    url: String,
}

/// Makes the release.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let wish = Wish::parse(args)?;
    let stamp = stamp()?;
    let signer = Signer::from_env()?;
    let programs = build(&wish.profile, signer.as_ref())?;
    let files = release(&programs, &wish, &stamp, signer.as_ref())?;
    for file in files {
        println!("{:>12}  {}", file.metadata()?.len(), file.display());
    }
    if signer.is_none() {
        eprintln!(
            "\nNOT SIGNED: there is no GFL_SIGNING_KEY and no GFL_SIGNING_KEY_FILE.\n\
             No gfl will take this version.json, and this gfl will never update itself.\n\
             A key is made with `minisign -G -W -s FILE`; keep it out of the repository.\n"
        );
    }
    Ok(())
}

impl Wish {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wish = Self {
            out: tools::target_dir()?.join(format!("goflux-lite-{VERSION}")),
            profile: "dist".into(),
            url: format!(
                "{}/releases/download/v{VERSION}",
                env!("CARGO_PKG_REPOSITORY")
            ),
        };
        let mut args = args.iter();
        while let Some(option) = args.next() {
            let Some(value) = args.next() else {
                bail!("{USAGE}");
            };
            match option.as_str() {
                "--out" => wish.out = std::path::absolute(value)?,
                "--profile" => wish.profile.clone_from(value),
                "--url" => value.trim_end_matches('/').clone_into(&mut wish.url),
                _ => bail!("{USAGE}"),
            }
        }
        Ok(wish)
    }
}

/// Now, or what `SOURCE_DATE_EPOCH` says, so that a release can be made again byte for byte.
fn stamp() -> Result<Stamp> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .context("SOURCE_DATE_EPOCH is no number of seconds")?,
        Err(_) => i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?,
    };
    stamp_at(seconds)
}

fn stamp_at(seconds: i64) -> Result<Stamp> {
    Ok(Stamp {
        version: VERSION.into(),
        seconds,
        date: jiff::Timestamp::from_second(seconds)?
            .strftime("%Y-%m-%d")
            .to_string(),
        effort: EFFORT_MAX,
    })
}

/// Builds the programs; gfl with the key it will check its successors with.
fn build(profile: &str, signer: Option<&Signer>) -> Result<PathBuf> {
    let mut args = vec!["build", "--locked", "--profile", profile];
    args.extend(PROGRAMS.iter().flat_map(|name| ["-p", name]));
    let mut command = tools::cargo(&args);
    if let Some(signer) = signer {
        command.env("GFL_UPDATE_KEYS", signer.public().to_text());
    }
    tools::run(&mut command)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(tools::target_dir()?.join(folder))
}

/// Writes all files of the release and returns their paths.
fn release(
    programs: &Path,
    wish: &Wish,
    stamp: &Stamp,
    signer: Option<&Signer>,
) -> Result<Vec<PathBuf>> {
    let out = &wish.out;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let arch = std::env::consts::ARCH;
    let here = platform(std::env::consts::OS, arch);
    let mut installed = tree::installed(programs, stamp)?;
    installed.push(Entry::file(
        format!("usr/share/doc/{}/THIRD-PARTY.gz", deb::PACKAGE),
        tree::gzip(notices::text(&PROGRAMS)?.as_bytes())?,
    ));
    if !installed
        .iter()
        .any(|entry| entry.path.ends_with(".service"))
    {
        eprintln!("NO UNIT: packaging/gfl-server.service is not there; the package has no service");
    }
    for name in PROGRAMS {
        copy(&programs.join(name), &out.join(format!("{name}_{here}")))?;
    }
    let deb = deb::build(&installed, stamp, arch)?;
    write(&out.join(deb::file_name(stamp, arch)), &deb)?;
    let stem = format!("goflux-lite-{}-{here}", stamp.version);
    let archive = tree::archive(&format!("{stem}/"), &portable(&installed)?, stamp)?;
    write(&out.join(format!("{stem}.tar.gz")), &archive)?;
    let manifest = manifest(out, &wish.url, stamp)?;
    write(&out.join(MANIFEST_NAME), manifest.to_json().as_bytes())?;
    write(&out.join(SUMS), sums(out)?.as_bytes())?;
    if let Some(signer) = signer {
        for name in [MANIFEST_NAME, SUMS] {
            signer.sign_file(&out.join(name), stamp.seconds)?;
        }
    }
    listed(out, |_| true)
}

/// The files for a prefix of one's own, `/usr/local` for instance.
fn portable(installed: &[Entry]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = installed
        .iter()
        .map(|entry| Entry {
            path: entry.path.trim_start_matches("usr/").to_owned(),
            ..entry.clone()
        })
        .collect();
    for name in ["README.md", "LICENSE", "CHANGELOG.md"] {
        let path = gfl_e2e::bins::workspace().join(name);
        entries.push(Entry::file(
            name,
            std::fs::read(&path).with_context(|| name.to_owned())?,
        ));
    }
    Ok(entries)
}

/// The manifest of all clients that lie in the folder.
fn manifest(out: &Path, url: &str, stamp: &Stamp) -> Result<Manifest> {
    let mut binaries = BTreeMap::new();
    for file in listed(out, |name| name.starts_with("gfl_"))? {
        let name = file_name(&file);
        let content = std::fs::read(&file)?;
        let binary = Binary {
            url: format!("{url}/{name}"),
            checksum: hex::encode(Sha256::digest(&content)),
            size: content.len() as u64,
        };
        let platform = name.trim_start_matches("gfl_").trim_end_matches(".exe");
        binaries.insert(platform.to_owned(), binary);
    }
    Ok(Manifest {
        version: format!("{}{EDITION}", stamp.version),
        release_date: stamp.date.clone(),
        notes: notes()?,
        binaries,
    })
}

/// The points of the newest section of the changelog.
fn notes() -> Result<String> {
    let changelog = gfl_e2e::bins::workspace().join("CHANGELOG.md");
    let changelog = std::fs::read_to_string(&changelog).context("reading CHANGELOG.md")?;
    let newest = changelog.split("\n## ").nth(1).unwrap_or_default();
    let points: Vec<&str> = newest
        .lines()
        .filter(|line| line.starts_with("- "))
        .collect();
    Ok(points.join("\n"))
}

/// As `sha256sum` writes and checks them.
fn sums(out: &Path) -> Result<String> {
    let mut sums = String::new();
    for file in listed(out, |name| name != SUMS && !name.ends_with(".minisig"))? {
        let sum = hex::encode(Sha256::digest(std::fs::read(&file)?));
        let _ = writeln!(sums, "{sum}  {}", file_name(&file));
    }
    Ok(sums)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Files in the folder, by name.
fn listed(out: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(out).with_context(|| out.display().to_string())? {
        let path = entry?.path();
        if path.is_file() && wanted(&file_name(&path)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)
        .map(|_| ())
        .with_context(|| to.display().to_string())
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::write(path, content).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests;
