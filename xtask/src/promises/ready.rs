//! A server over a million files is ready at once: it must neither walk them nor read their rows first.

use super::{Measured, ROOM_BYTES};
use crate::tools;
use anyhow::{Result, anyhow, ensure};
use gfl_e2e::{Request, Server, Setup, frames, http};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

const FOLDERS: u32 = 1000;
const FILES_PER_FOLDER: u32 = 1000;
const SECONDS_MAX: f64 = 1.0;
/// Connections that fill the second server.
const LANES: u32 = 2;

pub(super) fn measure() -> Result<Vec<Measured>> {
    let mut out = by_hand()?;
    out.extend(uploaded()?);
    Ok(out)
}

/// A folder that was there before the server: no row knows it.
fn by_hand() -> Result<Vec<Measured>> {
    let work = tools::roomy_temp(ROOM_BYTES)?;
    let root = work.path().join("server");
    make_files(&root.join("data"))?;
    let mut server = Setup::default().at(&root).prepare();
    Ok(vec![
        start(&mut server, "made by hand")?,
        start(&mut server, "made by hand, second start")?,
    ])
}

/// Every file has its row, and the server was killed.
fn uploaded() -> Result<Vec<Measured>> {
    let work = tools::roomy_temp(ROOM_BYTES)?;
    let mut server = Setup::default().at(&work.path().join("server")).start();
    println!("uploading 1,000,000 files …");
    let began = Instant::now();
    upload_files(&server)?;
    let rate = f64::from(FOLDERS * FILES_PER_FOLDER) / began.elapsed().as_secs_f64();
    server.kill9();
    Ok(vec![start(
        &mut server,
        &format!("uploaded at {rate:.0} files/s, killed"),
    )?])
}

/// From exec to the first 200 of /readyz; then a listing proves that the files are there.
fn start(server: &mut Server, what: &str) -> Result<Measured> {
    server.kill9();
    let began = Instant::now();
    server.restart();
    let ready = server.http().get("/readyz");
    let seconds = began.elapsed().as_secs_f64();
    ensure!(ready.status == 200, "/readyz: {}", ready.text());
    let answer = server.http().get(http::file("d0500/"));
    let seen = answer.json()["entries"].as_array().map_or(0, Vec::len);
    ensure!(
        seen == FILES_PER_FOLDER as usize,
        "a folder shows {seen} files: {}",
        answer.text()
    );
    Ok(Measured::below(
        format!("ready with 1,000,000 files {what}"),
        seconds,
        SECONDS_MAX,
        "s",
    ))
}

fn name(folder: u32, file: u32) -> String {
    format!("d{folder:04}/f{file:04}")
}

fn make_files(data: &Path) -> Result<()> {
    println!("making 1,000,000 files …");
    for folder in 0..FOLDERS {
        fs::create_dir_all(data.join(format!("d{folder:04}")))?;
        for file in 0..FILES_PER_FOLDER {
            fs::write(data.join(name(folder, file)), file.to_le_bytes())?;
        }
    }
    Ok(())
}

fn upload_files(server: &Server) -> Result<()> {
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES)
            .map(|lane| {
                scope.spawn(move || {
                    let http = server.http();
                    (lane..FOLDERS)
                        .step_by(LANES as usize)
                        .try_for_each(|folder| {
                            let files: Vec<(String, Vec<u8>)> = (0..FILES_PER_FOLDER)
                                .map(|file| (name(folder, file), file.to_le_bytes().to_vec()))
                                .collect();
                            let request = Request::new("POST", "/v1/bulk")
                                .header("Content-Type", "application/vnd.gfl.bulk")
                                .body(frames::put_body(&files));
                            let answer = http.try_send(&request)?;
                            let stored = answer.text().matches("\"status\":201").count();
                            ensure!(
                                stored == files.len(),
                                "folder {folder}: {stored} files stored"
                            );
                            Ok(())
                        })
                })
            })
            .collect();
        lanes
            .into_iter()
            .try_for_each(|l| l.join().map_err(|_| anyhow!("a lane panicked"))?)
    })
}
