//! A server over a million files is ready at once: it must not walk them first.

use super::{Measured, ROOM_BYTES};
use crate::tools;
use anyhow::{Result, ensure};
use gfl_e2e::{Setup, http};
use std::fs;
use std::path::Path;
use std::time::Instant;

const FOLDERS: u32 = 1000;
const FILES_PER_FOLDER: u32 = 1000;
const SECONDS_MAX: f64 = 1.0;

pub(super) fn measure() -> Result<Vec<Measured>> {
    let work = tools::roomy_temp(ROOM_BYTES)?;
    let root = work.path().join("server");
    make_files(&root.join("data"))?;
    let mut server = Setup::default().at(&root).prepare();
    let mut out = Vec::new();
    for start in ["first start", "second start, after listing folders"] {
        let began = Instant::now();
        server.restart();
        let ready = server.http().get("/readyz");
        let seconds = began.elapsed().as_secs_f64();
        ensure!(ready.status == 200, "/readyz: {}", ready.text());
        out.push(Measured::below(
            format!("ready with 1,000,000 files, {start}"),
            seconds,
            SECONDS_MAX,
            "s",
        ));
        let answer = server
            .http()
            .get(format!("{}?limit=1000", http::file("d0500/")));
        let seen = answer.json()["entries"].as_array().map_or(0, Vec::len);
        out.push(Measured::holds(
            "… and lists a folder of 1000",
            seen == 1000,
            seen.to_string(),
        ));
    }
    server.kill9();
    Ok(out)
}

fn make_files(data: &Path) -> Result<()> {
    println!("making 1,000,000 files …");
    for folder in 0..FOLDERS {
        let dir = data.join(format!("d{folder:04}"));
        fs::create_dir_all(&dir)?;
        for file in 0..FILES_PER_FOLDER {
            fs::write(dir.join(format!("f{file:04}")), file.to_le_bytes())?;
        }
    }
    Ok(())
}
