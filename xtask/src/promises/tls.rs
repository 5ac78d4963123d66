//! What encryption costs in memory: many connections by TLS that do nothing at the moment.

use super::Measured;
use super::memory::{ask, megabytes, raise_limit};
use anyhow::{Context, Result};
use gfl_e2e::{Conn, Setup};

const IDLE_CONNECTIONS: usize = 1000;
/// Each connection has keys and buffers of its own, which makes it dearer than a plain one: some 30 KB, beside the
/// 15 MB that a server takes by itself. 45 to 50 MB were measured, and the limit leaves room for that spread.
const IDLE_MEGABYTES_MAX: f64 = 60.0;

/// The handshakes are part of it: a server that needs much for them needs it whenever many clients come at once.
pub(super) fn measure() -> Result<Vec<Measured>> {
    let server = Setup::default().with("tls_self_signed", true).start();
    raise_limit()?;
    let mut idle = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        let mut conn = Conn::open_tls(server.addr())?;
        ask(&server, &mut conn)?;
        idle.push(conn);
    }
    // Once more: they must have stayed open all the time, or the figure means nothing.
    for (n, conn) in idle.iter_mut().enumerate() {
        ask(&server, conn).with_context(|| format!("idle TLS connection {n}"))?;
    }
    Ok(vec![Measured::below(
        "peak memory, 1000 idle TLS connections",
        megabytes(&server),
        IDLE_MEGABYTES_MAX,
        "MB",
    )])
}
