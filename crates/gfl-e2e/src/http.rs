//! A blocking HTTP/1.1 client of the tests' own: it can stop halfway, lie about lengths and send what
//! no library would send. Knows nothing of GoFlux.

use crate::tls::Wire;
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A peer that says nothing for so long is taken for hung.
const SILENCE_SECONDS_MAX: u64 = 60;

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Verb.
    pub method: String,
    /// Path and query, already encoded.
    pub target: String,
    /// As sent, besides Host, Content-Length and Authorization.
    pub headers: Vec<(String, String)>,
    /// The body; `None` sends no Content-Length at all.
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A request without body.
    pub fn new(method: &str, target: impl Into<String>) -> Request {
        let body = matches!(method, "PUT" | "POST" | "PATCH").then(Vec::new);
        Request {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Request {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    fn has(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// The head as it goes over the wire. `len` overrides the announced length (to lie).
    pub fn head(&self, host: &str, auth: Option<&str>, len: Option<u64>) -> Vec<u8> {
        let mut out = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\n",
            self.method, self.target
        );
        let len = len.or(self.body.as_ref().map(|b| b.len() as u64));
        let framed = self.has("Content-Length") || self.has("Transfer-Encoding");
        if let (Some(len), false) = (len, framed) {
            out.push_str(&format!("Content-Length: {len}\r\n"));
        }
        if let (Some(auth), false) = (auth, self.has("Authorization")) {
            out.push_str(&format!("Authorization: {auth}\r\n"));
        }
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        out.into_bytes()
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// In order of arrival.
    pub headers: Vec<(String, String)>,
    /// Decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// First header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// A header as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name).and_then(|v| v.parse().ok())
    }

    /// Body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `code` member of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails the test unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        let body = self.text();
        let shown: String = body.chars().take(600).collect();
        assert_eq!(self.status, status, "unexpected answer: {shown}");
        self
    }

    /// Fails the test unless this is a problem with `code` and the status.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Response {
        let answer = self.expect(status);
        assert_eq!(
            answer.header("Content-Type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.code(), code, "{}", answer.text());
        answer
    }
}

/// One connection, driven by hand.
#[derive(Debug)]
pub struct Conn {
    stream: BufReader<Wire>,
}

impl Conn {
    /// Connects.
    pub fn open(addr: SocketAddr) -> io::Result<Conn> {
        Ok(Conn::on(Wire::Plain(connect(addr)?)))
    }

    /// Connects with TLS, whatever certificate there is.
    pub fn open_tls(addr: SocketAddr) -> io::Result<Conn> {
        Ok(Conn::on(Wire::tls(connect(addr)?, &[b"http/1.1"])?))
    }

    fn on(wire: Wire) -> Conn {
        Conn {
            stream: BufReader::with_capacity(64 * 1024, wire),
        }
    }

    /// The SHA-256 of the certificate that was shown, in hex.
    pub fn fingerprint(&self) -> Option<String> {
        self.stream.get_ref().fingerprint()
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref().socket()
    }

    /// Reads status line and headers; interim answers (1xx) are passed over.
    pub fn answer_head(&mut self) -> io::Result<Response> {
        loop {
            let line = self.line()?;
            let status = line.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
            let status = status.ok_or_else(|| broken(&format!("status line {line:?}")))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| broken(&format!("header {line:?}")))?;
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            if status >= 200 {
                return Ok(Response {
                    status,
                    headers,
                    body: Vec::new(),
                });
            }
        }
    }

    /// Reads the body that belongs to `head`, piece by piece. An error when it ends too early.
    pub fn answer_body(
        &mut self,
        head: &Response,
        method: &str,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        if method == "HEAD" || head.status == 204 || head.status == 304 {
            return Ok(());
        }
        if head
            .header("Transfer-Encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
        {
            return self.chunks(sink);
        }
        match head.number("Content-Length") {
            Some(len) => self.exactly(len, sink),
            None => self.rest(sink),
        }
    }

    /// A whole answer.
    pub fn answer(&mut self, method: &str) -> io::Result<Response> {
        let mut head = self.answer_head()?;
        let mut body = Vec::new();
        self.answer_body(&head, method, &mut |piece| body.extend_from_slice(piece))?;
        head.body = body;
        Ok(head)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.stream)
            .take(64 * 1024)
            .read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "connection closed",
            ));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn chunks(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| broken("chunk size"))?;
            self.exactly(size, sink)?;
            if !self.line()?.is_empty() {
                return Err(broken("chunk end"));
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn exactly(&mut self, mut left: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            let buf = filled(&mut self.stream)?;
            if buf.is_empty() {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "body cut short"));
            }
            let n = buf.len().min(left as usize);
            sink(&buf[..n]);
            self.stream.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    fn rest(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            let buf = filled(&mut self.stream)?;
            if buf.is_empty() {
                return Ok(());
            }
            sink(buf);
            let n = buf.len();
            self.stream.consume(n);
        }
    }
}

/// What is there to be read, waiting for it. A process that was stopped and goes on is no broken connection.
fn filled<R: Read>(stream: &mut BufReader<R>) -> io::Result<&[u8]> {
    while let Err(error) = stream.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(stream.buffer())
}

/// A socket that is never waited for in vain.
pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(SILENCE_SECONDS_MAX)))?;
    stream.set_write_timeout(Some(Duration::from_secs(SILENCE_SECONDS_MAX)))?;
    Ok(stream)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not HTTP: {what}"))
}

/// A client of one server with one credential. Keeps one connection.
#[derive(Debug)]
pub struct Http {
    addr: SocketAddr,
    auth: Option<String>,
    conn: RefCell<Option<Conn>>,
}

impl Http {
    /// `auth` is the whole Authorization value.
    pub fn new(addr: SocketAddr, auth: Option<String>) -> Http {
        Http {
            addr,
            auth,
            conn: RefCell::new(None),
        }
    }

    /// Bytes of a request's head, for hand-driven connections.
    pub fn head(&self, request: &Request, len: Option<u64>) -> Vec<u8> {
        request.head(&self.addr.to_string(), self.auth.as_deref(), len)
    }

    /// A new connection to the same server.
    #[track_caller]
    pub fn connect(&self) -> Conn {
        Conn::open(self.addr).expect("the server accepts connections")
    }

    /// Sends and receives; fails the test when the connection does.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        match self.try_send(request) {
            Ok(answer) => answer,
            Err(e) => panic!("{} {}: {e}", request.method, request.target),
        }
    }

    /// Sends and receives. Never repeats a request by itself.
    pub fn try_send(&self, request: &Request) -> io::Result<Response> {
        let mut body = Vec::new();
        let source = request.body.as_deref().unwrap_or_default();
        let mut answer = self.exchange(request, None, &mut &*source, &mut |p| {
            body.extend_from_slice(p)
        })?;
        answer.body = body;
        Ok(answer)
    }

    /// Sends `len` bytes from a reader as the body.
    pub fn upload(
        &self,
        request: &Request,
        len: u64,
        source: &mut dyn Read,
    ) -> io::Result<Response> {
        let mut body = Vec::new();
        let mut answer = self.exchange(request, Some(len), source, &mut |p| {
            body.extend_from_slice(p)
        })?;
        answer.body = body;
        Ok(answer)
    }

    /// Receives the body into `sink`.
    pub fn download(&self, request: &Request, sink: &mut dyn FnMut(&[u8])) -> io::Result<Response> {
        self.exchange(request, None, &mut io::empty(), sink)
    }

    fn exchange(
        &self,
        request: &Request,
        len: Option<u64>,
        source: &mut dyn Read,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Response> {
        let mut conn = match self.conn.borrow_mut().take() {
            Some(conn) => conn,
            None => Conn::open(self.addr)?,
        };
        let sent = conn.send(&self.head(request, len)).and_then(|()| {
            let mut buf = vec![0; 64 * 1024];
            loop {
                match source.read(&mut buf)? {
                    0 => return Ok(()),
                    n => conn.send(&buf[..n])?,
                }
            }
        });
        // A server may refuse before it has read everything: its answer counts, not our broken pipe.
        let answer = conn.answer_head();
        let head = match (sent, answer) {
            (_, Ok(head)) => head,
            (Err(e), Err(_)) | (Ok(()), Err(e)) => return Err(e),
        };
        conn.answer_body(&head, &request.method, sink)?;
        let close = head
            .header("Connection")
            .is_some_and(|v| v.eq_ignore_ascii_case("close"));
        if !close {
            *self.conn.borrow_mut() = Some(conn);
        }
        Ok(head)
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, target: impl Into<String>) -> Response {
        self.send(&Request::new("GET", target))
    }

    /// GET of a server that accepts no more.
    #[track_caller]
    pub fn get_fails(&self, target: impl Into<String>) {
        let answer = self.try_send(&Request::new("GET", target));
        assert!(answer.is_err(), "{answer:?}");
    }

    /// HEAD.
    #[track_caller]
    pub fn head_of(&self, target: impl Into<String>) -> Response {
        self.send(&Request::new("HEAD", target))
    }

    /// PUT.
    #[track_caller]
    pub fn put(&self, target: impl Into<String>, body: impl Into<Vec<u8>>) -> Response {
        self.send(&Request::new("PUT", target).body(body))
    }

    /// POST with a JSON body.
    #[track_caller]
    pub fn post(&self, target: impl Into<String>, body: &serde_json::Value) -> Response {
        self.send(&Request::new("POST", target).json(body))
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, target: impl Into<String>) -> Response {
        self.send(&Request::new("DELETE", target))
    }
}

/// Percent-encodes a path for a URL, keeping its slashes.
pub fn encode(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Target of a file's content.
pub fn file(path: &str) -> String {
    format!("/v1/files/{}", encode(path))
}
