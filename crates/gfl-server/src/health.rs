//! Whether the process lives and whether it can serve, for load balancers and supervisors. Tells nothing else.

use crate::body::Body;
use crate::server::Call;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

/// `/livez`: the process answers.
pub fn live(call: &Call) -> Response<Body> {
    call.route("/livez");
    answer(call, StatusCode::OK, "ok\n")
}

/// `/readyz` and `/healthz`: catalog and store can be written, and the server is not about to end.
pub async fn ready(call: &Call) -> Response<Body> {
    call.route("/readyz");
    if call.server.is_draining() {
        return answer(call, StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    if call.server.readiness.is_ready().await {
        answer(call, StatusCode::OK, "ok\n")
    } else {
        answer(call, StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

fn answer(call: &Call, status: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !matches!(call.method, Method::GET | Method::HEAD) {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return answer;
    }
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    *answer.status_mut() = status;
    *answer.body_mut() = Body::full(text);
    answer
}
