//! What happens to every request, whatever its route, in one visible order: id, route (a panic costs one request),
//! rest of the body, HEAD, common header fields, one log line when the last byte is sent.
//! Knows no route.

use crate::body::Body;
use crate::incoming::RequestBody;
use crate::problem::Failure;
use crate::router;
use crate::server::{Call, Facts, Server};
use futures_util::FutureExt;
use gfl_api::http::X_REQUEST_ID;
use gfl_api::problem::Code;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue, SERVER};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// Characters of a client's own request id.
const REQUEST_ID_CHARS_MAX: usize = 64;
/// Characters of a request's target in the log.
const LOGGED_PATH_CHARS_MAX: usize = 256;

impl Server {
    /// Answers a request. The flag says whether the connection can be used for another.
    pub async fn handle(
        self: &Arc<Self>,
        peer: IpAddr,
        request: Request<RequestBody>,
    ) -> (Response<Body>, bool) {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let rest = body.rest();
        let expects_continue = parts.headers.contains_key(EXPECT);
        let is_h2 = parts.version == Version::HTTP_2;
        let facts = Arc::new(Facts {
            id: request_id(&parts.headers),
            ..Facts::default()
        });
        let line = LogLine {
            started,
            peer,
            method: parts.method.clone(),
            path: logged_path(parts.uri.path()),
            facts: Arc::clone(&facts),
        };
        let call = Call {
            server: Arc::clone(self),
            peer,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            facts,
        };
        let mut answer = match AssertUnwindSafe(router::route(call)).catch_unwind().await {
            Ok(answer) => answer,
            Err(panic) => panicked(panic.as_ref(), &line.facts.id),
        };
        let mut reusable = rest.settle(expects_continue).await;
        if is_h2 && !reusable {
            rest.outlive_the_answer();
            reusable = true;
        }
        dress(&mut answer, &line.facts.id, reusable);
        (finish(answer, line), reusable)
    }
}

/// The answer to a request whose handler panicked: a defect, told to the log and not to the client.
fn panicked(panic: &(dyn std::any::Any + Send), request_id: &str) -> Response<Body> {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(
        request_id,
        "a request handler panicked: {}",
        what.escape_debug()
    );
    Failure::new(
        Code::Internal,
        "the server has a defect; its log tells more",
    )
    .into_answer(request_id)
}

/// Adds what every answer carries.
fn dress(answer: &mut Response<Body>, request_id: &str, reusable: bool) {
    let len = answer.body().exact_len();
    let bodiless = matches!(
        answer.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let headers = answer.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("gfl"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    if !reusable {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(len) = len
        && !bodiless
        && !headers.contains_key(CONTENT_LENGTH)
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
}

fn finish(answer: Response<Body>, line: LogLine) -> Response<Body> {
    let status = answer.status();
    let head = line.method == Method::HEAD;
    answer.map(|body| {
        let body = if head { body.without_bytes() } else { body };
        body.on_end(Box::new(move |bytes, complete| {
            line.write(status, bytes, complete)
        }))
    })
}

/// The client's id if it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers
        .get(X_REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| {
            (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        });
    given.map_or_else(new_id, str::to_owned)
}

fn new_id() -> String {
    let mut bytes = [0; 8];
    // An id only helps to find lines in a log; without randomness it is useless but harmless.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

/// The target without its query (v0 has paths there, others might put secrets there), fit for one line.
fn logged_path(path: &str) -> String {
    path.chars()
        .take(LOGGED_PATH_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect()
}

/// The log line of one request.
struct LogLine {
    started: Instant,
    peer: IpAddr,
    method: Method,
    path: String,
    facts: Arc<Facts>,
}

impl LogLine {
    fn write(self, status: StatusCode, bytes: u64, complete: bool) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let who = self
            .facts
            .who
            .get()
            .map_or_else(|| "-".to_owned(), |who| who.escape_debug().to_string());
        let route = self.facts.route.get().copied().unwrap_or("-");
        let (peer, method, path, request_id) =
            (self.peer, &self.method, &self.path, &self.facts.id);
        let status = status.as_u16();
        if status >= 500 || !complete {
            tracing::warn!(%peer, who, %method, route, path, status, bytes, ms, complete, request_id, "request");
        } else {
            tracing::info!(%peer, who, %method, route, path, status, bytes, ms, request_id, "request");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_request_ids_are_taken_over() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(id("a.B-9_"), "a.B-9_");
        for bad in ["", "a b", "a;b", &"x".repeat(65)] {
            let made = id(bad);
            assert!(made != bad && made.len() == 16, "{bad:?} {made:?}");
        }
    }

    #[test]
    fn paths_cannot_forge_log_lines() {
        assert_eq!(logged_path("/a\nb\u{1b}[0m"), "/a\\nb\\u{1b}[0m");
        assert!(logged_path(&"x".repeat(9999)).len() <= LOGGED_PATH_CHARS_MAX);
    }
}
