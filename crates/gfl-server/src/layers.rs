//! What happens to every request, whatever its route, in one visible order: id, route (a panic costs one request),
//! rest of the body, HEAD, common header fields, one log line when the last byte is sent.
//! Knows no route.

use crate::body::Body;
use crate::facts::{Facts, logged};
use crate::incoming::RequestBody;
use crate::problem::{Failure, TextFailure};
use crate::router;
use crate::server::{Asked, Call, Head, Server};
use crate::standing::{REVOKED, Standing};
use crate::tell::ended::Watch;
use futures_util::FutureExt;
use gfl_api::http::X_REQUEST_ID;
use gfl_api::problem::Code;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue, SERVER};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Characters of a client's own request id.
const REQUEST_ID_CHARS_MAX: usize = 64;

impl Server {
    /// Answers a request. The flag says whether the connection can be used for another.
    pub async fn handle(
        self: &Arc<Self>,
        peer: IpAddr,
        request: Request<RequestBody>,
    ) -> (Response<Body>, bool) {
        let from = From {
            peer,
            is_local: peer.is_loopback() && !is_forwarded(request.headers()),
            is_admin: false,
        };
        self.answer(from, request).await
    }

    /// Answers a request from the administrator's socket.
    pub async fn handle_admin(self: &Arc<Self>, request: Request<RequestBody>) -> Response<Body> {
        let from = From {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_local: true,
            is_admin: true,
        };
        self.answer(from, request).await.0
    }

    async fn answer(
        self: &Arc<Self>,
        mut from: From,
        request: Request<RequestBody>,
    ) -> (Response<Body>, bool) {
        let (parts, body) = request.into_parts();
        let limits = self.limits();
        from.peer = limits.connections.trusted.client(from.peer, &parts.headers);
        let rest = body.rest();
        let expects_continue = parts.headers.contains_key(EXPECT);
        let is_h2 = parts.version == Version::HTTP_2;
        let facts = Arc::new(Facts::new(request_id(&parts.headers)));
        let target = (&parts.method, parts.uri.path());
        let watch = Watch::new(self, from.shown(), target, body.received(), &facts);
        let is_head = parts.method == Method::HEAD;
        let call = Call::new(Asked {
            server: Arc::clone(self),
            peer: from.peer,
            is_local: from.is_local,
            is_admin: from.is_admin,
            method: parts.method,
            head: Head::new(parts.uri, parts.headers),
            body,
            facts: Arc::clone(&facts),
        });
        let mut answer = match AssertUnwindSafe(router::route(call)).catch_unwind().await {
            Ok(answer) => answer,
            Err(panic) => panicked(panic.as_ref(), &facts.id),
        };
        if answer.status().as_u16() >= 400 && facts.is_revoked.load(Relaxed) {
            // Not that the body broke off, which it did for this reason.
            self.meters.auth_failed("revoked");
            answer = match facts.route_or_none() {
                route if route.starts_with("/v1") => {
                    Failure::new(Code::Unauthenticated, REVOKED).into_answer(&facts.id)
                }
                _ => TextFailure::new(StatusCode::UNAUTHORIZED, REVOKED).into_answer(&facts.id),
            };
        }
        if answer.status().is_success() {
            answer = answer.map(|body| body.only_while(Standing::of(self, &facts)));
        }
        let mut reusable = rest.settle(expects_continue).await;
        if is_h2 && !reusable {
            // Over HTTP/2 an unread body ends its own stream, and nothing else.
            rest.outlive_the_answer();
            reusable = true;
        }
        dress(&mut answer, &facts.id, reusable);
        if is_head {
            answer = answer.map(Body::without_bytes);
        }
        (watch.over(answer), reusable)
    }
}

impl Server {
    /// Whether a request is answered now, without a line in the log. On a task of its own, as requests are.
    pub async fn probe(self: &Arc<Self>) -> bool {
        let (method, uri) = (Method::GET, Uri::from_static("/livez"));
        let call = Call::new(Asked {
            server: Arc::clone(self),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_local: true,
            is_admin: false,
            method,
            head: Head::new(uri, HeaderMap::new()),
            body: RequestBody::empty(),
            facts: Arc::default(),
        });
        let answer = tokio::spawn(router::route(call)).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }
}

/// Where a request comes from.
struct From {
    peer: IpAddr,
    is_local: bool,
    is_admin: bool,
}

impl From {
    /// For log and access log.
    fn shown(&self) -> String {
        if self.is_admin {
            return "local".to_owned();
        }
        self.peer.to_string()
    }
}

/// Whether a proxy passed it on: behind one on this machine everybody seems to be local.
fn is_forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// The answer to a request whose handler panicked: a defect, told to the log and not to the client.
fn panicked(panic: &(dyn std::any::Any + Send), request_id: &str) -> Response<Body> {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(request_id, "a request handler panicked: {}", logged(&what));
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
}
