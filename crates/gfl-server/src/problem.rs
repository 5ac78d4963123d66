//! Errors on their way out: a core error becomes a problem (v1) or a line of text (v0).
//! The only place that says which kind is which code and status.

use crate::body::Body;
use crate::facts::logged;
use gfl_api::problem::{CONTENT_TYPE, Code, Problem};
use gfl_core::error::Fact;
use gfl_core::{Error, Kind};
use http::header::{
    ALLOW, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use serde_json::Value;

/// An answer, or why there is none.
pub type Outcome<T = Response<Body>> = Result<T, Failure>;

/// Seconds after which a client that was turned away for load may come again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// A v1 error before it is written down.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    detail: String,
    members: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<String>,
}

impl Failure {
    /// A failure; `detail` says what happened and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Failure {
        let mut headers = Vec::new();
        if matches!(code, Code::Busy | Code::Unavailable | Code::RateLimited) {
            headers.push((RETRY_AFTER, RETRY_AFTER_S));
        }
        if code == Code::Unauthenticated {
            headers.push((
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"gfl\""),
            ));
            headers.push((
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"gfl\""),
            ));
        }
        Failure {
            code,
            detail: detail.into(),
            members: Vec::new(),
            headers,
            cause: None,
        }
    }

    /// A malformed request.
    pub fn invalid(detail: impl Into<String>) -> Failure {
        Failure::new(Code::InvalidRequest, detail)
    }

    /// A method that the resource does not have; `allow` lists those it has.
    pub fn method(allow: &'static str) -> Failure {
        Failure::new(Code::MethodNotAllowed, format!("this resource has {allow}"))
            .header(ALLOW, HeaderValue::from_static(allow))
    }

    /// Adds a machine-readable member.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Into<Value>) -> Failure {
        self.members.push((member, value.into()));
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Failure {
        self.headers.push((name, value));
        self
    }

    /// Names the path that the request is about, in the way of the core, where what is wrong with the request was
    /// found by somebody who did not know it.
    #[must_use]
    pub fn about(mut self, path: Option<&str>) -> Failure {
        let of_the_request = matches!(
            self.code,
            Code::InvalidRequest | Code::LengthMismatch | Code::NotFound | Code::TooLarge
        );
        if let Some(path) = path.filter(|_| of_the_request) {
            self.detail = gfl_core::error::naming(self.detail, path);
        }
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        status_of(self.code)
    }

    /// The numeric member `name`, if there is one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.members
            .iter()
            .find(|(n, _)| *n == name)
            .and_then(|(_, value)| value.as_u64())
    }

    /// The problem, for a body or for one line of an answer to many operations. Writes the cause to the log.
    pub fn into_problem(self, request_id: &str) -> Problem {
        self.log(request_id);
        let mut problem = Problem::new(self.code).with_status(status_of(self.code));
        if !self.detail.is_empty() {
            problem = problem.with_detail(self.detail);
        }
        for (member, value) in self.members {
            problem = problem.with(member, value);
        }
        problem
    }

    /// The answer.
    pub fn into_answer(mut self, request_id: &str) -> Response<Body> {
        let headers = std::mem::take(&mut self.headers);
        let status =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = self.into_problem(request_id).with_request_id(request_id);
        let mut answer = Response::new(Body::full(problem.to_json()));
        *answer.status_mut() = status;
        answer
            .headers_mut()
            .insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
        for (name, value) in headers {
            answer.headers_mut().append(name, value);
        }
        answer
    }

    fn log(&self, request_id: &str) {
        let Some(cause) = &self.cause else {
            return;
        };
        // That a part of the system is away is told once, and not by every request that needs it.
        if self.code == Code::Unavailable {
            tracing::debug!(request_id, "{}: {cause}", logged(&self.detail));
        } else {
            tracing::warn!(
                request_id,
                code = self.code.as_str(),
                "{}: {cause}",
                logged(&self.detail)
            );
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let mut failure = Failure::new(code_of(error.kind()), error.message());
        failure.members = error
            .facts()
            .iter()
            .map(|(name, fact)| (*name, json(fact)))
            .collect();
        failure.cause = causes(&error);
        failure
    }
}

impl From<gfl_api::PathError> for Failure {
    fn from(error: gfl_api::PathError) -> Failure {
        let code = match error {
            gfl_api::PathError::Reserved(_) => Code::ReservedPath,
            _ => Code::InvalidPath,
        };
        Failure::new(code, error.to_string())
    }
}

/// What stands behind an error, for the log; control characters cannot forge lines there.
pub fn causes(error: &Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    let mut chain = Vec::new();
    while let Some(cause) = source {
        chain.push(logged(&cause.to_string()));
        source = cause.source();
    }
    (!chain.is_empty()).then(|| chain.join(": "))
}

fn json(fact: &Fact) -> Value {
    match fact {
        Fact::Number(n) => Value::from(*n),
        Fact::Ranges(ranges) => ranges
            .iter()
            .map(|(a, b)| Value::from(vec![*a, *b]))
            .collect(),
    }
}

/// The code of a kind.
pub fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidRequest,
        Kind::InvalidPath => Code::InvalidPath,
        Kind::ReservedPath => Code::ReservedPath,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Forbidden => Code::Forbidden,
        Kind::NotFound => Code::NotFound,
        Kind::UploadGone => Code::UploadGone,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::IsADirectory => Code::IsADirectory,
        Kind::NotADirectory => Code::NotADirectory,
        Kind::NotEmpty => Code::NotEmpty,
        Kind::Conflict => Code::Conflict,
        Kind::OffsetMismatch => Code::OffsetMismatch,
        Kind::RangeOverlap => Code::RangeOverlap,
        Kind::UploadIncomplete => Code::UploadIncomplete,
        Kind::NameCollision => Code::NameCollision,
        Kind::PreconditionFailed => Code::PreconditionFailed,
        Kind::DigestMismatch => Code::DigestMismatch,
        Kind::LengthMismatch => Code::LengthMismatch,
        Kind::TooLarge => Code::TooLarge,
        Kind::NameNotStorable => Code::NameNotStorable,
        Kind::RangeNotSatisfiable => Code::RangeNotSatisfiable,
        Kind::StorageFull => Code::StorageFull,
        Kind::ReadOnlyStorage => Code::ReadOnlyStorage,
        Kind::StoragePermission => Code::StoragePermission,
        Kind::Busy => Code::Busy,
        Kind::ClientGone => Code::Timeout,
        Kind::OutcomeUnknown => Code::OutcomeUnknown,
        Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    }
}

/// The status of a code, as docs/http-api.md lists it.
pub fn status_of(code: Code) -> u16 {
    match code {
        // The id of an upload is a secret of its owner: gone, foreign and never there look the same.
        Code::UploadGone => 404,
        Code::Quota => 507,
        code => code.status(),
    }
}

/// A v0 error: a line of text.
#[derive(Debug)]
pub struct TextFailure {
    /// The status.
    pub status: StatusCode,
    /// The text, without the newline.
    pub text: String,
    /// For the log only.
    pub cause: Option<String>,
}

impl TextFailure {
    /// A failure with its exact text.
    pub fn new(status: StatusCode, text: impl Into<String>) -> TextFailure {
        TextFailure {
            status,
            text: text.into(),
            cause: None,
        }
    }

    /// The answer as Go's `http.Error` writes it.
    pub fn into_answer(self, request_id: &str) -> Response<Body> {
        match &self.cause {
            Some(cause) if self.status == StatusCode::SERVICE_UNAVAILABLE => {
                tracing::debug!(request_id, "{}: {cause}", logged(&self.text));
            }
            Some(cause) => tracing::warn!(request_id, "{}: {cause}", logged(&self.text)),
            None => {}
        }
        let mut answer = Response::new(Body::full(self.text + "\n"));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        headers.insert(
            CONTENT_TYPE_HEADER,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::UNAUTHORIZED {
            // v0.1 sent neither; old clients ignore them, curl and wget need them.
            headers.append(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"gfl\""),
            );
            headers.append(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"gfl\""),
            );
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_documented_status() {
        let documented = [
            ("invalid-request", 400),
            ("reserved-path", 400),
            ("digest-mismatch", 400),
            ("unauthenticated", 401),
            ("forbidden", 403),
            ("storage-permission", 403),
            ("not-found", 404),
            ("upload-gone", 404),
            ("timeout", 408),
            ("name-collision", 409),
            ("precondition-failed", 412),
            ("too-large", 413),
            ("range-not-satisfiable", 416),
            ("name-not-storable", 422),
            ("internal", 500),
            ("outcome-unknown", 500),
            ("read-only-storage", 503),
            ("storage-full", 507),
            ("quota", 507),
        ];
        for (text, status) in documented {
            assert_eq!(status_of(Code::parse(text)), status, "{text}");
        }
    }

    #[test]
    fn a_core_error_keeps_its_facts_and_hides_its_cause() {
        let error = Error::new(Kind::OffsetMismatch, "wrong offset")
            .with("expected-offset", Fact::Number(5))
            .with("received", Fact::Ranges(vec![(0, 5)]))
            .caused_by(std::io::Error::other("/srv/secret\n"));
        let failure = Failure::from(error);
        assert_eq!(failure.number("expected-offset"), Some(5));
        assert_eq!(failure.cause.as_deref(), Some("/srv/secret\\n"));
        let problem = failure.into_problem("r1");
        assert_eq!((problem.status, problem.code), (409, Code::OffsetMismatch));
        assert_eq!(problem.extensions["received"], serde_json::json!([[0, 5]]));
        assert!(!problem.to_json().contains("secret"));
    }

    #[test]
    fn a_401_offers_both_schemes() {
        let answer = Failure::new(Code::Unauthenticated, "x").into_answer("r");
        assert_eq!(answer.headers().get_all(WWW_AUTHENTICATE).iter().count(), 2);
        let text = TextFailure::new(StatusCode::UNAUTHORIZED, "x").into_answer("r");
        assert_eq!(text.headers().get_all(WWW_AUTHENTICATE).iter().count(), 2);
    }
}
