//! Mixed traffic of one worker over its own folder: put, overwrite, bulk, move, delete, undelete,
//! upload sessions, v0 chunks, hand edits and reads, with a model of what was acknowledged.

use crate::data::{self, Rng};
use crate::http::{self, Http, Request, Response};
use crate::model::{self, Change, Files, Model};
use crate::server::Server;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

mod sessions;
mod verify;

pub use sessions::{Session, ranges};

/// Numbers every content of a run, over all workers.
static NEXT_CONTENT: AtomicU64 = AtomicU64::new(1);

/// A new content id of `len` bytes.
pub fn new_content(len: u64) -> u64 {
    data::mark(NEXT_CONTENT.fetch_add(1, Ordering::SeqCst), len)
}

const HISTORY_LINES_MAX: usize = 4000;

/// How an operation ended.
#[derive(Debug)]
pub enum Stop {
    /// The connection broke, or (power tests) the disk is gone: the operation stays in doubt.
    Cut,
    /// The server did something it must not do.
    Wrong(String),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Stop {
        Stop::Cut
    }
}

/// Result of one operation.
pub type Step = Result<(), Stop>;

/// One worker. Survives the server's restarts.
#[derive(Debug)]
pub struct Worker {
    /// Its folder on the server.
    pub folder: String,
    /// What it knows.
    pub model: Model,
    /// Upload sessions whose beginning was acknowledged.
    pub sessions: Vec<Session>,
    /// Paths that were ever written by hand.
    pub by_hand: Vec<String>,
    /// The last event that was looked at.
    pub events_seen: i64,
    /// What was sent and answered, the newest last; part of every violation's message.
    history: VecDeque<String>,
    /// Operations done, over all rounds.
    pub done: u64,
    /// Disk errors are expected (the power was cut); hand edits are left out.
    pub power: bool,
    rng: Rng,
    deleted: Vec<(String, u64)>,
}

impl Worker {
    /// Worker `number` of a run.
    pub fn new(number: usize, seed: u64, power: bool) -> Worker {
        Worker {
            folder: format!("w{number}"),
            model: Model::default(),
            sessions: Vec::new(),
            by_hand: Vec::new(),
            history: VecDeque::new(),
            events_seen: 0,
            done: 0,
            power,
            rng: Rng::new(seed ^ ((number as u64 + 1) << 40)),
            deleted: Vec::new(),
        }
    }

    /// Works until the connection breaks. The error is a violation.
    pub fn run(&mut self, server: &Target) -> Result<(), String> {
        let http = server.http();
        self.note("-- a new life of the server".into());
        loop {
            match self.step(&http, server) {
                Ok(()) => self.done += 1,
                Err(Stop::Cut) => return Ok(()),
                Err(Stop::Wrong(what)) => return Err(self.explain(&what)),
            }
        }
    }

    fn step(&mut self, http: &Http, server: &Target) -> Step {
        match self.rng.below(100) {
            0..25 => self.put(http),
            25..37 => self.read(http),
            37..49 => self.delete(http),
            49..61 => self.rename(http),
            61..66 => self.rename_folder(http),
            66..70 => self.undelete(http),
            70..78 => self.bulk(http),
            78..82 => self.v0(http),
            82..86 if !self.power => self.hand_edit(http, server),
            _ => self.session(http),
        }
    }

    /// Small mostly, sometimes several groups.
    fn some_len(&mut self) -> u64 {
        match self.rng.below(20) {
            0 => self.rng.between(65_536, 400_000),
            1 => 65_536,
            2 => 8,
            _ => self.rng.between(8, 20_000),
        }
    }

    fn new_path(&mut self) -> String {
        let (folder, name) = (self.rng.below(3), self.rng.below(5));
        match folder {
            0 => format!("{}/f{name}", self.folder),
            n => format!("{}/d{n}/f{name}", self.folder),
        }
    }

    fn old_path(&mut self) -> Option<(String, u64)> {
        let movable = |p: &&String| !p.contains("/hand/");
        let paths: Vec<&String> = self.model.files.keys().filter(movable).collect();
        if paths.is_empty() {
            return None;
        }
        let path = paths[self.rng.index(paths.len())].clone();
        let id = self.model.files[&path];
        Some((path, id))
    }

    /// Sends a change and keeps the model in step with the answer.
    fn change(
        &mut self,
        http: &Http,
        request: &Request,
        changes: Vec<Change>,
    ) -> Result<Response, Stop> {
        self.note(format!(
            "{} {} {changes:x?}",
            request.method, request.target
        ));
        self.model.begin(changes);
        let answer = http.try_send(request)?;
        self.judge(&request.method, &request.target, answer.status, &answer)?;
        Ok(answer)
    }

    /// Remembers what happens, for whoever has to find out why a model and a server differ.
    fn note(&mut self, what: String) {
        if self.history.len() == HISTORY_LINES_MAX {
            self.history.pop_front();
        }
        self.history.push_back(what);
    }

    /// A violation with what happened to its path.
    fn explain(&self, violation: &str) -> String {
        let path = violation
            .split([':', ' '])
            .find(|word| word.contains(&self.folder));
        let name = path.and_then(|p| p.rsplit('/').next()).unwrap_or_default();
        let words = [name, "\"op\"", "--"];
        let told = |line: &&String| words.iter().any(|word| line.contains(word));
        let about = self.history.iter().filter(told);
        let lines: Vec<&str> = about.map(String::as_str).collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        format!("{violation}\n{}", last.join("\n"))
    }

    fn judge(&mut self, verb: &str, target: &str, status: u16, answer: &Response) -> Step {
        self.note(format!("   {target}: {status}"));
        match status {
            200..300 => self.model.acknowledge(),
            500.. if self.power => return Err(Stop::Cut),
            _ => {
                self.model.refuse();
                return Err(Stop::Wrong(format!(
                    "{verb} {target}: {status} {}",
                    answer.text()
                )));
            }
        }
        Ok(())
    }

    fn put(&mut self, http: &Http) -> Step {
        let (path, len) = (self.new_path(), self.some_len());
        self.put_at(http, path, len)
    }

    fn put_at(&mut self, http: &Http, path: String, len: u64) -> Step {
        let id = new_content(len);
        let content = data::marked(id);
        let mut request = Request::new("PUT", http::file(&path));
        if self.rng.chance(50) {
            request = request.header("Gfl-Blake3", data::b3(&content));
        }
        self.change(http, &request.body(content), vec![vec![(path, Some(id))]])?;
        Ok(())
    }

    fn read(&mut self, http: &Http) -> Step {
        let path = self.new_path();
        let answer = http.try_send(&Request::new("GET", http::file(&path)))?;
        let seen = match answer.status {
            200 => Some(model::identify(&path, &answer.body).map_err(Stop::Wrong)?),
            404 => None,
            500.. if self.power => return Err(Stop::Cut),
            other => {
                return Err(Stop::Wrong(format!(
                    "GET {path}: {other} {}",
                    answer.text()
                )));
            }
        };
        let known = self.model.files.get(&path).copied();
        if seen != known {
            return Err(Stop::Wrong(format!(
                "GET {path}: {seen:x?}, acknowledged {known:x?}"
            )));
        }
        Ok(())
    }

    fn delete(&mut self, http: &Http) -> Step {
        let Some((path, id)) = self.old_path() else {
            return Ok(());
        };
        let request = Request::new("DELETE", http::file(&path));
        self.change(http, &request, vec![vec![(path.clone(), None)]])?;
        self.deleted.retain(|(p, _)| *p != path);
        self.deleted.push((path, id));
        Ok(())
    }

    fn batch(&mut self, http: &Http, op: &serde_json::Value, change: Change) -> Result<u16, Stop> {
        let request = Request::new("POST", "/v1/batch").json(&serde_json::json!({ "ops": [op] }));
        self.note(format!("batch {op} {change:x?}"));
        self.model.begin(vec![change]);
        let answer = http.try_send(&request)?;
        let status = match answer.status {
            200 => answer.json()["results"][0]["status"].as_u64().unwrap_or(0) as u16,
            other => other,
        };
        self.judge("batch", &op.to_string(), status, &answer)?;
        Ok(status)
    }

    fn rename(&mut self, http: &Http) -> Step {
        let Some((from, id)) = self.old_path() else {
            return Ok(());
        };
        let to = self.new_path();
        if from == to {
            return Ok(());
        }
        let op = serde_json::json!({ "op": "move", "path": from, "to": to, "overwrite": true });
        self.batch(http, &op, vec![(from, None), (to, Some(id))])?;
        Ok(())
    }

    /// Moves or deletes a whole folder: one step for everything in it.
    fn rename_folder(&mut self, http: &Http) -> Step {
        let from = format!("{}/d{}", self.folder, self.rng.between(1, 2));
        let inside: Vec<(String, u64)> = self.below(&from);
        if inside.is_empty() {
            return Ok(());
        }
        // What was deleted from a folder goes with it, and is no longer to be had under this path.
        let prefix = format!("{from}/");
        self.deleted.retain(|(p, _)| !p.starts_with(&prefix));
        let mut change: Change = inside.iter().map(|(p, _)| (p.clone(), None)).collect();
        let op = if self.rng.chance(25) {
            serde_json::json!({ "op": "delete", "path": from, "recursive": true })
        } else {
            let to = format!("{}/moved{}", self.folder, new_content(8) >> 24);
            for (path, id) in &inside {
                change.push((format!("{to}{}", &path[from.len()..]), Some(*id)));
            }
            serde_json::json!({ "op": "move", "path": from, "to": to })
        };
        self.batch(http, &op, change)?;
        Ok(())
    }

    fn below(&self, folder: &str) -> Vec<(String, u64)> {
        let prefix = format!("{folder}/");
        let inside = self
            .model
            .files
            .iter()
            .filter(|(p, _)| p.starts_with(&prefix));
        inside.map(|(p, id)| (p.clone(), *id)).collect()
    }

    fn undelete(&mut self, http: &Http) -> Step {
        let Some((path, id)) = self.deleted.pop() else {
            return Ok(());
        };
        if self.model.files.contains_key(&path) {
            return Ok(());
        }
        let request = Request::new("POST", format!("/v1/versions/{}", http::encode(&path)));
        self.change(http, &request, vec![vec![(path, Some(id))]])?;
        Ok(())
    }

    fn bulk(&mut self, http: &Http) -> Step {
        let mut files = Files::new();
        for _ in 0..self.rng.between(1, 12) {
            let (path, len) = (self.new_path(), self.rng.between(8, 5_000));
            files.insert(path, new_content(len));
        }
        let list: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(p, id)| (p.clone(), data::marked(*id)))
            .collect();
        let request = Request::new("POST", "/v1/bulk")
            .header("Content-Type", "application/vnd.gfl.bulk")
            .body(crate::frames::put_body(&list));
        self.note(format!("bulk {files:x?}"));
        self.model.begin(
            files
                .into_iter()
                .map(|(p, id)| vec![(p, Some(id))])
                .collect(),
        );
        let answer = http.try_send(&request)?;
        self.bulk_answer(&answer)
    }

    /// Lines of the answer acknowledge single files, even when the stream breaks off later.
    fn bulk_answer(&mut self, answer: &Response) -> Step {
        let text = answer.text();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect();
        for line in &lines {
            let status = line["status"].as_u64().unwrap_or(200);
            if answer.status != 200 || status >= 300 {
                return self.judge("POST", "bulk", status.max(400) as u16, answer);
            }
        }
        self.judge("POST", "bulk", answer.status, answer)
    }

    fn v0(&mut self, http: &Http) -> Step {
        let (path, len) = (self.new_path(), self.rng.between(16, 30_000));
        let id = new_content(len);
        let content = data::marked(id);
        let (first, second) = content.split_at(content.len() / 2);
        let chunk = |n, data: &[u8]| {
            Request::new("POST", "/upload").json(&crate::v0::chunk(&path, n, 2, data))
        };
        self.note(format!("v0 chunk 0 {path} {id:x}"));
        let answer = http.try_send(&chunk(0, first))?;
        self.judge("POST", "/upload", answer.status, &answer)?;
        self.change(
            http,
            &chunk(1, second),
            vec![vec![(path.clone(), Some(id))]],
        )?;
        Ok(())
    }

    /// Somebody works in the folder itself, or the server replaces what they left.
    fn hand_edit(&mut self, http: &Http, server: &Target) -> Step {
        let path = self.hand_path();
        if self.rng.chance(40) {
            let len = self.rng.between(8, 9_000);
            return self.put_at(http, path, len);
        }
        self.model.refuse();
        self.edit(server, path).map_err(Stop::Wrong)
    }

    fn hand_path(&mut self) -> String {
        format!("{}/hand/h{}", self.folder, self.rng.below(3))
    }

    /// A write by hand is there at once.
    fn edit(&mut self, server: &Target, path: String) -> Result<(), String> {
        let id = new_content(self.rng.between(8, 9_000));
        let place = || {
            std::fs::create_dir_all(server.data.join(&self.folder).join("hand"))?;
            std::fs::write(server.data.join(&path), data::marked(id))
        };
        place().map_err(|e| format!("edit by hand of {path}: {e}"))?;
        self.note(format!("edit by hand {path} {id:x}"));
        self.by_hand.push(path.clone());
        self.model.files.insert(path, id);
        Ok(())
    }

    /// Edits while no server runs; it has to notice them when it starts.
    pub fn edit_while_down(&mut self, server: &Target) -> Result<(), String> {
        let path = self.hand_path();
        let in_doubt = self
            .model
            .in_flight
            .iter()
            .flatten()
            .any(|(p, _)| *p == path);
        if in_doubt || self.rng.chance(50) {
            return Ok(());
        }
        if self.model.files.contains_key(&path) && self.rng.chance(30) {
            std::fs::remove_file(server.data.join(&path)).map_err(|e| format!("{path}: {e}"))?;
            self.by_hand.push(path.clone());
            self.model.files.remove(&path);
            return Ok(());
        }
        self.edit(server, path)
    }
}

/// Where workers send their requests.
#[derive(Debug, Clone)]
pub struct Target {
    addr: std::net::SocketAddr,
    token: String,
    /// The server's visible files.
    pub data: PathBuf,
    /// Its catalog's folder.
    pub meta: PathBuf,
}

impl Target {
    /// The server as it runs now.
    pub fn of(server: &Server) -> Target {
        Target {
            addr: server.addr(),
            token: server.token().to_owned(),
            data: server.data(),
            meta: server.meta(),
        }
    }

    /// A client.
    pub fn http(&self) -> Http {
        Http::new(self.addr, Some(format!("Bearer {}", self.token)))
    }
}
