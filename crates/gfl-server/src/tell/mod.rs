//! What the server tells about itself: the log lines of requests and transfers, `/metrics`, and what goes to the
//! access log. All of it is made in one place when a request has ended ([`ended`]), so that the numbers agree.
//! Must not decide anything a client can see, but who may read the metrics.

pub mod classify;
pub mod ended;
pub mod meters;
pub mod metrics;
pub mod page;
pub mod process;
