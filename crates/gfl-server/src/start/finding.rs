//! What is doubtful about a setting, in words that `-check` and a start share.

use gfl_api::path::Shown;
use std::fmt;

/// One doubtful setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The server does not start like this.
    pub fatal: bool,
    setting: String,
    value: Option<Shown>,
    reason: String,
}

impl Finding {
    /// The server refuses to start: `reason` says what is wrong and what to do.
    pub fn error(setting: &str, value: &str, reason: impl Into<String>) -> Finding {
        Finding {
            fatal: true,
            setting: setting.to_owned(),
            value: Some(Shown::new(value)),
            reason: reason.into(),
        }
    }

    /// The server starts, and says this.
    pub fn warning(setting: &str, value: &str, reason: impl Into<String>) -> Finding {
        Finding {
            fatal: false,
            ..Finding::error(setting, value, reason)
        }
    }

    /// Without a value that could be named.
    #[must_use]
    pub fn without_value(mut self) -> Finding {
        self.value = None;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            setting, reason, ..
        } = self;
        match &self.value {
            Some(value) => write!(f, "{setting} {value:?}: {reason}"),
            None => write!(f, "{setting}: {reason}"),
        }
    }
}
