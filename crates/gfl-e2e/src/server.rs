//! A real `gfl-server` in a folder of its own. Ready when it says so; gone when dropped.

use crate::bins;
use crate::data;
use crate::front::{self, Front};
use crate::http::Http;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A debug server on a busy machine takes this long at most.
const READY_SECONDS_MAX: u64 = 60;
const READY: &str = "goflux server listening on ";

/// How a server is set up.
#[derive(Debug, Default)]
pub struct Setup {
    /// Folder for everything; default: a new temporary one.
    pub root: Option<PathBuf>,
    /// No tokens file: everybody may do everything.
    pub open: bool,
    /// Members merged into the `server` section of goflux.json.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Extra arguments.
    pub args: Vec<String>,
    /// Extra environment.
    pub env: Vec<(String, String)>,
    /// Owner and mode of files count for it, also where the tests run as root.
    pub ordinary: bool,
}

impl Setup {
    /// Puts data, metadata and configuration below `root`.
    #[must_use]
    pub fn at(mut self, root: &Path) -> Setup {
        self.root = Some(root.to_path_buf());
        self
    }

    /// Turns authentication off.
    #[must_use]
    pub fn open(mut self) -> Setup {
        self.open = true;
        self
    }

    /// Sets a member of the configuration.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Setup {
        self.config.insert(key.into(), value.into());
        self
    }

    /// Takes root's right to ignore owner and mode of files from it.
    #[must_use]
    pub fn ordinary(mut self) -> Setup {
        self.ordinary = true;
        self
    }

    /// Starts.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.restart();
        server
    }

    /// Writes configuration and tokens, without starting yet.
    pub fn prepare(self) -> Server {
        let temp = match self.root {
            Some(_) => None,
            None => Some(tempfile::tempdir().expect("a temporary folder")),
        };
        let root = self
            .root
            .clone()
            .or_else(|| temp.as_ref().map(|t| t.path().to_path_buf()))
            .expect("one of the two is there");
        let token = if self.open { None } else { Some(new_token()) };
        fs::create_dir_all(&root).expect("the root can be made");
        let server = Server {
            temp,
            root,
            setup: self,
            token,
            child: None,
            addr: None,
            front: None,
        };
        server.write_config();
        if let Some(token) = &server.token {
            server.write_tokens(&[Token::new(token, "tok_000000000001", &["*"])]);
        }
        server
    }
}

/// One line of tokens.json.
#[derive(Debug, Clone)]
pub struct Token {
    /// The secret itself.
    pub secret: String,
    /// Id.
    pub id: String,
    /// Whose.
    pub user: String,
    /// Permission names.
    pub permissions: Vec<String>,
    /// RFC 3339.
    pub expires: String,
    /// Revoked.
    pub revoked: bool,
}

impl Token {
    /// A token that lives.
    pub fn new(secret: &str, id: &str, permissions: &[&str]) -> Token {
        Token {
            secret: secret.into(),
            id: id.into(),
            user: "tester".into(),
            permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
            expires: "2099-12-31T23:59:59.123456789+02:00".into(),
            revoked: false,
        }
    }
}

/// A fresh secret of v0's form.
pub fn new_token() -> String {
    let mut secret = [0; 32];
    let random = fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut secret));
    random.expect("the kernel gives random bytes");
    hex::encode(secret)
}

/// A server under test.
#[derive(Debug)]
pub struct Server {
    temp: Option<tempfile::TempDir>,
    root: PathBuf,
    setup: Setup,
    token: Option<String>,
    child: Option<Child>,
    addr: Option<SocketAddr>,
    front: Option<Front>,
}

impl Server {
    /// A server with authentication and one token that may do everything with files.
    #[track_caller]
    pub fn start() -> Server {
        Setup::default().start()
    }

    /// Where it listens, or what stands in front of it.
    pub fn addr(&self) -> SocketAddr {
        let own = self.addr.expect("the server has been started");
        self.front.as_ref().map_or(own, Front::addr)
    }

    /// Its base URL with TLS.
    pub fn https(&self) -> String {
        format!("https://{}", self.addr())
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The token, empty when authentication is off.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Folder of the visible files.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Folder of the catalog.
    pub fn meta(&self) -> PathBuf {
        self.root.join("meta")
    }

    /// Folder of everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The tokens file.
    pub fn tokens_file(&self) -> PathBuf {
        self.root.join("tokens.json")
    }

    /// A client with the server's token.
    pub fn http(&self) -> Http {
        self.http_as(self.token.as_deref())
    }

    /// A client with this token, or none.
    pub fn http_as(&self, token: Option<&str>) -> Http {
        Http::new(self.addr(), token.map(|t| format!("Bearer {t}")))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Peak resident memory so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        peak_kib(self.pid())
    }

    /// What it wrote to stderr in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("server.log")).unwrap_or_default()
    }

    fn write_config(&self) {
        let mut section = serde_json::Map::new();
        let address = self
            .addr
            .map_or("127.0.0.1:0".to_owned(), |a| a.to_string());
        section.insert("address".into(), address.into());
        section.insert("storage_dir".into(), text(&self.data()).into());
        section.insert("meta_dir".into(), text(&self.meta()).into());
        let tokens = if self.setup.open {
            String::new()
        } else {
            text(&self.tokens_file())
        };
        section.insert("tokens_file".into(), tokens.into());
        if front::over().is_some() {
            section.insert("tls_self_signed".into(), true.into());
        }
        for (key, value) in &self.setup.config {
            section.insert(key.clone(), value.clone());
        }
        let config = serde_json::json!({ "server": section });
        fs::write(self.config_file(), config.to_string()).expect("config written");
    }

    /// Replaces tokens.json, atomically as gfl-admin does.
    pub fn write_tokens(&self, tokens: &[Token]) {
        let list: Vec<_> = tokens
            .iter()
            .map(|t| {
                serde_json::json!({
                    "id": t.id, "token_hash": data::sha256(t.secret.as_bytes()), "user": t.user,
                    "permissions": t.permissions, "created_at": "2025-01-01T00:00:00Z",
                    "expires_at": t.expires, "revoked": t.revoked,
                })
            })
            .collect();
        let body = serde_json::json!({ "tokens": list }).to_string();
        let temp = self.root.join("tokens.json.new");
        fs::write(&temp, body).expect("tokens written");
        fs::rename(&temp, self.tokens_file()).expect("tokens renamed");
    }

    /// Starts (again), on the port it had before, and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        loop {
            match self.try_start() {
                Ok(()) => return,
                // Somebody's outgoing connection may hold our port for a moment.
                Err(e) if Instant::now() < deadline && e.contains("in use") => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(e) => panic!("the server did not start: {e}"),
            }
        }
    }

    fn program(&self) -> Command {
        let program = bins::path("gfl-server");
        if !self.setup.ordinary || !crate::skip::is_root() {
            return Command::new(program);
        }
        let mut setpriv = Command::new("setpriv");
        setpriv
            .arg("--bounding-set=-dac_override,-dac_read_search,-fowner")
            .arg(program);
        setpriv
    }

    /// One attempt; the error is what the server said.
    pub fn try_start(&mut self) -> Result<(), String> {
        self.kill9();
        self.write_config();
        let log_path = self.root.join("server.log");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path);
        let log = log.map_err(|e| format!("{}: {e}", log_path.display()))?;
        let before = self.log().len();
        let mut child = self
            .program()
            .arg("-config")
            .arg(self.root.join("goflux.json"))
            .args(&self.setup.args)
            .envs(self.setup.env.iter().map(|(k, v)| (k, v)))
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("gfl-server: {e}"))?;
        let output = lines_of(child.stdout.take().expect("is piped"));
        let deadline = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match output.recv_timeout(left) {
                Ok(line) => {
                    if let Some(addr) = ready_line(&line) {
                        self.addr = Some(addr);
                        self.child = Some(child);
                        if let (Some(over), None) = (front::over(), &self.front) {
                            self.front = Some(Front::start(addr, over));
                        }
                        return Ok(());
                    }
                }
                Err(_) => {
                    let _gone = child.kill();
                    let _reaped = child.wait();
                    let log = self.log();
                    return Err(log.get(before..).unwrap_or(&log).to_owned());
                }
            }
        }
    }

    /// SIGKILL, and waits until the process is gone.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }

    /// SIGTERM, and waits until the process has ended; true when it exited with 0.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
            let _sent = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let ended = crate::wait::until("the server ends after SIGTERM", 30, || {
            child.try_wait().ok().flatten()
        });
        ended.success()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).expect("a process has an id");
        rustix::process::kill_process(pid, signal).expect("the server runs");
    }

    /// Waits until the process has ended by itself.
    pub fn wait_end(&mut self, seconds: u64) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        crate::wait::until("the server ends", seconds, || {
            child.try_wait().ok().flatten()
        })
    }

    /// Changes a member of the configuration file of a running server.
    pub fn set(&mut self, key: &str, value: impl Into<serde_json::Value>) {
        self.setup.config.insert(key.into(), value.into());
        self.write_config();
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("goflux.json")
    }

    /// Keeps the folder after the end, for a look at it; returns where it is.
    pub fn keep(&mut self) -> PathBuf {
        if let Some(temp) = self.temp.take() {
            let _kept = temp.keep();
        }
        self.root.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Peak resident memory of a process in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn text(path: &Path) -> String {
    path.to_str()
        .expect("test folders have UTF-8 names")
        .to_owned()
}

fn ready_line(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(READY)?;
    let end = rest
        .find(|c: char| c.is_whitespace() || c == '\u{1b}')
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Reads lines in a thread, so that the server never blocks on a full pipe.
fn lines_of(out: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            let Ok(line) = line else { return };
            let _nobody_listens = send.send(line);
        }
    });
    receive
}
