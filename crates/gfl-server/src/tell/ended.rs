//! What is told about a request when it has ended: its log line, the line of the file it moved, the counters, and
//! what goes to the access log. All from the same values, so that the numbers agree.

use super::classify::{Direction, Purpose, Transfer, purpose};
use super::meters::CLIENT_LEFT;
use crate::body::Body;
use crate::facts::{Facts, Many, Stored, logged};
use crate::incoming::Received;
use crate::server::Server;
use gfl_core::access::{Access, Action};
use http::header::CONTENT_RANGE;
use http::{Method, Response, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request from its head to the last byte of its answer. One that is dropped before was left by its client.
pub struct Watch {
    server: Arc<Server>,
    started: Instant,
    peer: String,
    method: Method,
    /// The target without its query: v0 has paths there, others might put secrets there.
    path: String,
    received: Received,
    facts: Arc<Facts>,
    told: bool,
}

/// How a request ended.
#[derive(Debug, Clone, Default)]
struct End {
    status: u16,
    bytes_out: u64,
    complete: bool,
    /// Of a download: the range it was about, and that this is not the last one of the file.
    range: Option<String>,
    goes_on: bool,
}

/// What the end means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Moved {
    files: u64,
    failed: u64,
    bytes: u64,
}

impl Watch {
    /// Of a request whose head is there.
    pub fn new(
        server: &Arc<Server>,
        peer: String,
        (method, path): (&Method, &str),
        received: Received,
        facts: &Arc<Facts>,
    ) -> Watch {
        Watch {
            server: Arc::clone(server),
            started: Instant::now(),
            peer,
            method: method.clone(),
            path: path.to_owned(),
            received,
            facts: Arc::clone(facts),
            told: false,
        }
    }

    /// The answer, with a watch on its end.
    pub fn over(mut self, answer: Response<Body>) -> Response<Body> {
        let status = answer.status();
        let (range, goes_on) = range(&answer);
        let transfer = self.purpose().transfer;
        let down = transfer.filter(|t| t.direction == Direction::Down && sends_content(status));
        let answer = match down {
            Some(transfer) => {
                self.facts.moves(&self.server.meters, transfer);
                answer.map(|body| body.counted(self.server.meters.bytes(transfer)))
            }
            None => answer,
        };
        answer.map(|body| {
            body.on_end(Box::new(move |bytes_out, complete| {
                self.tell(&End {
                    status: status.as_u16(),
                    bytes_out,
                    complete,
                    range,
                    goes_on,
                });
            }))
        })
    }

    fn purpose(&self) -> Purpose {
        purpose(self.facts.route_or_none(), &self.method, &self.path)
    }

    fn tell(&mut self, end: &End) {
        self.told = true;
        let took = self.started.elapsed();
        let purpose = self.purpose();
        let moved = self.moved(&purpose, end);
        self.log_request(&purpose, end, took);
        let meters = &self.server.meters;
        meters.request(&self.method, self.facts.route_or_none(), end.status, took);
        if let Some(transfer) = purpose.transfer {
            self.tell_transfer(transfer, end, moved, took);
        }
        if let Some(action) = purpose.action {
            self.record(action, end, moved, took);
        }
    }

    /// Files and bytes of content.
    fn moved(&self, purpose: &Purpose, end: &End) -> Moved {
        let Some(transfer) = purpose.transfer else {
            return Moved {
                failed: self.facts.counted().map_or(0, Many::failures),
                ..Moved::default()
            };
        };
        let good = end.status < 400;
        let bytes = match transfer.direction {
            Direction::Up => self.received.bytes().unwrap_or(0),
            Direction::Down if good => end.bytes_out,
            Direction::Down => 0,
        };
        let (files, failed) = match (self.facts.counted(), transfer.direction) {
            (Some(many), _) => (many.successes(), many.failures()),
            (None, Direction::Up) => (u64::from(self.facts.stored().is_some()), 0),
            (None, Direction::Down) => (u64::from(good && end.complete && !end.goes_on), 0),
        };
        Moved {
            files,
            failed,
            bytes,
        }
    }

    fn log_request(&self, purpose: &Purpose, end: &End, took: Duration) {
        let facts = &self.facts;
        let who = self.who();
        let route = facts.route_or_none();
        let (peer, method, path) = (&self.peer, &self.method, logged(&self.path));
        let action = purpose.action.map(Action::name);
        let file = facts.file();
        let many = facts.counted();
        let files = many.map(Many::files);
        let failed = many.map(Many::failures);
        let (first_failed, problem) = many.and_then(Many::first_failed).unzip();
        let bytes_in = self.received.bytes();
        let (status, bytes_out, ms) = (end.status, end.bytes_out, millis(took));
        let (complete, request_id) = (end.complete, &facts.id);
        // A member that is none is not written.
        if status >= 500 || !complete {
            tracing::warn!(target: "gfl_server::request", %peer, who, %method, route, action, path, file, files, failed,
                first_failed, problem, status, bytes_in, bytes_out, ms, complete, request_id, "request");
        } else {
            tracing::info!(target: "gfl_server::request", %peer, who, %method, route, action, path, file, files, failed,
                first_failed, problem, status, bytes_in, bytes_out, ms, request_id, "request");
        }
    }

    /// The line and the counters of a transfer that has ended. A part that arrived has not ended one.
    fn tell_transfer(&self, transfer: Transfer, end: &End, moved: Moved, took: Duration) {
        let many = self.facts.counted();
        let stored = self.facts.stored();
        if transfer.direction == Direction::Up && !self.facts.has_begun() && stored.is_none() {
            // Refused before its content was looked at.
            return;
        }
        let Some(outcome) = outcome(transfer, end, moved, many.is_some()) else {
            return;
        };
        let meters = &self.server.meters;
        meters.files(transfer, "complete", moved.files);
        meters.files(transfer, "failed", moved.failed);
        if matches!(outcome, "failed" | "aborted") {
            meters.files(transfer, outcome, 1);
        }
        let bytes = stored.map_or(moved.bytes, |stored| stored.bytes);
        let arrived = self.received.bytes().unwrap_or(0);
        let ms = match stored {
            // A session has taken longer than its last request.
            Some(Stored {
                began_ms: Some(began_ms),
                ..
            }) => u64::try_from(self.server.app.now_ms() - began_ms).ok(),
            // How long the chunks of v0 took altogether is not known.
            Some(stored) if stored.bytes > arrived => None,
            _ => Some(millis(took)),
        };
        let rate = ms.map(|ms| bytes.saturating_mul(1000) / ms.max(1));
        let (direction, protocol) = (transfer.direction.name(), transfer.protocol.name());
        let (peer, who, file) = (&self.peer, self.who(), self.facts.file());
        let files = moved.files;
        let failed = many.map(|_| moved.failed);
        let (range, request_id) = (&end.range, &self.facts.id);
        if end.goes_on && outcome == "complete" {
            // One of the many ranges of a parallel download; the last one tells of the file.
            tracing::debug!(target: "gfl_server::transfer", %peer, who, direction, protocol, file, range, files, bytes,
                ms, rate, outcome, request_id, "transfer");
            return;
        }
        tracing::info!(target: "gfl_server::transfer", %peer, who, direction, protocol, file, range, files, failed,
            bytes, ms, rate, outcome, request_id, "transfer");
    }

    fn record(&self, action: Action, end: &End, moved: Moved, took: Duration) {
        let facts = &self.facts;
        self.server.app.record(Access {
            at_ms: self.server.app.now_ms(),
            who: facts.who.get().cloned().unwrap_or_default(),
            token: facts.token.get().cloned(),
            peer: self.peer.clone(),
            action,
            path: facts.named().map(str::to_owned),
            status: end.status,
            complete: end.complete,
            files: moved.files,
            failed: moved.failed,
            bytes: moved.bytes,
            size: facts.stored().map(|stored| stored.bytes),
            ms: millis(took),
            request: facts.id.clone(),
        });
    }

    fn who(&self) -> String {
        let who = self.facts.who.get();
        who.map_or_else(|| "-".into(), |who| logged(who))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&End {
                status: CLIENT_LEFT,
                ..End::default()
            });
        }
    }
}

/// How a transfer ended; none when it has not ended, or never began.
fn outcome(transfer: Transfer, end: &End, moved: Moved, many: bool) -> Option<&'static str> {
    let cut = !end.complete || matches!(end.status, 408 | CLIENT_LEFT);
    let good = end.status < 400;
    match (transfer.direction, many) {
        (_, true) if good || moved.files + moved.failed > 0 => Some(match (cut, moved.failed) {
            (true, _) => "aborted",
            (false, 0) => "complete",
            (false, _) => "partial",
        }),
        (Direction::Down, false) if sends_content_code(end.status) => {
            Some(if cut { "aborted" } else { "complete" })
        }
        (Direction::Up, false) if moved.files > 0 => Some("complete"),
        (Direction::Up, _) if moved.bytes > 0 && cut => Some("aborted"),
        (Direction::Up, _) if moved.bytes > 0 && !good => Some("failed"),
        _ => None,
    }
}

fn sends_content(status: StatusCode) -> bool {
    sends_content_code(status.as_u16())
}

fn sends_content_code(status: u16) -> bool {
    matches!(status, 200 | 206)
}

/// The range that an answer is about, and whether it ends before the file does: of the ranges that make up a file
/// one goes up to its end.
fn range(answer: &Response<Body>) -> (Option<String>, bool) {
    let field = answer.headers().get(CONTENT_RANGE);
    // One without this field has several ranges in it.
    let field = field.filter(|_| answer.status() == StatusCode::PARTIAL_CONTENT);
    let Some(text) = field.and_then(|field| field.to_str().ok()) else {
        return (None, false);
    };
    let goes_on = gfl_api::http::ContentRange::parse(text)
        .and_then(|parsed| Some(parsed.range?.end < parsed.total?))
        .unwrap_or(false);
    (Some(text.to_owned()), goes_on)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::classify::Protocol;
    use super::*;

    fn end(status: u16, complete: bool) -> End {
        End {
            status,
            complete,
            ..End::default()
        }
    }

    #[test]
    fn outcomes() {
        let of = |direction, status, complete, (files, failed, bytes), many| {
            let transfer = Transfer {
                direction,
                protocol: Protocol::V1,
            };
            let moved = Moved {
                files,
                failed,
                bytes,
            };
            outcome(transfer, &end(status, complete), moved, many)
        };
        let up = |status, complete, moved| of(Direction::Up, status, complete, moved, false);
        assert_eq!(up(201, true, (1, 0, 5)), Some("complete"));
        // Stored although nobody took the answer.
        assert_eq!(up(201, false, (1, 0, 5)), Some("complete"));
        assert_eq!(up(204, true, (0, 0, 5)), None, "a part");
        assert_eq!(up(403, true, (0, 0, 0)), None, "refused before it began");
        assert_eq!(up(507, true, (0, 0, 5)), Some("failed"));
        assert_eq!(up(408, true, (0, 0, 5)), Some("aborted"));
        assert_eq!(up(CLIENT_LEFT, false, (0, 0, 5)), Some("aborted"));
        let down = |status, complete| of(Direction::Down, status, complete, (0, 0, 5), false);
        assert_eq!(down(200, true), Some("complete"));
        assert_eq!(down(206, false), Some("aborted"));
        assert_eq!((down(304, true), down(404, true)), (None, None));
        let many = |direction, complete, moved| of(direction, 200, complete, moved, true);
        assert_eq!(many(Direction::Up, true, (3, 0, 5)), Some("complete"));
        assert_eq!(many(Direction::Down, true, (3, 1, 5)), Some("partial"));
        assert_eq!(many(Direction::Up, false, (3, 0, 5)), Some("aborted"));
    }

    #[test]
    fn one_range_of_a_file_reaches_its_end() {
        let goes_on = |status: u16, field: &str| {
            let mut answer = Response::builder().status(status);
            if !field.is_empty() {
                answer = answer.header(CONTENT_RANGE, field);
            }
            let (range, goes_on) = range(&answer.body(Body::empty()).unwrap());
            assert_eq!(range.unwrap_or_default(), field);
            goes_on
        };
        assert!(goes_on(206, "bytes 0-8/10"));
        assert!(!goes_on(206, "bytes 5-9/10") && !goes_on(206, "bytes 0-9/10"));
        assert!(!goes_on(200, "") && !goes_on(206, ""), "several ranges");
    }
}
