//! Keeps an eye on `tokens.json`: what is wrong with it is told in the log once, and to readiness; and whether it is
//! being rewritten at this moment. Who is let in is the core's decision, which reads the file for itself.

use crate::tokens_file::{self, Content};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How often the file is looked at.
const LOOK_MS: u64 = 1_000;
/// A state counts when it has lasted so long: while v0.1's tool or an editor writes, the file is empty or half. For
/// so long the core goes on with what it read last.
const SETTLES_MS: u64 = 2_000;
/// A stamp this young says nothing yet: two writes within one tick of the clock leave the same.
const STAMP_SETTLES_MS: u64 = 2_000;
/// So long after a change the core may still have what stood there before: longer than its own interval.
const CHANGE_MS: u64 = 500;
/// So long after tokens were seen an empty file is taken for one that is being written.
const EMPTY_MS: u64 = 3_000;

/// Device-independent marks of a file's content.
type Stamp = (u64, u64, i64, i64, i64, i64);

/// What is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It holds nothing that lets anybody in.
    Nobody(&'static str),
    /// It cannot be used; why.
    Broken(String),
}

/// The watch.
pub struct TokenWatch {
    path: Option<PathBuf>,
    seen: Mutex<Seen>,
}

struct Seen {
    stamp: Option<Stamp>,
    trouble: Option<Trouble>,
    since: Instant,
    /// What the log knows.
    told: Option<Trouble>,
    /// When there were tokens last.
    good: Option<Instant>,
}

impl TokenWatch {
    /// Looks at the file for the first time; what is wrong with it now the start has told already.
    pub fn new(path: Option<PathBuf>) -> TokenWatch {
        let now = Instant::now();
        let trouble = path.as_deref().and_then(trouble);
        let seen = Seen {
            stamp: path.as_deref().and_then(stamp),
            told: trouble.clone(),
            good: trouble.is_none().then_some(now),
            trouble,
            since: now,
        };
        TokenWatch {
            path,
            seen: Mutex::new(seen),
        }
    }

    /// Looks again and again, for ever.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
            self.look();
        }
    }

    /// Looks at the file, reads it if it has changed, and tells the log what has changed for good.
    pub fn look(&self) {
        let Some(path) = &self.path else { return };
        let mut seen = self.seen();
        let now = Instant::now();
        let stamp = stamp(path);
        if stamp.is_none() || stamp != seen.stamp || is_young(path, STAMP_SETTLES_MS) {
            let trouble = trouble(path);
            if trouble != seen.trouble {
                seen.since = now;
            }
            (seen.stamp, seen.trouble) = (stamp, trouble);
        }
        if seen.trouble.is_none() {
            seen.good = Some(now);
        }
        if seen.trouble != seen.told && seen.has_lasted() {
            seen.told = seen.trouble.clone();
            log(path, seen.told.as_ref());
        }
    }

    /// What has been wrong for long enough to count. Without authentication nothing can be.
    pub fn trouble(&self) -> Option<Trouble> {
        let seen = self.seen();
        seen.trouble.clone().filter(|_| seen.has_lasted())
    }

    /// Whether there is a file to watch.
    pub fn is_on(&self) -> bool {
        self.path.is_some()
    }

    /// Whether the file is being rewritten, or just was: then a token that is unknown may be known in a moment.
    pub fn is_settling(&self) -> bool {
        let Some(path) = &self.path else { return false };
        let empty = std::fs::metadata(path).map_or(true, |meta| meta.len() == 0);
        if empty {
            let good = self.seen().good;
            good.is_some_and(|at| at.elapsed() < Duration::from_millis(EMPTY_MS))
        } else {
            is_young(path, CHANGE_MS)
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn has_lasted(&self) -> bool {
        self.since.elapsed() >= Duration::from_millis(SETTLES_MS)
    }
}

fn log(path: &Path, trouble: Option<&Trouble>) {
    let path = path.display();
    match trouble {
        Some(Trouble::Broken(why)) => {
            tracing::error!(
                "the token file {path} cannot be used, nobody is let in: {why}; repair it, it is read at once"
            );
        }
        Some(Trouble::Nobody(what)) => {
            tracing::error!(
                "the token file {path} {what}, nobody is let in; bring it back, or make a token with gfl-admin create"
            );
        }
        None => tracing::info!("the token file {path} counts again"),
    }
}

fn trouble(path: &Path) -> Option<Trouble> {
    match tokens_file::look(path, tokens_file::now_ms()) {
        Content::Missing => Some(Trouble::Nobody("is not there")),
        Content::Tokens { all: 0, .. } => Some(Trouble::Nobody("holds no tokens")),
        Content::Tokens { .. } => None,
        Content::Broken(why) => Some(Trouble::Broken(why)),
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ))
}

/// Whether the file was changed or put there within the last so many milliseconds. A time that is yet to come is a
/// clock set back, and says nothing.
fn is_young(path: &Path, ms: u64) -> bool {
    let Ok(meta) = std::fs::metadata(path) else {
        return false;
    };
    let (Ok(s), Ok(ns)) = (meta.ctime().try_into(), meta.ctime_nsec().try_into()) else {
        return false;
    };
    let changed = SystemTime::UNIX_EPOCH + Duration::new(s, ns);
    let age = SystemTime::now().duration_since(changed);
    age.is_ok_and(|age| age < Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"tokens":[{"id":"a"}]}"#;

    async fn later(ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_lasts_is_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        std::fs::write(&path, ONE).unwrap();
        let watch = TokenWatch::new(Some(path.clone()));
        let after = |text: Option<&'static str>, ms: u64| {
            let (watch, path) = (&watch, &path);
            async move {
                match text {
                    Some(text) => std::fs::write(path, text).unwrap(),
                    None => std::fs::remove_file(path).unwrap(),
                }
                watch.look();
                later(ms).await;
                watch.look();
                watch.trouble()
            }
        };
        assert_eq!(after(Some(ONE), 5_000).await, None);
        assert_eq!(after(Some(""), SETTLES_MS - 1).await, None);
        assert_eq!(after(Some(ONE), SETTLES_MS).await, None);
        let broken = after(Some("{"), SETTLES_MS).await;
        assert!(matches!(broken, Some(Trouble::Broken(_))), "{broken:?}");
        assert_eq!(
            after(Some(""), SETTLES_MS).await,
            Some(Trouble::Nobody("holds no tokens"))
        );
        assert_eq!(
            after(None, SETTLES_MS).await,
            Some(Trouble::Nobody("is not there"))
        );
        assert_eq!(after(Some(ONE), 1).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_file_is_settling_for_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        std::fs::write(&path, ONE).unwrap();
        let watch = TokenWatch::new(Some(path.clone()));
        for make in [
            (|path: &Path| std::fs::write(path, "").unwrap()) as fn(&Path),
            |path| std::fs::remove_file(path).unwrap(),
        ] {
            std::fs::write(&path, ONE).unwrap();
            watch.look();
            make(&path);
            watch.look();
            later(EMPTY_MS - 1).await;
            assert!(watch.is_settling());
            later(1).await;
            watch.look();
            assert!(!watch.is_settling());
        }
        // Just written: the core may not know it yet.
        std::fs::write(&path, ONE).unwrap();
        assert!(watch.is_settling());
        assert!(!TokenWatch::new(None).is_settling());
    }
}
