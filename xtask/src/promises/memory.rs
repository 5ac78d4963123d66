//! Many connections, many transfers, little memory: plain HTTP over a tree store.

use super::{MEGABYTES_MAX, Measured};
use crate::tools;
use anyhow::{Context, Result, anyhow, ensure};
use gfl_e2e::data::{self, Stream};
use gfl_e2e::{Conn, Request, Server, Setup, http, v0};
use std::sync::Barrier;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const IDLE_CONNECTIONS: usize = 1000;
/// The server closes connections that were silent for 75 s.
const ASK_AGAIN: Duration = Duration::from_secs(30);
const TRANSFERS_EACH_WAY: usize = 25;
const TRANSFER_BYTES: u64 = 96 << 20;
const V0_UPLOADS: usize = 30;
const V0_CHUNKS: u32 = 8;
const V0_CHUNK_BYTES: usize = 1 << 20;
/// Sockets of this process: idle ones, active ones, and some for the rest.
const DESCRIPTORS: u64 = 4096;

pub(super) fn measure() -> Result<Vec<Measured>> {
    let many = {
        let work = tools::roomy_temp(8 << 30)?;
        // Started before this process raises its own limit: the server has to look after itself.
        let server = Setup::default().at(&work.path().join("server")).start();
        raise_limit()?;
        many_connections(&server)?
    };
    let server = Server::start();
    parallel_v0(&server)?;
    let v0 = megabytes(&server);
    Ok(vec![
        Measured::below(
            "peak memory, 1000 connections open, 50 transfers",
            many,
            MEGABYTES_MAX,
            "MB",
        ),
        Measured::below(
            "peak memory, 30 parallel v0 uploads",
            v0,
            MEGABYTES_MAX,
            "MB",
        ),
    ])
}

pub(super) fn megabytes(server: &Server) -> f64 {
    server.peak_kib() as f64 * 1024.0 / 1e6
}

pub(super) fn raise_limit() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|now| now < DESCRIPTORS) {
        limit.current = Some(limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS));
        setrlimit(Resource::Nofile, limit).context("raising the limit of open files")?;
    }
    Ok(())
}

fn many_connections(server: &Server) -> Result<f64> {
    let http = server.http();
    for n in 0..TRANSFERS_EACH_WAY {
        let mut source = Stream::new(n as u64, 0, TRANSFER_BYTES);
        let request = Request::new("PUT", http::file(&format!("down/{n}")));
        let answer = http.upload(&request, TRANSFER_BYTES, &mut source)?;
        ensure!(
            answer.status == 201,
            "filling the server: {}",
            answer.text()
        );
    }
    let idle: Vec<Conn> = (0..IDLE_CONNECTIONS)
        .map(|_| idle_connection(server))
        .collect::<Result<_>>()?;
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let keeper = scope.spawn(move || keep_open(server, idle, &stopped));
        let done = transfers(server);
        drop(stop);
        keeper
            .join()
            .map_err(|_| anyhow!("the idle connections panicked"))??;
        done
    })?;
    Ok(megabytes(server))
}

fn transfers(server: &Server) -> Result<()> {
    let start = Barrier::new(TRANSFERS_EACH_WAY * 2);
    let done: Vec<Result<()>> = thread::scope(|scope| {
        let start = &start;
        let workers: Vec<_> = (0..TRANSFERS_EACH_WAY)
            .flat_map(|n| {
                let up = scope.spawn(move || send_one(server, n, start));
                let down = scope.spawn(move || receive_one(server, n, start));
                [up, down]
            })
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().map_err(|_| anyhow!("a transfer panicked"))?)
            .collect()
    });
    done.into_iter().collect()
}

/// Asks something on each idle connection, more often than the server gives up on silent ones, until told to stop,
/// and once more after that: they must have stayed open all the time, or the figure means nothing.
fn keep_open(server: &Server, mut idle: Vec<Conn>, stopped: &Receiver<()>) -> Result<()> {
    loop {
        let last = stopped.recv_timeout(ASK_AGAIN) != Err(RecvTimeoutError::Timeout);
        for (n, conn) in idle.iter_mut().enumerate() {
            ask(server, conn).with_context(|| format!("idle connection {n}"))?;
        }
        if last {
            return Ok(());
        }
    }
}

fn idle_connection(server: &Server) -> Result<Conn> {
    let mut conn = Conn::open(server.addr())?;
    ask(server, &mut conn)?;
    Ok(conn)
}

pub(super) fn ask(server: &Server, conn: &mut Conn) -> Result<()> {
    conn.send(&server.http().head(&Request::new("GET", "/livez"), None))?;
    let answer = conn.answer("GET")?;
    ensure!(answer.status == 200, "/livez: {}", answer.status);
    Ok(())
}

fn send_one(server: &Server, n: usize, start: &Barrier) -> Result<()> {
    let http = server.http();
    let mut source = Stream::new(1000 + n as u64, 0, TRANSFER_BYTES);
    start.wait();
    let request = Request::new("PUT", http::file(&format!("up/{n}")));
    let answer = http.upload(&request, TRANSFER_BYTES, &mut source)?;
    ensure!(answer.status == 201, "upload {n}: {}", answer.text());
    Ok(())
}

fn receive_one(server: &Server, n: usize, start: &Barrier) -> Result<()> {
    let http = server.http();
    start.wait();
    let mut received = 0;
    let request = Request::new("GET", http::file(&format!("down/{n}")));
    let answer = http.download(&request, &mut |piece| received += piece.len() as u64)?;
    ensure!(
        answer.status == 200 && received == TRANSFER_BYTES,
        "download {n}: {received} bytes"
    );
    Ok(())
}

/// As thirty old clients would: each its own file, chunk after chunk.
fn parallel_v0(server: &Server) -> Result<()> {
    let done: Vec<Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..V0_UPLOADS)
            .map(|n| scope.spawn(move || v0_upload(server, n)))
            .collect();
        workers
            .into_iter()
            .map(|w| w.join().map_err(|_| anyhow!("an upload panicked"))?)
            .collect()
    });
    done.into_iter().collect()
}

fn v0_upload(server: &Server, n: usize) -> Result<()> {
    let content = data::bytes(n as u64, V0_CHUNK_BYTES * V0_CHUNKS as usize);
    let http = server.http();
    for (id, chunk) in content.chunks(V0_CHUNK_BYTES).enumerate() {
        let answer = http.try_send(&v0::request(
            &format!("v0/file{n}"),
            id as u32,
            V0_CHUNKS,
            chunk,
        ))?;
        ensure!(answer.status == 200, "v0 upload {n}: {}", answer.text());
    }
    Ok(())
}
