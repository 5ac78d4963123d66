//! What was found, in order, for people and as JSON.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    state: State,
    name: &'static str,
    text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Report {
    checks: Vec<Check>,
}

impl Check {
    pub(super) fn ok(name: &'static str, text: impl Into<String>) -> Check {
        Check::new(State::Ok, name, text.into())
    }

    pub(super) fn warn(name: &'static str, text: impl Into<String>) -> Check {
        Check::new(State::Warn, name, text.into())
    }

    pub(super) fn fail(name: &'static str, text: impl Into<String>) -> Check {
        Check::new(State::Fail, name, text.into())
    }

    /// Says what to do about it.
    #[must_use]
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Check {
        self.remedy = Some(remedy.into());
        self
    }

    fn new(state: State, name: &'static str, text: String) -> Check {
        Check {
            state,
            name,
            text,
            remedy: None,
        }
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// `state name: text`, for tests.
    #[cfg(test)]
    pub(super) fn brief(&self) -> String {
        format!("{:?} {}: {}", self.state, self.name, self.text)
    }
}

impl Report {
    pub(super) fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub(super) fn extend(&mut self, checks: Vec<Check>) {
        self.checks.extend(checks);
    }

    /// Whether something is broken.
    pub(super) fn has_failed(&self) -> bool {
        self.count(State::Fail) > 0
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for check in &self.checks {
            let tag = match check.state {
                State::Ok => "[ok]  ",
                State::Warn => "[warn]",
                State::Fail => "[fail]",
            };
            lines.push(format!("{tag} {:<8} {}", check.name, check.text));
            if let Some(remedy) = &check.remedy {
                lines.push(format!("{:15} -> {remedy}", ""));
            }
        }
        let (warned, failed) = (self.count(State::Warn), self.count(State::Fail));
        lines.push(match (failed, warned) {
            (0, 0) => "all is well".to_owned(),
            (0, n) => format!("nothing has failed; warnings: {n}"),
            (n, m) => format!("failed: {n}, warnings: {m}"),
        });
        lines
    }

    fn count(&self, state: State) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.state == state).count()
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut whole = serializer.serialize_struct("report", 2)?;
        whole.serialize_field("ok", &!self.has_failed())?;
        whole.serialize_field("checks", &self.checks)?;
        whole.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_to_people_and_programs() {
        let mut report = Report::default();
        assert_eq!(report.lines(), ["all is well"]);
        report.add(Check::ok("a", "fine"));
        report.add(Check::warn("b", "so so").remedy("do this"));
        assert!(!report.has_failed());
        assert_eq!(
            report.lines(),
            [
                "[ok]   a        fine",
                "[warn] b        so so",
                "                -> do this",
                "nothing has failed; warnings: 1"
            ]
        );
        report.add(Check::fail("c", "broken"));
        assert!(report.has_failed());
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"ok":false,"checks":[{"state":"ok","name":"a","text":"fine"},{"state":"warn","name":"b","text":"so so","remedy":"do this"},{"state":"fail","name":"c","text":"broken"}]}"#
        );
    }
}
