//! `cargo xtask demo`: real input through a real server, with both sides killed on the way. The input is
//! what every Rust machine has: the sources cargo unpacked, and one large file made from them.

use crate::table::{Table, grouped};
use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use gfl_e2e::proxy::Proxy;
use gfl_e2e::tree::{self, Summary};
use gfl_e2e::{Gfl, Server, Setup, bins, data};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

const LARGE_BYTES_MIN: u64 = 1 << 30;
/// Source, server and download of the large file, and room for everything else.
const ROOM_BYTES: u64 = 6 << 30;
/// A transfer that was cut is started again at most so often.
const ATTEMPTS_MAX: u32 = 5;

/// Runs the demonstration; an error unless every digest matched.
pub(crate) fn run() -> Result<()> {
    println!("building gfl-server, gfl and gfl-admin …");
    let folder = tools::build("release")?;
    bins::set_folder(&folder);
    let work = tools::roomy_temp(ROOM_BYTES)?;
    println!("working in {}", work.path().display());
    let sources = unpacked_sources()?;
    println!("reading {} …", sources.display());
    let small = tree::summary(&sources)?;
    ensure!(small.files > 0, "{} holds no files", sources.display());
    let large_path = work.path().join("large.bin");
    let large = make_large(&sources, &large_path)?;

    let mut demo = Demo::start(work.path());
    demo.folder(&sources, &small, work.path())?;
    demo.large(&large_path, &large, work.path())?;
    demo.table.print();
    println!(
        "\"sent twice\" is what went over the wire beyond the content itself, protocol included; \
         measured between client and server."
    );
    demo.verdict()
}

/// Where cargo unpacked the crates this program is built from.
fn unpacked_sources() -> Result<PathBuf> {
    let metadata = tools::metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let registry = packages.iter().find(|p| {
        p["source"]
            .as_str()
            .is_some_and(|s| s.starts_with("registry+") || s.starts_with("sparse+"))
    });
    let manifest = registry.and_then(|p| p["manifest_path"].as_str());
    let manifest = Path::new(manifest.context("no crate comes from a registry")?);
    let folder = manifest
        .ancestors()
        .nth(2)
        .context("a manifest lies two levels deep")?;
    Ok(folder.to_path_buf())
}

/// One file out of all the small ones, again and again until it is large enough.
fn make_large(sources: &Path, to: &Path) -> Result<Summary> {
    let mut files = tree::files(sources)?;
    files.sort();
    let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(to)?);
    let mut bytes = 0;
    while bytes < LARGE_BYTES_MIN {
        for file in &files {
            bytes += io::copy(&mut fs::File::open(file)?, &mut out)?;
        }
    }
    out.flush()?;
    let digest = data::b3_of(fs::File::open(to)?)?;
    Ok(Summary {
        files: 1,
        bytes,
        digest,
    })
}

/// Which side is killed when half of the bytes have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Nobody,
    Client,
    Server,
}

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

struct Demo {
    server: Server,
    proxy: Proxy,
    gfl: Gfl,
    table: Table,
    wrong: Vec<String>,
}

impl Demo {
    fn start(work: &Path) -> Demo {
        let server = Setup::default().at(&work.join("server")).start();
        let proxy = Proxy::start(server.addr());
        let gfl = Gfl::at(&proxy.url(), server.token());
        let table = Table::new(&[
            "transfer",
            "files",
            "bytes",
            "seconds",
            "MB/s",
            "files/s",
            "sent twice",
        ]);
        Demo {
            server,
            proxy,
            gfl,
            table,
            wrong: Vec::new(),
        }
    }

    fn folder(&mut self, sources: &Path, small: &Summary, work: &Path) -> Result<()> {
        let from = sources.to_string_lossy();
        let back = work.join("back");
        let to = back.to_string_lossy();
        self.transfer(
            "folder up, client killed",
            small,
            Way::Up,
            Kill::Client,
            &["put", &from, "crates"],
        )?;
        self.compare(
            "folder on the server",
            small,
            &self.server.data().join("crates"),
        )?;
        self.transfer(
            "folder down",
            small,
            Way::Down,
            Kill::Nobody,
            &["get", "crates", &to],
        )?;
        self.compare("folder after download", small, &back)
    }

    fn large(&mut self, path: &Path, large: &Summary, work: &Path) -> Result<()> {
        let from = path.to_string_lossy();
        let back = work.join("large.back");
        let to = back.to_string_lossy();
        self.transfer(
            "large file up, server killed",
            large,
            Way::Up,
            Kill::Server,
            &["put", &from, "large.bin"],
        )?;
        self.compare_file(
            "large file on the server",
            large,
            &self.server.data().join("large.bin"),
        )?;
        self.transfer(
            "large file down, client killed",
            large,
            Way::Down,
            Kill::Client,
            &["get", "large.bin", &to],
        )?;
        self.compare_file("large file after download", large, &back)
    }

    fn passed(&self, way: Way) -> u64 {
        match way {
            Way::Up => self.proxy.up(),
            Way::Down => self.proxy.down(),
        }
    }

    /// Runs one client command to success, with one kill halfway.
    fn transfer(
        &mut self,
        name: &str,
        what: &Summary,
        way: Way,
        kill: Kill,
        args: &[&str],
    ) -> Result<()> {
        println!("{name} …");
        let (began, before) = (Instant::now(), self.passed(way));
        let mut killed = kill == Kill::Nobody;
        for attempt in 1..=ATTEMPTS_MAX {
            let mut child = self.gfl.spawn(args);
            if !killed {
                killed = self.interrupt(&mut child, kill, way, before + what.bytes / 2)?;
            }
            if child.wait()?.success() {
                break;
            }
            ensure!(
                attempt < ATTEMPTS_MAX,
                "gfl {} fails every time",
                args.join(" ")
            );
        }
        ensure!(killed, "{name}: was finished before the kill");
        let seconds = began.elapsed().as_secs_f64();
        let wire = self.passed(way) - before;
        self.table.row(vec![
            name.to_owned(),
            grouped(what.files),
            grouped(what.bytes),
            format!("{seconds:.2}"),
            format!("{:.1}", what.bytes as f64 / 1e6 / seconds),
            format!("{:.0}", what.files as f64 / seconds),
            grouped(wire.saturating_sub(what.bytes)),
        ]);
        Ok(())
    }

    /// Kills when `threshold` bytes have passed. False if the client was faster.
    fn interrupt(
        &mut self,
        child: &mut Child,
        kill: Kill,
        way: Way,
        threshold: u64,
    ) -> Result<bool> {
        while self.passed(way) < threshold {
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match kill {
            Kill::Client => child.kill()?,
            Kill::Server => {
                self.server.kill9();
                self.server.restart();
                self.proxy.set_target(self.server.addr());
            }
            Kill::Nobody => {}
        }
        Ok(true)
    }

    fn compare(&mut self, name: &str, want: &Summary, dir: &Path) -> Result<()> {
        let got = tree::summary(dir).with_context(|| format!("reading {}", dir.display()))?;
        if got != *want {
            self.wrong
                .push(format!("{name}: {got:?} instead of {want:?}"));
        }
        Ok(())
    }

    fn compare_file(&mut self, name: &str, want: &Summary, file: &Path) -> Result<()> {
        let source = fs::File::open(file).with_context(|| format!("opening {}", file.display()))?;
        let got = data::b3_of(source)?;
        if got != want.digest {
            self.wrong
                .push(format!("{name}: {got} instead of {}", want.digest));
        }
        Ok(())
    }

    fn verdict(self) -> Result<()> {
        if !self.wrong.is_empty() {
            bail!("digests differ:\n{}", self.wrong.join("\n"));
        }
        println!("every digest matched");
        println!("ok");
        Ok(())
    }
}
