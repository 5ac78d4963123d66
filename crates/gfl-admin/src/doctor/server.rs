//! The server that runs with this configuration, if one does: its version, whether it can be reached, and what it
//! says of itself.

use super::disk::descriptors;
use super::report::{Check, Report};
use crate::socket;
use gfl_api::v1::AdminCheck;
use gfl_server::start::Plan;
use rustix::process::{Resource, getrlimit};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

const NAME: &str = "server";
/// A server on this machine answers sooner.
const CONNECT_S_MAX: u64 = 3;

/// What became of asking.
#[derive(Debug)]
pub(super) enum Server {
    /// It runs, and said this.
    Runs(Box<AdminCheck>),
    /// It does not run.
    Stopped,
    /// It could not be asked.
    Unknown,
}

/// Asks it.
pub(super) fn ask(plan: &Plan, report: &mut Report) -> Server {
    match socket::get::<AdminCheck>(&plan.settings.meta_dir, "/v1/admin/check") {
        Ok(Some(check)) => {
            report.extend(judge(&check));
            report.extend(reachable(&plan.address).into_iter().collect());
            Server::Runs(Box::new(check))
        }
        Ok(None) => {
            report.add(
                Check::warn(NAME, "no server runs with this configuration")
                    .remedy("start gfl-server; what it alone knows was not looked at"),
            );
            let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
            report.add(descriptors(None, limit));
            Server::Stopped
        }
        Err(error) => {
            report.add(Check::fail(NAME, format!("{error:#}")));
            Server::Unknown
        }
    }
}

fn judge(check: &AdminCheck) -> Vec<Check> {
    let ours = env!("CARGO_PKG_VERSION");
    let text = format!("version {} runs as process {}", check.version, check.pid);
    let mut found = vec![if check.version == ours {
        Check::ok(NAME, text)
    } else {
        Check::warn(NAME, format!("{text}, and this gfl-admin is {ours}"))
            .remedy("restart the server after an update, and use the gfl-admin that came with it")
    }];
    if check.draining {
        found.push(Check::warn(NAME, "is about to end: it takes nothing new"));
    }
    if let Some(trouble) = &check.storage_trouble {
        found.push(
            Check::fail(NAME, format!("the storage cannot be written: {trouble}"))
                .remedy("the server's log tells the cause"),
        );
    }
    if check.access_dropped > 0 {
        let text = format!(
            "{} rows of the access log were dropped since the start: the catalog did not take them in time",
            check.access_dropped
        );
        found.push(
            Check::warn(NAME, text).remedy("see gfl_queue_length and the log for what holds it up"),
        );
    }
    if let Some(max) = check.files_max {
        found.push(descriptors(check.files_open, max));
    }
    found
}

/// Whether somebody listens where the configuration says.
fn reachable(address: &str) -> Option<Check> {
    let target = match address.rsplit_once(':') {
        // A port that was chosen at the start cannot be known.
        Some((_, "0")) | None => return None,
        Some(("" | "0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        Some(_) => address.to_owned(),
    };
    let addresses: Vec<SocketAddr> = target.to_socket_addrs().ok()?.collect();
    let wait = Duration::from_secs(CONNECT_S_MAX);
    let connected = addresses
        .iter()
        .any(|address| TcpStream::connect_timeout(address, wait).is_ok());
    Some(if connected {
        Check::ok(NAME, format!("answers at {target}"))
    } else {
        Check::fail(NAME, format!("does not answer at {target}"))
            .remedy("was it started with other options than this configuration? does a firewall stand in between?")
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_that_answers_and_one_that_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in [
            format!("127.0.0.1:{port}"),
            format!(":{port}"),
            format!("0.0.0.0:{port}"),
        ] {
            assert_eq!(reachable(&address).unwrap().state(), State::Ok, "{address}");
        }
        drop(listener);
        let gone = reachable(&format!("127.0.0.1:{port}")).unwrap();
        assert_eq!(gone.state(), State::Fail);
        assert!(reachable("127.0.0.1:0").is_none());
    }

    #[test]
    fn what_a_server_says_is_judged() {
        let good = AdminCheck {
            version: env!("CARGO_PKG_VERSION").into(),
            files_open: Some(30),
            files_max: Some(20_000),
            ..AdminCheck::default()
        };
        let states =
            |check: &AdminCheck| -> Vec<State> { judge(check).iter().map(Check::state).collect() };
        assert_eq!(states(&good), [State::Ok, State::Ok]);
        let bad = AdminCheck {
            version: "0.1".into(),
            draining: true,
            storage_trouble: Some("full".into()),
            access_dropped: 3,
            ..good
        };
        assert_eq!(
            states(&bad),
            [
                State::Warn,
                State::Warn,
                State::Fail,
                State::Warn,
                State::Ok
            ]
        );
    }
}
