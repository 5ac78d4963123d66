//! Thirty old clients at once must not need thirty times their chunks. The limit is for release builds;
//! a debug build reports (`cargo xtask promises` measures it properly).

use crate::common::assert_file;
use gfl_e2e::{Server, data, v0};

const UPLOADS: u64 = 30;
const BYTES: usize = 3 << 20;
const PEAK_KIB_MAX: u64 = 50_000_000 / 1024;

#[test]
fn thirty_parallel_v0_uploads() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for n in 0..UPLOADS {
            let server = &server;
            scope.spawn(move || {
                let content = data::bytes(n, BYTES);
                v0::upload(&server.http(), &format!("v0/file{n}"), &content, 1 << 20);
            });
        }
    });
    let peak = server.peak_kib();
    println!("peak memory with {UPLOADS} parallel v0 uploads: {peak} KiB");
    for n in 0..UPLOADS {
        assert_file(
            &server.http(),
            &format!("v0/file{n}"),
            &data::bytes(n, BYTES),
        );
    }
    if !cfg!(debug_assertions) {
        assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
    }
}

#[test]
fn a_chunk_of_the_largest_size_is_not_held_in_memory() {
    let server = Server::start();
    let content = data::bytes(1, 32 << 20);
    v0::upload(&server.http(), "one/chunk", &content, content.len());
    assert_file(&server.http(), "one/chunk", &content);
    let peak = server.peak_kib();
    println!("peak memory with a 32 MiB v0 chunk: {peak} KiB");
    if !cfg!(debug_assertions) {
        assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
    }
}
