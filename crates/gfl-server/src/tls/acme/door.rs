//! Where the authority asks whether a name is ours (RFC 8555 section 8.3): plain HTTP, one path, a few bytes.
//! Everything else there is answered 404. Open to the whole internet, so small in everything.

use crate::listen;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const PATH: &str = "/.well-known/acme-challenge/";
/// Questions at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 32;
/// One connection, from its beginning to its end.
const CONNECTION_MS_MAX: u64 = 10_000;
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Pause after accepting failed.
const ACCEPT_RETRY_MS: u64 = 1_000;

/// What is answered, by token.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<BTreeMap<String, String>>>);

impl Answers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, token: &str, answer: &str) {
        self.lock().insert(token.to_owned(), answer.to_owned());
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn to(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let token = request.uri().path().strip_prefix(PATH);
        let found = token.and_then(|token| self.lock().get(token).cloned());
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        let (status, text) = match found.filter(|_| is_get) {
            Some(answer) => (StatusCode::OK, answer),
            None => (
                StatusCode::NOT_FOUND,
                "only ACME challenges are answered here\n".into(),
            ),
        };
        let mut answer = Response::new(Full::from(text));
        *answer.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, plain);
        answer
    }
}

/// A listener for the authority.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    answers: Answers,
}

impl Door {
    pub(super) async fn open(address: &str) -> io::Result<Door> {
        Ok(Door {
            listener: listen::bind(address).await?,
            answers: Answers::default(),
        })
    }

    pub(super) fn answers(&self) -> Answers {
        self.answers.clone()
    }

    /// Answers for ever.
    pub(super) async fn serve(self) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let answers = self.answers.clone();
                    tokio::spawn(async move {
                        let limit = Duration::from_millis(CONNECTION_MS_MAX);
                        // Whoever asks badly or too slowly gets nothing.
                        let _ = timeout(limit, answer(stream, peer, answers)).await;
                        drop(slot);
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await,
            }
        }
    }
}

async fn answer(stream: TcpStream, peer: SocketAddr, answers: Answers) {
    let service = service_fn(|request| {
        let answer = answers.to(&request);
        tracing::debug!(%peer, status = answer.status().as_u16(), "ACME challenge");
        async { Ok::<_, Infallible>(answer) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_challenges_that_run_are_answered() {
        let door = Door::open("127.0.0.1:0").await.unwrap();
        let address = door.listener.local_addr().unwrap();
        let answers = door.answers();
        let served = tokio::spawn(door.serve());
        answers.add("token", "token.thumb");
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let found = ask(address, &get("/.well-known/acme-challenge/token")).await;
        assert!(
            found.starts_with("HTTP/1.1 200 OK\r\n") && found.ends_with("\r\n\r\ntoken.thumb"),
            "{found}"
        );
        for head in [
            get("/.well-known/acme-challenge/other"),
            get("/.well-known/acme-challenge/"),
            get("/v1/files/a"),
            get("/.well-known/acme-challenge/token").replace("GET", "DELETE"),
        ] {
            let answer = ask(address, &head).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{head}: {answer}");
        }
        answers.clear();
        let gone = ask(address, &get("/.well-known/acme-challenge/token")).await;
        assert!(gone.starts_with("HTTP/1.1 404 "), "{gone}");
        served.abort();
    }
}
