//! Upload sessions of a worker: begun in one life of the server, finished in another. What was
//! announced once must be announced for ever.

use super::{Step, Stop, Worker, new_content};
use crate::data;
use crate::http::{self, Http, Request, Response};
use crate::model;

/// Parts are this long in the tests: not a multiple of a group, so that groups are shared by parts.
const PART_BYTES: u64 = 100_000;
const SESSIONS_MAX: usize = 3;

/// An upload session that the server confirmed.
#[derive(Debug, Clone)]
pub struct Session {
    /// Id.
    pub id: String,
    /// Target.
    pub path: String,
    /// Content id.
    pub content: u64,
    /// Ranges the server ever announced as received, merged.
    pub announced: Vec<(u64, u64)>,
    /// Completion was sent and not answered.
    pub completing: bool,
}

impl Session {
    /// Its address.
    pub fn target(&self) -> String {
        format!("/v1/uploads/{}", self.id)
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        data::marked_len(self.content) as u64
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The request that sends `start … end`.
    pub fn part(&self, start: u64, end: u64) -> Request {
        let content = data::marked(self.content);
        Request::new("PUT", self.target())
            .header(
                "Content-Range",
                format!("bytes {start}-{}/{}", end - 1, self.len()),
            )
            .body(&content[start as usize..end as usize])
    }

    /// The request that completes it.
    pub fn complete(&self) -> Request {
        Request::new("PATCH", self.target())
            .header("Content-Type", "application/partial-upload")
            .header("Upload-Offset", self.len().to_string())
            .header("Upload-Complete", "?1")
    }

    /// Takes over what a status says; an error when something announced earlier is missing.
    pub fn hear(&mut self, status: &Response) -> Result<(), String> {
        let received = ranges(&status.json()["received"]);
        match self
            .announced
            .iter()
            .find(|part| !model::covers(&received, **part))
        {
            Some(part) => Err(format!(
                "upload {} of {}: announced {part:?}, now only {received:?}",
                self.id, self.path
            )),
            None => {
                self.announced = received;
                Ok(())
            }
        }
    }
}

/// `[[a,b],…]`.
pub fn ranges(value: &serde_json::Value) -> Vec<(u64, u64)> {
    let pairs = value.as_array().map(Vec::as_slice).unwrap_or_default();
    pairs
        .iter()
        .filter_map(|p| Some((p[0].as_u64()?, p[1].as_u64()?)))
        .collect()
}

impl Worker {
    /// Begins a session, or goes on with one.
    pub(super) fn session(&mut self, http: &Http) -> Step {
        if self.sessions.len() < SESSIONS_MAX && self.rng.chance(30) {
            return self.begin_session(http);
        }
        if self.sessions.is_empty() {
            return Ok(());
        }
        let index = self.rng.index(self.sessions.len());
        match self.rng.below(10) {
            0..3 => self.session_status(http, index),
            3 => self.session_head(http, index),
            _ => self.session_part(http, index),
        }
    }

    fn begin_session(&mut self, http: &Http) -> Step {
        let len = self.rng.between(8, 600_000);
        let (path, content) = (self.new_path(), new_content(len));
        let request = Request::new("POST", format!("/v1/uploads?path={}", http::encode(&path)))
            .header("Upload-Complete", "?0")
            .header("Upload-Length", len.to_string())
            .header("Gfl-Fingerprint", format!("{content:x}"))
            .header("Gfl-Blake3", data::b3(&data::marked(content)));
        let answer = self.quiet(http, &request)?;
        let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
        if id.is_empty() || answer.status != 201 {
            return Err(Stop::Wrong(format!(
                "begin: {} {}",
                answer.status,
                answer.text()
            )));
        }
        self.sessions.push(Session {
            id,
            path,
            content,
            announced: Vec::new(),
            completing: false,
        });
        Ok(())
    }

    /// A request that changes no path.
    fn quiet(&mut self, http: &Http, request: &Request) -> Result<Response, Stop> {
        self.model.refuse();
        let answer = http.try_send(request)?;
        match answer.status {
            200..300 => Ok(answer),
            500.. if self.power => Err(Stop::Cut),
            status => Err(Stop::Wrong(format!(
                "{} {}: {status} {}",
                request.method,
                request.target,
                answer.text()
            ))),
        }
    }

    fn session_status(&mut self, http: &Http, index: usize) -> Step {
        let answer = self.quiet(http, &Request::new("GET", self.sessions[index].target()))?;
        self.sessions[index].hear(&answer).map_err(Stop::Wrong)
    }

    fn session_head(&mut self, http: &Http, index: usize) -> Step {
        let answer = self.quiet(http, &Request::new("HEAD", self.sessions[index].target()))?;
        let offset = answer.number("Upload-Offset").unwrap_or(0);
        let session = &mut self.sessions[index];
        let known = session
            .announced
            .first()
            .filter(|r| r.0 == 0)
            .map_or(0, |r| r.1);
        if offset < known {
            return Err(Stop::Wrong(format!(
                "HEAD announces {offset}, earlier {known}"
            )));
        }
        announce(&mut session.announced, offset);
        Ok(())
    }

    /// Sends a missing part; with nothing missing, completes.
    fn session_part(&mut self, http: &Http, index: usize) -> Step {
        let status = self.quiet(http, &Request::new("GET", self.sessions[index].target()))?;
        self.sessions[index].hear(&status).map_err(Stop::Wrong)?;
        let session = &self.sessions[index];
        let missing = model::gaps(&session.announced, session.len());
        if missing.is_empty() {
            return self.complete_session(http, index);
        }
        let (start, end) = missing[self.rng.index(missing.len())];
        // Now and then from the middle, so that gaps come up.
        let start = if self.rng.chance(30) {
            (start + end) / 2
        } else {
            start
        };
        let part = session.part(start, end.min(start + PART_BYTES));
        let answer = http.try_send(&part)?;
        let all = end == session.len() && missing.len() == 1;
        match answer.status {
            204 => {}
            500.. if self.power => return Err(Stop::Cut),
            other => return Err(Stop::Wrong(format!("part: {other} {}", answer.text()))),
        }
        announce(
            &mut self.sessions[index].announced,
            answer.number("Upload-Offset").unwrap_or(0),
        );
        if all && self.rng.chance(50) {
            return self.session_head(http, index);
        }
        Ok(())
    }

    fn complete_session(&mut self, http: &Http, index: usize) -> Step {
        let session = self.sessions[index].clone();
        self.sessions[index].completing = true;
        let change = vec![vec![(session.path.clone(), Some(session.content))]];
        self.change(http, &session.complete(), change)?;
        self.sessions.remove(index);
        Ok(())
    }
}

/// Adds the announced start `0 … offset`.
fn announce(ranges: &mut Vec<(u64, u64)>, offset: u64) {
    if offset == 0 {
        return;
    }
    let reach = ranges
        .iter()
        .filter(|r| r.0 <= offset)
        .map(|r| r.1)
        .max()
        .unwrap_or(0);
    ranges.retain(|r| r.0 > offset);
    ranges.insert(0, (0, offset.max(reach)));
}
