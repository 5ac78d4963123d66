//! What has to work so that requests can be served, part by part. Nothing is looked at a second time while the first
//! look still waits for a disk that does not answer.

use super::Picture;
use crate::tokens_watch::{TokenWatch, Trouble};
use gfl_core::App;
use gfl_core::catalog::DbError;
use std::error::Error as _;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What has not answered by then is red. Longer than a busy disk takes for a group of syncs.
const ANSWER_MS_MAX: u64 = 5_000;
/// The file that is written and removed to see whether it can be.
const PROBE: &str = "probe";

const STORAGE: &str = "storage";
const CATALOG: &str = "catalog";
const META_DIR: &str = "meta_dir";
const TOKENS_FILE: &str = "tokens_file";

/// What is looked at.
pub struct Parts {
    app: Arc<App>,
    tokens: Arc<TokenWatch>,
    storage: Folder,
    meta: Folder,
    asked: Mutex<Questions>,
}

#[derive(Default)]
struct Questions {
    core: Asked<gfl_core::Result<()>>,
    folders: Asked<Folders>,
}

/// What the two folders say: nothing, or what is wrong.
type Folders = (Option<String>, Option<String>);

/// One part: red with a reason, or green, perhaps with a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: &'static str,
    red: bool,
    remark: Option<String>,
    /// What stands behind it, for the log only.
    cause: Option<String>,
}

/// All parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    parts: Vec<Part>,
}

impl Parts {
    /// Of an application that was just opened: its folders are those that have to stay where they are.
    pub fn new(app: Arc<App>, tokens: Arc<TokenWatch>) -> Parts {
        let settings = app.settings();
        Parts {
            storage: Folder::new(&settings.storage_dir),
            meta: Folder::new(&settings.meta_dir),
            asked: Mutex::default(),
            app,
            tokens,
        }
    }

    /// How everything is now.
    pub async fn look(&self) -> Arc<Report> {
        let mut asked = self.asked.lock().await;
        let Questions { core, folders } = &mut *asked;
        let app = Arc::clone(&self.app);
        let (core, folders) = tokio::join!(
            core.ask(|| tokio::spawn(async move { app.ready().await })),
            folders.ask(|| {
                let (storage, meta) = (self.storage.clone(), self.meta.clone());
                let tokens = Arc::clone(&self.tokens);
                tokio::task::spawn_blocking(move || {
                    tokens.look();
                    (storage.is_another(), meta.trouble())
                })
            }),
        );
        let trouble = self.tokens.trouble();
        let tokens = self.tokens.is_on().then_some(trouble);
        Arc::new(Report::of(core, folders, tokens))
    }
}

/// A question that is asked once at a time.
struct Asked<T>(Option<JoinHandle<T>>);

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Asked(None)
    }
}

impl<T> Asked<T> {
    /// The answer, or none when it does not come in time: then it is waited for again next time, and not asked for
    /// once more on yet another thread.
    async fn ask(&mut self, start: impl FnOnce() -> JoinHandle<T>) -> Option<T> {
        let running = self.0.get_or_insert_with(start);
        let answer = timeout(Duration::from_millis(ANSWER_MS_MAX), running).await;
        let answer = answer.ok()?;
        self.0 = None;
        answer.ok()
    }
}

/// A folder, and which one it was when the server started.
#[derive(Debug, Clone)]
struct Folder {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Folder {
    fn new(path: &Path) -> Folder {
        Folder {
            path: path.to_owned(),
            identity: identity(path).ok(),
        }
    }

    /// What is wrong if the path leads elsewhere than at the start. The server would go on with the old folder,
    /// where nobody looks any more and which the next start does not find.
    fn is_another(&self) -> Option<String> {
        match identity(&self.path) {
            Ok(now) if Some(now) == self.identity => None,
            Ok(_) => Some("another folder or disk is in its place, start the server anew".into()),
            Err(error) => Some(format!("it cannot be found any more: {}", words(&error))),
        }
    }

    fn trouble(&self) -> Option<String> {
        let cannot = |error: io::Error| format!("it cannot be written: {}", words(&error));
        self.is_another()
            .or_else(|| write_probe(&self.path.join(PROBE)).err().map(cannot))
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

fn write_probe(path: &Path) -> io::Result<()> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(path)?;
    let written = file.write_all(PROBE.as_bytes());
    let removed = std::fs::remove_file(path);
    written.and(removed)
}

/// An error of the system, which names no path, without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl Part {
    fn of(name: &'static str, trouble: Option<String>) -> Part {
        Part {
            name,
            red: trouble.is_some(),
            remark: trouble,
            cause: None,
        }
    }
}

impl Report {
    fn of(
        core: Option<gfl_core::Result<()>>,
        folders: Option<Folders>,
        tokens: Option<Option<Trouble>>,
    ) -> Report {
        let silent = || Some(format!("no answer within {} s", ANSWER_MS_MAX / 1000));
        let (moved, meta) = folders.unwrap_or_else(|| (silent(), silent()));
        let mut cause = None;
        let (storage, catalog) = match core {
            Some(Ok(())) => (None, None),
            Some(Err(error)) => {
                cause = crate::problem::causes(&error);
                let why = Some(error.message().to_owned());
                // The storage is asked first, and only if it can be written the catalog.
                if error.source().is_some_and(|source| source.is::<DbError>()) {
                    (None, why)
                } else {
                    (why, Some("not asked, because the storage failed".into()))
                }
            }
            None => (silent(), silent()),
        };
        let mut parts = vec![
            Part::of(STORAGE, moved.or(storage)),
            Part::of(CATALOG, catalog),
            Part::of(META_DIR, meta),
        ];
        // Of the one of the two that failed for itself, which is the first.
        if let Some(part) = parts.iter_mut().take(2).find(|part| part.red) {
            part.cause = cause;
        }
        parts.extend(tokens.map(tokens_part));
        Report { parts }
    }

    /// Of a server that finishes what runs.
    pub fn ending() -> Report {
        let part = Part::of("shutdown", Some("the server is about to end".into()));
        Report { parts: vec![part] }
    }

    /// Whether everything works.
    pub fn is_ready(&self) -> bool {
        self.parts.iter().all(|part| !part.red)
    }

    /// One line for each part, as Kubernetes writes them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Part {
            name, red, remark, ..
        } in &self.parts
        {
            let state = if *red { "[-]" } else { "[+]" };
            let word = if *red { "failed" } else { "ok" };
            let _ = match remark {
                Some(remark) => writeln!(text, "{state}{name} {word}: {remark}"),
                None => writeln!(text, "{state}{name} {word}"),
            };
        }
        let passed = if self.is_ready() { "passed" } else { "failed" };
        let _ = writeln!(text, "readyz check {passed}");
        text
    }

    /// Of a look that has brought nothing.
    pub fn silent() -> Report {
        Report::of(None, None, None)
    }
}

impl Picture for Arc<Report> {
    fn is_ready(&self) -> bool {
        Report::is_ready(self)
    }

    /// A line for the log when it is another picture than before; asked every second, it must not be every second.
    fn tell(&self, before: Option<&Self>) {
        let red = |report: &Report| -> Vec<&'static str> {
            let red = report.parts.iter().filter(|part| part.red);
            red.map(|part| part.name).collect()
        };
        let now = red(self);
        if now == before.map(|report| red(report)).unwrap_or_default() {
            return;
        }
        if now.is_empty() {
            tracing::info!("ready again");
            return;
        }
        for part in self.parts.iter().filter(|part| part.red) {
            let why = part.remark.as_deref().unwrap_or_default();
            let cause = part.cause.as_deref();
            tracing::error!(cause, "not ready: {} failed: {why}", part.name);
        }
    }
}

fn tokens_part(trouble: Option<Trouble>) -> Part {
    match trouble {
        None => Part::of(TOKENS_FILE, None),
        // A server that is being set up has none yet, and must not be restarted for it.
        Some(Trouble::Nobody(what)) => Part {
            remark: Some(format!("it {what}, nobody is let in")),
            ..Part::of(TOKENS_FILE, None)
        },
        Some(Trouble::Broken(_)) => {
            let why = "it cannot be used, nobody is let in; the log has the reason";
            Part::of(TOKENS_FILE, Some(why.into()))
        }
    }
}
