//! After a restart: everything a worker knows is compared with what the server shows, over the API
//! and on the disk.

use super::{Target, Worker};
use crate::catalog;
use crate::data;
use crate::http::{self, Http, Request, Response};
use crate::model::{self, Files};
use crate::tree;

impl Worker {
    /// Checks all promises for this worker's folder. The error is a violation.
    pub fn verify(&mut self, server: &Target) -> Result<(), String> {
        self.note(format!(
            "-- restarted, in doubt: {:x?}",
            self.model.in_flight
        ));
        self.check(server).map_err(|what| self.explain(&what))
    }

    fn check(&mut self, server: &Target) -> Result<(), String> {
        let http = server.http();
        let seen = self.observe(&http)?;
        self.model.settle(&seen)?;
        let on_disk = self.on_disk(server)?;
        self.model
            .compare(&on_disk)
            .map_err(|e| format!("on the disk: {e}"))?;
        self.finish_completing(&http)?;
        for session in &mut self.sessions {
            let answer = send(&http, &Request::new("GET", session.target()))?;
            if answer.status != 200 {
                return Err(format!("upload {} is gone: {}", session.id, answer.text()));
            }
            session.hear(&answer)?;
        }
        self.deleted
            .retain(|(p, _)| !self.model.files.contains_key(p));
        self.check_versions(&http)?;
        self.check_events(server)
    }

    /// Nobody is accused of a change by hand who made none.
    fn check_events(&mut self, server: &Target) -> Result<(), String> {
        let own = format!("{}/", self.folder);
        for event in catalog::events(&server.meta, self.events_seen)? {
            self.events_seen = event.id;
            if event.is_by_hand()
                && event.path.starts_with(&own)
                && !self.by_hand.contains(&event.path)
            {
                return Err(format!("nobody did this by hand: {event:?}"));
            }
        }
        Ok(())
    }

    /// All files below the worker's folder as the API serves them, whole and identified.
    fn observe(&self, http: &Http) -> Result<Files, String> {
        let target = format!("{}/?recursive=true&limit=10000", http::file(&self.folder));
        let answer = send(http, &Request::new("GET", target))?;
        let mut files = Files::new();
        if answer.status == 404 {
            return Ok(files);
        }
        let body = answer.json();
        let entries = body["entries"].as_array().ok_or_else(|| answer.text())?;
        for entry in entries.iter().filter(|e| e["type"] == "file") {
            let path = entry["path"].as_str().unwrap_or_default().to_owned();
            let answer = send(http, &Request::new("GET", http::file(&path)))?;
            if answer.status != 200 {
                return Err(format!("{path} is listed, GET says {}", answer.text()));
            }
            let id = model::identify(&path, &answer.body)?;
            if let Some(b3) = answer.header("Gfl-Blake3")
                && b3 != data::b3(&answer.body)
            {
                return Err(format!("{path}: Gfl-Blake3 {b3} is not the content's"));
            }
            files.insert(path, id);
        }
        Ok(files)
    }

    fn on_disk(&self, server: &Target) -> Result<Files, String> {
        let root = server.data.join(&self.folder);
        let mut files = Files::new();
        if !root.exists() {
            return Ok(files);
        }
        for file in tree::files(&root).map_err(|e| e.to_string())? {
            let name = file.strip_prefix(&server.data).map_err(|e| e.to_string())?;
            let path = name.to_string_lossy().into_owned();
            let content = std::fs::read(&file).map_err(|e| format!("{path}: {e}"))?;
            files.insert(path.clone(), model::identify(&path, &content)?);
        }
        Ok(files)
    }

    /// A completion whose answer was lost is asked for again and must succeed.
    fn finish_completing(&mut self, http: &Http) -> Result<(), String> {
        let (completing, open): (Vec<_>, Vec<_>) =
            self.sessions.drain(..).partition(|s| s.completing);
        self.sessions = open;
        for session in completing {
            let answer = send(http, &session.complete())?;
            if !(200..300).contains(&answer.status) {
                return Err(format!(
                    "completing {} again: {}",
                    session.path,
                    answer.text()
                ));
            }
            self.model
                .files
                .insert(session.path.clone(), session.content);
            let seen = send(http, &Request::new("GET", http::file(&session.path)))?;
            if model::identify(&session.path, &seen.body)? != session.content {
                return Err(format!(
                    "{}: completed, but holds other content",
                    session.path
                ));
            }
        }
        Ok(())
    }

    /// Old versions are whole.
    fn check_versions(&mut self, http: &Http) -> Result<(), String> {
        for _ in 0..2 {
            let Some((path, _)) = self.old_path() else {
                return Ok(());
            };
            let target = format!("/v1/versions/{}", http::encode(&path));
            let answer = send(http, &Request::new("GET", target))?;
            let body = answer.json();
            let list = body["versions"].as_array().ok_or_else(|| answer.text())?;
            let kept: Vec<&str> = list
                .iter()
                .filter(|v| v["state"] == "kept" && v["type"] != "dir")
                .filter_map(|v| v["id"].as_str())
                .collect();
            if let Some(id) = kept.first() {
                let target = format!("{}?version={id}", http::file(&path));
                let answer = send(http, &Request::new("GET", target))?;
                if answer.status != 200 {
                    return Err(format!("{path}: kept version {id}: {}", answer.text()));
                }
                model::identify(&format!("{path} version {id}"), &answer.body)?;
            }
        }
        Ok(())
    }
}

fn send(http: &Http, request: &Request) -> Result<Response, String> {
    http.try_send(request)
        .map_err(|e| format!("{} {}: {e}", request.method, request.target))
}
