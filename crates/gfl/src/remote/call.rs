//! One request after another: fields that every request has, errors out of answers, and trying again.
//!
//! Knows nothing of what is asked for. Whether a request may be repeated is the caller's knowledge: [`Http::retrying`]
//! for those that may, [`Http::once`] for those that must not take effect twice.

use super::body::Body;
use super::connection::{Answer, Pool};
use super::retry::{Attempts, Moment, Retries, Wait};
use super::tls::{Certificate, Trust};
use super::{Error, Result, url::Origin};
use bytes::Bytes;
use gfl_api::http::HttpDate;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// Bytes of an error body that are looked at.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a JSON answer: the longest page of a listing with the longest paths stays below.
const JSON_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long nothing may move before a connection counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The server has something to send at once.
    Usual,
    /// The server may have to write or hash much before it answers.
    Long,
}

impl Patience {
    /// How long, where a server usually may take `stall`.
    fn of(self, stall: Duration) -> Duration {
        match self {
            Self::Usual => stall,
            Self::Long => stall.saturating_mul(10),
        }
    }
}

/// A request to be sent.
pub(crate) struct Call {
    method: Method,
    target: String,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Body,
    patience: Patience,
    is_anonymous: bool,
}

/// A failure that is followed by another try.
pub(crate) struct Pause<'a> {
    /// Why.
    pub(crate) error: &'a Error,
    /// Who is waited for.
    pub(crate) origin: &'a Origin,
    /// How long.
    pub(crate) wait: Wait,
}

/// Is told of every pause; of none when the server answers again.
type OnPause = dyn Fn(Option<&Pause<'_>>) + Send + Sync;

/// What all connections of a run found out about the server.
#[derive(Default)]
struct Seen {
    /// It answered, and not only to say that it cannot.
    was_there: AtomicBool,
    is_waited_for: AtomicBool,
}

/// A server and what every request to it carries. Cloning shares the connections.
#[derive(Clone)]
pub(crate) struct Http {
    pool: Arc<Pool>,
    authorization: Option<HeaderValue>,
    retries: Retries,
    stall: Duration,
    on_pause: Arc<OnPause>,
    seen: Arc<Seen>,
    /// Whether a transfer that broke off goes on where it stopped.
    is_resumed: bool,
}

impl Call {
    /// A request for `target`: an encoded path with or without query, as in `/v1/files/a`.
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            fields: Vec::new(),
            body: Body::Empty,
            patience: Patience::Usual,
            is_anonymous: false,
        }
    }

    /// A GET.
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    /// Adds a field. Every value here is made by us; one that cannot stand in a field is left out.
    pub(crate) fn field(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.fields.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// Adds a field if there is a value.
    pub(crate) fn field_if(self, name: &'static str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Sets the body.
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Sets a JSON body.
    pub(crate) fn json(self, value: &impl Serialize) -> Self {
        self.json_as("application/json", value)
    }

    /// Sets a JSON body of a type of its own.
    pub(crate) fn json_as(self, content_type: &str, value: &impl Serialize) -> Self {
        // Bodies of gfl-api are plain data, which always serialises.
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        self.field("content-type", content_type)
            .body(Body::Full(Bytes::from(bytes)))
    }

    /// Sends no token: whoever answers need not have earned it.
    pub(crate) fn anonymous(mut self) -> Self {
        self.is_anonymous = true;
        self
    }

    /// Sets how long the server may take.
    pub(crate) fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }
}

impl Http {
    /// A server that is asked with this token.
    pub(crate) fn new(
        origin: Origin,
        trust: Trust,
        token: Option<&str>,
        retries: Retries,
        stall: Duration,
        on_pause: impl Fn(Option<&Pause<'_>>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let authorization = match token {
            None => None,
            Some(token) => {
                let mut value =
                    HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                        Error::new(
                            super::Kind::Auth,
                            "the token holds characters that no token has",
                        )
                        .with_hint("copy it again; a token is 64 hex digits")
                    })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self {
            pool: Pool::new(origin, trust),
            authorization,
            retries,
            stall,
            on_pause: Arc::new(on_pause),
            seen: Arc::default(),
            is_resumed: true,
        })
    }

    /// The same server, which cannot continue a transfer that broke off.
    pub(crate) fn unresumed(mut self) -> Self {
        self.is_resumed = false;
        self
    }

    /// Whom we talk to.
    pub(crate) fn origin(&self) -> &Origin {
        self.pool.origin()
    }

    /// The certificate that the server showed; none before the first connection and without encryption.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        self.pool.certificate()
    }

    /// Begins a piece of work that may take several tries.
    pub(crate) fn attempts(&self) -> Attempts {
        self.retries.begin()
    }

    /// One request. An answer of 400 or above is an error.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer> {
        let origin = self.pool.origin();
        let mut request = Request::new(call.body);
        let makes_nothing = matches!(call.method, Method::GET | Method::HEAD | Method::DELETE);
        *request.method_mut() = call.method;
        *request.uri_mut() = format!("{}{}", origin.prefix, call.target)
            .parse()
            .map_err(|_| Error::protocol(format!("not a request target: {}", call.target)))?;
        let fields = request.headers_mut();
        let host = HeaderValue::from_str(&origin.authority)
            .map_err(|_| Error::protocol(format!("not a host name: {origin}")))?;
        fields.insert(header::HOST, host);
        fields.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(authorization) = &self.authorization
            && !call.is_anonymous
        {
            fields.insert(header::AUTHORIZATION, authorization.clone());
        }
        fields.extend(call.fields);
        let answer = self
            .pool
            .send(request, call.patience.of(self.stall))
            .await?;
        let answer = match answer.head.status.as_u16() {
            status @ 400.. if makes_nothing => Err(refusal(status, answer).await.of_reading()),
            status @ 400.. => Err(refusal(status, answer).await),
            _ => Ok(answer),
        };
        if !matches!(&answer, Err(error) if error.is_absence()) {
            self.is_there();
        }
        answer
    }

    fn is_there(&self) {
        self.seen.was_there.store(true, Relaxed);
        if self.seen.is_waited_for.swap(false, Relaxed) {
            (self.on_pause)(None);
        }
    }

    /// As [`Http::send`], again and again while that may help. Only for requests that may take effect twice.
    pub(crate) async fn retrying(&self, mut call: impl FnMut() -> Call) -> Result<Answer> {
        let mut attempts = self.attempts();
        loop {
            match self.send(call()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause(&mut attempts, error).await?,
            }
        }
    }

    /// As [`Http::send`], again only if the server surely did nothing: it was not reached, or said so.
    pub(crate) async fn once(&self, mut call: impl FnMut() -> Call) -> Result<Answer> {
        let mut attempts = self.attempts();
        loop {
            match self.send(call()).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.was_not_done() => self.pause(&mut attempts, error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// A JSON answer to a request that may be repeated.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        mut call: impl FnMut() -> Call,
    ) -> Result<T> {
        let mut attempts = self.attempts();
        loop {
            let failed = match self.send(call()).await {
                Ok(answer) => match parse_json(answer).await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.pause(&mut attempts, failed).await?;
        }
    }

    /// Waits before the next try, or gives the error back if there is to be none.
    pub(crate) async fn pause(&self, attempts: &mut Attempts, error: Error) -> Result<()> {
        let was_there = self.seen.was_there.load(Relaxed);
        let wait = match attempts.failed(&error, Moment::now(was_there)) {
            Ok(wait) => wait,
            Err(why) => return Err(error.given_up(why, was_there && self.is_resumed)),
        };
        self.seen.is_waited_for.store(true, Relaxed);
        (self.on_pause)(Some(&Pause {
            error: &error,
            origin: self.origin(),
            wait,
        }));
        tokio::time::sleep(wait.delay).await;
        Ok(())
    }
}

/// Names us in the server's log.
const USER_AGENT: &str = concat!("gfl/", env!("CARGO_PKG_VERSION"));

/// Reads a JSON answer.
pub(crate) async fn parse_json<T: DeserializeOwned>(answer: Answer) -> Result<T> {
    let body = answer.bytes(JSON_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Error::protocol(format!(
            "the server's answer is not what v1 promises: {error}"
        ))
    })
}

async fn refusal(status: u16, answer: Answer) -> Error {
    let retry_after = answer
        .header("retry-after")
        .and_then(|text| delay_of(text, SystemTime::now()));
    // The status is known; an error text that cannot be read changes nothing.
    let body = answer.bytes(PROBLEM_BYTES_MAX).await.unwrap_or_default();
    Error::from_answer(status, &body, retry_after)
}

/// `Retry-After`: seconds, or a date.
fn delay_of(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let HttpDate(date) = HttpDate::parse(text)?;
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(date).ok()?);
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(delay_of("5", now), Some(Duration::from_secs(5)));
        assert_eq!(
            delay_of("Sun, 06 Nov 1994 08:49:37 GMT", now),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            delay_of("Sat, 06 Nov 1993 08:49:37 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(delay_of("soon", now), None);
    }
}
