//! Bodies as clients send them, whole and broken.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gfl_core::catalog::Db;
use gfl_core::files::{BodyBroken, BodyStream};
use sha2::{Digest, Sha256};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;
pub(crate) const GROUP: usize = 64 * KIB;

/// Bytes that differ everywhere and between seeds.
pub(crate) fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32])
        .finalize_xof()
        .fill(&mut out);
    out
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

fn items(data: &[u8], frame: usize) -> Vec<Result<Bytes, BodyBroken>> {
    data.chunks(frame.max(1))
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect()
}

/// A whole body in one frame.
pub(crate) fn body(data: &[u8]) -> BodyStream {
    framed(data, data.len())
}

/// A whole body in frames of this size, with an empty one in front.
pub(crate) fn framed(data: &[u8], frame: usize) -> BodyStream {
    let mut all = vec![Ok(Bytes::new())];
    all.extend(items(data, frame));
    Box::pin(stream::iter(all))
}

/// Breaks after these bytes.
pub(crate) fn broken(data: &[u8], frame: usize) -> BodyStream {
    let mut all = items(data, frame);
    all.push(Err(BodyBroken("connection reset".to_owned())));
    Box::pin(stream::iter(all))
}

/// Sends these bytes and then nothing, for ever.
pub(crate) fn stuck(data: &[u8]) -> BodyStream {
    Box::pin(stream::iter(items(data, 100 * KIB)).chain(stream::pending()))
}

/// Runs one statement outside the application (making and dropping a test's schema).
pub(crate) async fn statement(url: &str, sql: String) {
    let sql: &'static str = sql.leak();
    let db = Db::open_postgres(&url.parse().unwrap(), 1).await.unwrap();
    db.write("test", sql, |tx, sql| Box::pin(tx.exec(sql, &[])))
        .await
        .unwrap();
    db.close().await;
}
