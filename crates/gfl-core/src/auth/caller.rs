//! Who calls, and the proof that the caller may.

use crate::error::{Error, Kind, Result};
use gfl_api::path::FilePath;
use std::sync::Arc;

/// What a permission lets one do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// See names and metadata.
    List,
    /// Read content, kept versions included.
    Download,
    /// Make new files.
    Create,
    /// Replace content or metadata of existing files, restore versions.
    Overwrite,
    /// Delete (kept for undo).
    Delete,
    /// Make directories.
    Mkdir,
    /// Rename.
    Move,
    /// Make share links.
    Share,
    /// Read metrics.
    Metrics,
    /// Administer. Never implied by `*`.
    Admin,
}

impl Verb {
    /// The name used in permissions.
    pub fn name(self) -> &'static str {
        match self {
            Verb::List => "list",
            Verb::Download => "download",
            Verb::Create => "create",
            Verb::Overwrite => "overwrite",
            Verb::Delete => "delete",
            Verb::Mkdir => "mkdir",
            Verb::Move => "move",
            Verb::Share => "share",
            Verb::Metrics => "metrics",
            Verb::Admin => "admin",
        }
    }
}

/// One line of a caller's rights: these permission names, below this prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Applies to this path and everything below.
    pub prefix: FilePath,
    /// False takes away; at equal prefix length it wins.
    pub allow: bool,
    /// Permission names as stored: verbs, `upload`, `*`, `admin`. Unknown names mean nothing.
    pub permissions: Vec<String>,
}

/// The user name of [`Caller::administrator`]. In a token file it would be somebody else with the same name.
const ADMINISTRATOR: &str = "@admin";

/// An authenticated subject. No verb of the core can be called without one.
#[derive(Debug, Clone)]
pub struct Caller {
    user: Arc<str>,
    token: Option<Arc<str>>,
    peer: Arc<str>,
    expires_ms: Option<i64>,
    rules: Arc<[Rule]>,
}

impl Caller {
    /// Only authentication (and tests of the core) make callers.
    pub fn new(
        user: &str,
        token: Option<&str>,
        peer: &str,
        expires_ms: Option<i64>,
        rules: Vec<Rule>,
    ) -> Caller {
        Caller {
            user: user.into(),
            token: token.map(Into::into),
            peer: peer.into(),
            expires_ms,
            rules: rules.into(),
        }
    }

    /// The administrator of this machine: whoever can open the administrator's socket or the catalog itself.
    pub fn administrator() -> Caller {
        let all = Rule {
            prefix: FilePath::root(),
            allow: true,
            permissions: vec!["*".to_owned(), "admin".to_owned()],
        };
        Caller::new(ADMINISTRATOR, None, "local", None, vec![all])
    }

    /// The user's name; `anonymous` when authentication is off.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The token's id.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The peer's address, without port.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// When the credential ends, unix ms.
    pub fn expires_ms(&self) -> Option<i64> {
        self.expires_ms
    }

    /// The rules, for `/v1/me`.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Proof that this caller may `verb` at `path`, or `Forbidden`.
    pub fn may(&self, verb: Verb, path: &FilePath) -> Result<Grant> {
        if crate::policy::permissions::allows(&self.rules, verb, path) {
            return Ok(Grant {
                verb,
                path: path.clone(),
                user: self.user.clone(),
            });
        }
        Err(Error::new(
            Kind::Forbidden,
            format!("{path}: permission denied, it takes '{}' here", verb.name()),
        ))
    }
}

impl Caller {
    /// Refuses who may not store a file here, whether one is there already or not. Which of the two it is, and so which
    /// permission it takes, is found out later.
    pub fn may_store(&self, path: &FilePath) -> Result<()> {
        if self.may(Verb::Create, path).is_ok() || self.may(Verb::Overwrite, path).is_ok() {
            return Ok(());
        }
        let why = "permission denied, it takes 'create' here, or 'overwrite' where a file is there already";
        Err(Error::new(Kind::Forbidden, format!("{path}: {why}")))
    }

    /// For a step that takes everything below a path along: nothing there may be denied to this caller.
    pub fn may_below(&self, verb: Verb, path: &FilePath) -> Result<()> {
        match crate::policy::permissions::denied_below(&self.rules, verb, path) {
            None => Ok(()),
            Some(prefix) => Err(Error::new(
                Kind::Forbidden,
                format!(
                    "{path}: permission denied, it takes '{}' also at {prefix}",
                    verb.name()
                ),
            )),
        }
    }
}

/// Proof of a permission. Writing functions demand it.
#[derive(Debug, Clone)]
pub struct Grant {
    verb: Verb,
    path: FilePath,
    user: Arc<str>,
}

impl Grant {
    /// What was granted.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Where.
    pub fn path(&self) -> &FilePath {
        &self.path
    }

    /// To whom.
    pub fn user(&self) -> &str {
        &self.user
    }
}
