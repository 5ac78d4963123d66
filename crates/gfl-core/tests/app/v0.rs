//! v0 uploads: chunks by number.

use crate::bed::{Bed, DAY_MS, MINUTE_MS, caller, fails, path};
use crate::bodies::{GROUP, KIB, MIB, bytes, sha256};
use bytes::Bytes;
use gfl_api::tree::Root;
use gfl_core::auth::Caller;
use gfl_core::files::{Committed, V0Chunk};
use gfl_core::{Kind, Result};
use std::sync::Arc;

crate::cases! {
    chunks_in_any_order
    repeated_chunks_count_once
    odd_sizes_are_put_together
    one_chunk_is_a_file
    empty_files_and_empty_chunks
    another_number_of_chunks
    paths_with_the_same_prefix_do_not_mix
    peers_and_users_do_not_mix
    wrong_checksums_and_numbers
    the_status_tells_what_is_there
    chunks_survive_a_crash
    spools_leave_nothing
    abandoned_uploads_expire
    a_failed_completion_can_be_repeated
    thirty_at_once
}

pub(crate) async fn send_as(
    bed: &Bed,
    who: &Caller,
    at: &str,
    id: u32,
    total: u32,
    data: &[u8],
) -> Result<Option<Committed>> {
    let mut spool = bed.app().v0_spool(who)?;
    for piece in data.chunks(100_000) {
        spool.write(Bytes::copy_from_slice(piece)).await?;
    }
    let chunk = V0Chunk {
        path: path(at),
        chunk_id: id,
        total,
        sha256: Some(sha256(data)),
    };
    bed.app().v0_chunk(who, chunk, spool).await
}

pub(crate) async fn send(
    bed: &Bed,
    at: &str,
    id: u32,
    total: u32,
    data: &[u8],
) -> Result<Option<Committed>> {
    send_as(bed, &bed.me, at, id, total, data).await
}

/// Sends pieces in this order; the last one sent completes.
async fn send_all(bed: &Bed, at: &str, pieces: &[Vec<u8>], order: &[usize]) {
    let total = pieces.len() as u32;
    for (n, i) in order.iter().enumerate() {
        let done = send(bed, at, *i as u32, total, &pieces[*i]).await.unwrap();
        assert_eq!(done.is_some(), n + 1 == order.len(), "{order:?} at {n}");
    }
    let whole = pieces.concat();
    bed.has(at, &whole).await;
    let etag = Root::of(&whole).etag();
    assert_eq!(bed.stat(at).await.unwrap().etag(), Some(etag.as_str()));
}

pub(crate) fn split(data: &[u8], size: usize) -> Vec<Vec<u8>> {
    data.chunks(size).map(<[u8]>::to_vec).collect()
}

pub(crate) async fn nothing_left(bed: &Bed) {
    assert_eq!(bed.drafts().await, 0);
    assert!(
        bed.app()
            .v0_status(&bed.me, &path("f"))
            .await
            .unwrap()
            .is_none()
    );
}

async fn chunks_in_any_order(bed: &Bed) {
    for (size, len) in [
        (GROUP, 5 * GROUP),
        (300_000, MIB),
        (MIB, 3 * MIB + 1),
        (1000, 4001),
    ] {
        let pieces = split(&bytes(1, len), size);
        let n = pieces.len();
        let forward: Vec<usize> = (0..n).collect();
        let backward: Vec<usize> = (0..n).rev().collect();
        let inside_out: Vec<usize> = (0..n).map(|i| (i * 2 + 1) % n.max(1)).collect();
        send_all(bed, "f", &pieces, &forward).await;
        send_all(bed, "f", &pieces, &backward).await;
        let mut seen = inside_out.clone();
        seen.sort_unstable();
        if seen == forward {
            send_all(bed, "f", &pieces, &inside_out).await;
        }
        nothing_left(bed).await;
    }
}

async fn repeated_chunks_count_once(bed: &Bed) {
    let pieces = split(&bytes(1, 300_000), 100_000);
    for i in [0, 0, 1, 1, 0, 1] {
        assert!(
            send(bed, "f", i, 3, &pieces[i as usize])
                .await
                .unwrap()
                .is_none()
        );
    }
    // The last write of a number wins.
    send(bed, "f", 1, 3, &bytes(9, 100_000)).await.unwrap();
    send(bed, "f", 1, 3, &pieces[1]).await.unwrap();
    assert!(send(bed, "f", 2, 3, &pieces[2]).await.unwrap().is_some());
    bed.has("f", &pieces.concat()).await;
    nothing_left(bed).await;
}

async fn odd_sizes_are_put_together(bed: &Bed) {
    let sizes: [&[usize]; 5] = [
        &[10, 20, 30],
        &[MIB, 5, MIB, 700_000],
        &[5, 5, 6, 5],
        &[300_000, 300_000, 400_000],
        &[GROUP + 1, 1, GROUP - 1, 0, 3],
    ];
    for sizes in sizes {
        let pieces: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(i, n)| bytes(i as u8, *n))
            .collect();
        let n = pieces.len();
        let forward: Vec<usize> = (0..n).collect();
        send_all(bed, "f", &pieces, &forward).await;
        let backward: Vec<usize> = (0..n).rev().collect();
        send_all(bed, "f", &pieces, &backward).await;
        nothing_left(bed).await;
    }
}

async fn one_chunk_is_a_file(bed: &Bed) {
    for size in [0, 1, 200 * KIB, 256 * KIB, 2 * MIB + 1] {
        let data = bytes(1, size);
        send_all(bed, "f", std::slice::from_ref(&data), &[0]).await;
        nothing_left(bed).await;
    }
    assert_eq!(bed.app().count("upload").await.unwrap(), 0);
}

async fn empty_files_and_empty_chunks(bed: &Bed) {
    let empty: Vec<u8> = Vec::new();
    send_all(bed, "f", &[empty.clone(), empty.clone()], &[0, 1]).await;
    send_all(
        bed,
        "f",
        &[empty.clone(), b"abc".to_vec(), empty.clone()],
        &[0, 2, 1],
    )
    .await;
    send_all(bed, "f", &[b"abc".to_vec(), empty], &[1, 0]).await;
    nothing_left(bed).await;
}

async fn another_number_of_chunks(bed: &Bed) {
    let pieces = split(&bytes(1, 300_000), 100_000);
    send(bed, "f", 0, 3, &pieces[0]).await.unwrap();
    let error = send(bed, "f", 0, 2, &pieces[0]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(
        error.message(),
        "session error: chunk count mismatch: session has 3, request has 2"
    );
    bed.clock.advance_ms(MINUTE_MS);
    send(bed, "f", 0, 2, &pieces[0]).await.unwrap();
    assert_eq!(bed.drafts().await, 1, "the old session is gone");
    send(bed, "f", 1, 2, &pieces[1]).await.unwrap();
    bed.has("f", &pieces[..2].concat()).await;
    nothing_left(bed).await;
}

async fn paths_with_the_same_prefix_do_not_mix(bed: &Bed) {
    let (a, b) = (
        split(&bytes(1, 300_000), 100_000),
        split(&bytes(2, 300_000), 100_000),
    );
    for i in 0..3u32 {
        send(bed, "uploads/a.bin", i, 3, &a[i as usize])
            .await
            .unwrap();
        send(bed, "uploads/b.bin", 2 - i, 3, &b[2 - i as usize])
            .await
            .unwrap();
    }
    bed.has("uploads/a.bin", &a.concat()).await;
    bed.has("uploads/b.bin", &b.concat()).await;
    nothing_left(bed).await;
}

async fn peers_and_users_do_not_mix(bed: &Bed) {
    let callers = [
        caller("me", "10.0.0.1", &["upload"]),
        caller("me", "10.0.0.2", &["upload"]),
        caller("you", "10.0.0.1", &["upload"]),
    ];
    for who in &callers {
        assert!(
            send_as(bed, who, "f", 0, 2, who.peer().as_bytes())
                .await
                .unwrap()
                .is_none()
        );
    }
    for who in &callers {
        assert!(
            send_as(bed, who, "f", 1, 2, who.user().as_bytes())
                .await
                .unwrap()
                .is_some()
        );
        bed.has("f", format!("{}{}", who.peer(), who.user()).as_bytes())
            .await;
    }
    let reader = caller("r", "", &["download"]);
    fails(
        send_as(bed, &reader, "f", 0, 1, b"x").await,
        Kind::Forbidden,
    );
    fails(
        bed.app().v0_status(&reader, &path("f")).await,
        Kind::Forbidden,
    );
}

async fn wrong_checksums_and_numbers(bed: &Bed) {
    let mut spool = bed.app().v0_spool(&bed.me).unwrap();
    spool.write(Bytes::from(vec![1; MIB])).await.unwrap();
    let chunk = V0Chunk {
        path: path("f"),
        chunk_id: 0,
        total: 2,
        sha256: Some([7; 32]),
    };
    fails(
        bed.app().v0_chunk(&bed.me, chunk, spool).await,
        Kind::DigestMismatch,
    );
    for (id, total) in [(0, 0), (2, 2), (u32::MAX, 3)] {
        let error = send(bed, "f", id, total, b"x").await.unwrap_err();
        assert_eq!(
            error.message(),
            format!("invalid chunk ID: {id} (total: {total})")
        );
    }
    fails(send(bed, "f", 0, u32::MAX, b"x").await, Kind::TooLarge);
    bed.mkdir("dir").await;
    fails(send(bed, "dir", 0, 2, b"x").await, Kind::IsADirectory);
    assert_eq!(bed.app().count("upload").await.unwrap(), 0);
    nothing_left(bed).await;
}

async fn the_status_tells_what_is_there(bed: &Bed) {
    let status = async || bed.app().v0_status(&bed.me, &path("f")).await.unwrap();
    assert!(status().await.is_none());
    send(bed, "f", 2, 4, b"last?").await.unwrap();
    send(bed, "f", 0, 4, b"0").await.unwrap();
    let now = status().await.unwrap();
    assert_eq!(
        (now.total, now.received),
        (4, vec![true, false, true, false])
    );
    send(bed, "f", 1, 4, b"1").await.unwrap();
    send(bed, "f", 3, 4, b"3").await.unwrap();
    assert!(status().await.is_none());
    bed.has("f", b"01last?3").await;
}

async fn chunks_survive_a_crash(bed: &Bed) {
    let pieces = split(&bytes(1, 5 * 100_000 + 7), 100_000);
    for i in [5, 0, 3] {
        send(bed, "f", i, 6, &pieces[i as usize]).await.unwrap();
        bed.power_cut(0).await;
    }
    let status = bed
        .app()
        .v0_status(&bed.me, &path("f"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.received, [true, false, false, true, false, true]);
    for i in [1, 2, 4] {
        send(bed, "f", i, 6, &pieces[i as usize]).await.unwrap();
    }
    bed.has("f", &pieces.concat()).await;
    nothing_left(bed).await;
}

async fn spools_leave_nothing(bed: &Bed) {
    let mut spool = bed.app().v0_spool(&bed.me).unwrap();
    spool.write(Bytes::from(vec![1; MIB])).await.unwrap();
    assert_eq!((bed.drafts().await, spool.len()), (1, MIB as u64));
    // The client went away: no chunk is filed.
    drop(spool);
    while bed.drafts().await > 0 {
        tokio::task::yield_now().await;
    }
    // Large regular chunks are copied and their spools removed with the answer.
    for i in 0..2 {
        send(bed, "f", i, 3, &bytes(i as u8, MIB)).await.unwrap();
        assert_eq!(bed.drafts().await, 1);
    }
    send(bed, "f", 2, 3, b"end").await.unwrap();
    nothing_left(bed).await;
}

async fn abandoned_uploads_expire(bed: &Bed) {
    send(bed, "f", 1, 3, &bytes(1, 2 * MIB)).await.unwrap();
    send(bed, "f", 2, 3, &bytes(1, 3 * MIB)).await.unwrap();
    bed.clock.advance_ms(DAY_MS + 1);
    bed.jobs().await;
    assert_eq!(bed.app().count("upload").await.unwrap(), 0);
    nothing_left(bed).await;
}

async fn a_failed_completion_can_be_repeated(bed: &Bed) {
    for sizes in [[50_000, 50_000, 7], [50_000, 7, 50_000]] {
        let pieces: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(i, n)| bytes(i as u8, *n))
            .collect();
        send(bed, "f", 0, 3, &pieces[0]).await.unwrap();
        send(bed, "f", 1, 3, &pieces[1]).await.unwrap();
        bed.faults.fail(
            gfl_core::store::fault::Op::Publish,
            gfl_core::store::fault::Fault::Full,
            0,
            1,
        );
        fails(send(bed, "f", 2, 3, &pieces[2]).await, Kind::StorageFull);
        bed.is_gone("f").await;
        assert!(send(bed, "f", 2, 3, &pieces[2]).await.unwrap().is_some());
        bed.has("f", &pieces.concat()).await;
        nothing_left(bed).await;
        bed.delete("f").await.unwrap();
    }
}

async fn thirty_at_once(bed: &Bed) {
    let app = bed.app();
    let me = Arc::new(bed.me.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..30u8 {
        let (app, me) = (app.clone(), me.clone());
        tasks.spawn(async move {
            let data = bytes(n, 350_000);
            for (i, piece) in data.chunks(100_000).enumerate() {
                let mut spool = app.v0_spool(&me).unwrap();
                spool.write(Bytes::copy_from_slice(piece)).await.unwrap();
                let chunk = V0Chunk {
                    path: path(&format!("uploads/{n}.bin")),
                    chunk_id: i as u32,
                    total: 4,
                    sha256: None,
                };
                app.v0_chunk(&me, chunk, spool).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for n in 0..30u8 {
        bed.has(&format!("uploads/{n}.bin"), &bytes(n, 350_000))
            .await;
    }
    nothing_left(bed).await;
}
