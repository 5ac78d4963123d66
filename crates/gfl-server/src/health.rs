//! Whether the process lives and whether it can serve, for load balancers and supervisors. What they are told names
//! the part that is red and no path: nobody has to log in for it. The log tells the rest.

use crate::body::Body;
use crate::query::Query;
use crate::readiness::report::Report;
use crate::server::Call;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use std::sync::Arc;

/// `/livez`: the process answers.
pub fn live(call: &Call) -> Response<Body> {
    call.route("/livez");
    answer(call, StatusCode::OK, "ok\n")
}

/// `/readyz` and `/healthz`: everything that has to work does, and the server is not about to end.
pub async fn ready(call: &Call) -> Response<Body> {
    call.route("/readyz");
    if call.server.is_draining() {
        let ending = Report::ending();
        return answer(call, StatusCode::SERVICE_UNAVAILABLE, ending.text());
    }
    let report = call.server.readiness.look().await;
    let report = report.unwrap_or_else(|| Arc::new(Report::silent()));
    if !report.is_ready() {
        answer(call, StatusCode::SERVICE_UNAVAILABLE, report.text())
    } else if Query::parse(call.uri().query()).get("verbose").is_some() {
        answer(call, StatusCode::OK, report.text())
    } else {
        answer(call, StatusCode::OK, "ok\n")
    }
}

fn answer(call: &Call, status: StatusCode, text: impl Into<String>) -> Response<Body> {
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
    *answer.body_mut() = Body::full(text.into());
    answer
}
