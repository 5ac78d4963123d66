//! A server of a hundred lines: every test decides what each request is answered, down to a broken connection.

use gfl_api::Root;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// `METHOD target`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The bytes a `Range` or `Content-Range` field names.
    pub(crate) fn range(&self) -> Option<std::ops::Range<usize>> {
        let text = self.field("range").or(self.field("content-range"))?;
        let digits = text
            .trim_start_matches("bytes")
            .trim_start_matches(['=', ' ']);
        let (first, last) = digits.split('/').next()?.split_once('-')?;
        Some(first.parse().ok()?..last.parse::<usize>().ok()? + 1)
    }
}

pub(crate) struct Reply {
    /// 0: break off without an answer.
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Break off after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Never answer.
    pub(crate) stall: bool,
}

pub(crate) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply {
        status,
        fields: Vec::new(),
        body: body.into(),
        cut: None,
        stall: false,
    }
}

pub(crate) fn ok(value: &Value) -> Reply {
    reply(200, value.to_string())
}

pub(crate) fn problem(status: u16, code: &str) -> Reply {
    reply(
        status,
        json!({"code": code, "status": status, "detail": format!("it is {code}")}).to_string(),
    )
}

impl Reply {
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn cut(mut self, at: usize) -> Self {
        self.cut = Some(at);
        self
    }
}

/// What a v1 server says about itself.
pub(crate) fn capabilities() -> Reply {
    ok(&json!({"name": "GoFlux Lite", "version": "test", "api": 1, "features": ["bulk", "batch"]}))
}

/// A batch in which everything went well.
pub(crate) fn all_done(request: &Request) -> Reply {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let count = asked["ops"].as_array().unwrap().len();
    let results: Vec<_> = (0..count)
        .map(|index| json!({"index": index, "status": 200}))
        .collect();
    ok(&json!({ "results": results }))
}

/// A file as stat and listings show it.
pub(crate) fn entry(path: &str, content: &[u8]) -> Value {
    let root = Root::of(content);
    let name = path.rsplit('/').next().unwrap_or_default();
    json!({"name": name, "path": path, "type": "file", "size": content.len(), "mtime": "2023-11-14T22:13:20Z",
        "mode": "0640", "b3": root.to_string(), "etag": root.etag()})
}

/// Content for a GET, whole or in part.
pub(crate) fn content(request: &Request, bytes: &[u8]) -> Reply {
    let root = Root::of(bytes);
    let reply = match request.range() {
        None => reply(200, bytes),
        Some(range) => {
            let field = format!("bytes {}-{}/{}", range.start, range.end - 1, bytes.len());
            reply(206, &bytes[range]).with("content-range", field)
        }
    };
    reply.with("etag", root.etag()).with("gfl-blake3", root)
}

pub(crate) fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| (i % 251) as u8 ^ (i >> 12) as u8 ^ seed)
        .collect()
}

/// The status that means: the server is gone for a moment, and its port with it.
pub(crate) const DEATH: u16 = 1;
const DEAD: Duration = Duration::from_millis(700);

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

pub(crate) struct Fake {
    addr: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&log));
        let dies = Arc::new(AtomicBool::new(false));
        thread::spawn(move || {
            let mut listener = Some(listener);
            loop {
                let bound = match listener.take() {
                    Some(bound) => bound,
                    None => TcpListener::bind(addr).expect("its own port"),
                };
                while !dies.swap(false, SeqCst) {
                    let Ok((client, _)) = bound.accept() else {
                        continue;
                    };
                    let (answer, seen, dies) =
                        (Arc::clone(&answer), Arc::clone(&seen), Arc::clone(&dies));
                    thread::spawn(move || {
                        if serve(client, &*answer, &seen) == Ended::Dead {
                            dies.store(true, SeqCst);
                            // Wakes the one who waits for clients.
                            let _ = TcpStream::connect(addr);
                        }
                    });
                }
                drop(bound);
                thread::sleep(DEAD);
            }
        });
        Self { addr, log }
    }

    /// The requests so far that begin like this, without the question what the server is.
    pub(crate) fn seen(&self, prefix: &str) -> Vec<String> {
        let log = self.log.lock().expect("not poisoned");
        log.iter()
            .filter(|line| line.starts_with(prefix) && *line != "GET /v1/")
            .cloned()
            .collect()
    }

    pub(crate) fn address(&self) -> String {
        self.addr.to_string()
    }

    /// Runs gfl in a folder.
    pub(crate) fn gfl(&self, dir: &Path, words: &[&str]) -> Output {
        let server = format!("{}", self.addr);
        gfl(dir, &[&["--server", &server][..], words].concat())
    }
}

/// How a connection came to its end.
#[derive(PartialEq, Eq)]
enum Ended {
    Connection,
    /// The server itself is to be gone for a while.
    Dead,
}

fn serve(client: TcpStream, answer: &Answer, log: &Mutex<Vec<String>>) -> Ended {
    talk(client, answer, log).unwrap_or(Ended::Connection)
}

fn talk(client: TcpStream, answer: &Answer, log: &Mutex<Vec<String>>) -> Option<Ended> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut writer = client;
    loop {
        let request = read(&mut reader)?;
        log.lock().ok()?.push(request.line());
        let reply = answer(&request);
        match reply.status {
            0 => return None,
            DEATH => return Some(Ended::Dead),
            _ => {}
        }
        if reply.stall {
            thread::sleep(Duration::from_secs(60));
        }
        let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
        if reply.status != 204 {
            head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
        }
        for (name, value) in &reply.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        writer.write_all((head + "\r\n").as_bytes()).ok()?;
        if request.method == "HEAD" {
            continue;
        }
        match reply.cut {
            Some(at) => {
                writer.write_all(&reply.body[..at]).ok()?;
                // Dropped here: the connection breaks.
                return None;
            }
            None => writer.write_all(&reply.body).ok()?,
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let fields: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut request = Request {
        method,
        target,
        fields,
        body: Vec::new(),
    };
    if request.field("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            request.body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(len) = request
        .field("content-length")
        .and_then(|len| len.parse().ok())
    {
        request.body = vec![0; len];
        reader.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Output {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout: {}\nstderr: {}",
            self.out,
            self.err
        );
        self
    }
}

/// Runs gfl in a folder that is also its home.
pub(crate) fn gfl(dir: &Path, words: &[&str]) -> Output {
    finish(&mut command(dir, words))
}

/// As [`gfl`], for those who want other surroundings.
pub(crate) fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gfl"));
    command
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .stdin(std::process::Stdio::null());
    command
}

/// Runs to the end.
pub(crate) fn finish(command: &mut Command) -> Output {
    let output = command.output().expect("gfl starts");
    Output {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The names in a folder.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let list = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = list
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
