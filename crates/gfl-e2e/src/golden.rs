//! Replays transcripts: what the Go server answered, byte for byte, as files anybody can read.
//!
//! A step starts with `== name`. Lines with `>` are the request: first `METHOD target`, then headers,
//! `-auth` to send no credential, and `|` with a piece of the body. Lines with `<` are the answer:
//! the status, then headers that must be equal, `!Name` for one that must be absent, `|` with a piece of
//! the exact body, or `~` with something the body must contain. `\n`, `\t`, `\0`, `\\` are escapes.

use crate::http::{Http, Request, Response};

/// One request and what must come back.
#[derive(Debug, Default)]
pub struct Step {
    /// For messages.
    pub name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    no_auth: bool,
    status: u16,
    answer_headers: Vec<(String, String)>,
    answer_absent: Vec<String>,
    answer_body: Option<String>,
    answer_contains: Vec<String>,
}

/// Reads a transcript. Panics with the line number when it is malformed.
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            steps.push(Step {
                name: name.to_owned(),
                ..Step::default()
            });
            continue;
        }
        let parsed = steps
            .last_mut()
            .and_then(|step| match line.split_at_checked(2) {
                Some(("> ", rest)) => step.request_line(rest),
                Some(("< ", rest)) => step.answer_line(rest),
                _ => None,
            });
        assert!(parsed.is_some(), "golden line {}: {line}", number + 1);
    }
    steps
}

impl Step {
    fn request_line(&mut self, rest: &str) -> Option<()> {
        if let Some(piece) = rest.strip_prefix("| ") {
            self.body.get_or_insert_default().push_str(&unescape(piece));
        } else if rest == "-auth" {
            self.no_auth = true;
        } else if self.method.is_empty() {
            let (method, target) = rest.split_once(' ')?;
            (self.method, self.target) = (method.to_owned(), target.to_owned());
        } else {
            let (name, value) = rest.split_once(": ")?;
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        Some(())
    }

    fn answer_line(&mut self, rest: &str) -> Option<()> {
        if rest == "|" || rest.starts_with("| ") {
            let piece = rest.strip_prefix("| ").unwrap_or_default();
            self.answer_body
                .get_or_insert_default()
                .push_str(&unescape(piece));
        } else if let Some(part) = rest.strip_prefix("~ ") {
            self.answer_contains.push(unescape(part));
        } else if let Some(name) = rest.strip_prefix('!') {
            self.answer_absent.push(name.to_owned());
        } else if self.status == 0 {
            self.status = rest.parse().ok()?;
        } else {
            let (name, value) = rest.split_once(": ")?;
            self.answer_headers
                .push((name.to_owned(), value.to_owned()));
        }
        Some(())
    }

    /// Sends the request; the error says what differs.
    pub fn replay(&self, with_token: &Http, without: &Http) -> Result<(), String> {
        let mut request = Request::new(&self.method, self.target.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value.clone());
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        let own = self
            .headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case("authorization"));
        let http = if self.no_auth || own {
            without
        } else {
            with_token
        };
        let answer = http
            .try_send(&request)
            .map_err(|e| format!("{}: {e}", self.name))?;
        self.check(&answer)
            .map_err(|e| format!("{}: {e}", self.name))
    }

    fn check(&self, answer: &Response) -> Result<(), String> {
        let body = answer.text();
        if answer.status != self.status {
            return Err(format!(
                "status {} instead of {}: {body}",
                answer.status, self.status
            ));
        }
        for (name, value) in &self.answer_headers {
            let got = answer.header(name);
            if got != Some(value) {
                return Err(format!("{name}: {got:?} instead of {value:?}"));
            }
        }
        for name in &self.answer_absent {
            if let Some(got) = answer.header(name) {
                return Err(format!("{name} must be absent, is {got:?}"));
            }
        }
        if let Some(want) = &self.answer_body
            && *want != body
        {
            return Err(format!("body {body:?} instead of {want:?}"));
        }
        match self
            .answer_contains
            .iter()
            .find(|part| !body.contains(*part))
        {
            Some(part) => Err(format!("body {body:?} does not contain {part:?}")),
            None => Ok(()),
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, false) => out.push(c),
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('0') => out.push('\0'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
        }
    }
    out
}
