//! One server per test, and requests as one-liners.

use bytes::Bytes;
use gfl_api::tokens::hash_token;
use gfl_core::App;
use gfl_core::clock::SystemClock;
use gfl_core::settings::Settings;
use gfl_server::incoming::RequestBody;
use gfl_server::{About, Server};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

/// A server on folders of its own.
pub(crate) struct Rig {
    pub(crate) server: Arc<Server>,
    pub(crate) dir: tempfile::TempDir,
    token: Option<String>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    /// The answer broke off.
    pub(crate) broken: bool,
    pub(crate) reusable: bool,
}

impl Rig {
    /// Authentication off.
    pub(crate) async fn open() -> Rig {
        Rig::start(None).await
    }

    /// Authentication on; `token` has these permissions and is sent with every request.
    pub(crate) async fn with_token(permissions: &[&str]) -> Rig {
        Rig::start(Some(permissions)).await
    }

    async fn start(permissions: Option<&[&str]>) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path().join("data"), dir.path().join("meta"));
        let token = permissions.map(|permissions| {
            let token = "ab".repeat(32);
            let file = dir.path().join("tokens.json");
            let tokens = serde_json::json!({"tokens":[{
                "id": "tok_000000000001", "token_hash": hash_token(&token), "user": "alice",
                "permissions": permissions, "created_at": "2025-01-01T00:00:00Z",
                "expires_at": "2999-01-01T00:00:00Z", "revoked": false,
            }]});
            std::fs::write(&file, tokens.to_string()).unwrap();
            settings.tokens_file = Some(file);
            token
        });
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        let about = About {
            address: "127.0.0.1:8080".into(),
            ..About::default()
        };
        Rig {
            server: Server::new(app, about),
            dir,
            token,
        }
    }

    /// Where a stored file lies.
    pub(crate) fn data(&self, path: &str) -> PathBuf {
        self.dir.path().join("data").join(path)
    }

    /// `METHOD /target`, header fields, body.
    pub(crate) async fn send(
        &self,
        line: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Got {
        let body = body.into();
        let body = if body.is_empty() {
            RequestBody::empty()
        } else {
            RequestBody::full(body)
        };
        self.send_body(line, fields, body).await
    }

    pub(crate) async fn send_body(
        &self,
        line: &str,
        fields: &[(&str, &str)],
        body: RequestBody,
    ) -> Got {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        let named = fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(token) = self.token.as_ref().filter(|_| !named) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        for (name, value) in fields.iter().filter(|(_, value)| *value != "-") {
            request = request.header(*name, *value);
        }
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (answer, reusable) = self.server.handle(peer, request.body(body).unwrap()).await;
        let (parts, mut body) = answer.into_parts();
        let (mut bytes, mut broken) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        let (status, headers) = (parts.status.as_u16(), parts.headers);
        Got {
            status,
            headers,
            body: bytes.into(),
            broken,
            reusable,
        }
    }

    pub(crate) async fn get(&self, target: &str) -> Got {
        self.send(&format!("GET {target}"), &[], "").await
    }

    /// Stores a file.
    pub(crate) async fn store(&self, path: &str, content: impl Into<Bytes>) -> Got {
        let got = self
            .send(&format!("PUT /v1/files/{path}"), &[], content)
            .await;
        assert!(got.status == 200 || got.status == 201, "{got:?}");
        got
    }

    pub(crate) async fn chunk(&self, path: &str, id: i64, total: i64, data_b64: &str) -> Got {
        let body = serde_json::json!({
            "path": path, "chunk_id": id, "data": data_b64, "checksum": "", "total": total,
        });
        self.send("POST /upload", &[], body.to_string()).await
    }
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The lines of an NDJSON body.
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Got {
        assert_eq!(self.status, status, "{self:?}");
        assert!(!self.broken, "{self:?}");
        self
    }

    /// A problem with this status and code.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> serde_json::Value {
        let got = self.is(status);
        assert_eq!(
            got.field("content-type"),
            "application/problem+json",
            "{got:?}"
        );
        let problem = got.json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&code.into(), &status.into())
        );
        assert_eq!(problem["request_id"], got.field("x-request-id"));
        problem
    }

    /// A v0 error, word for word.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, text: &str) {
        let got = self.is(status);
        assert_eq!(got.text(), format!("{text}\n"));
        assert_eq!(got.field("content-type"), "text/plain; charset=utf-8");
        assert_eq!(got.field("x-content-type-options"), "nosniff");
        assert!(
            StatusCode::from_u16(status).unwrap().as_u16() != 405 || got.field("allow").is_empty()
        );
    }

    /// A v0 success text.
    #[track_caller]
    pub(crate) fn says(self, status: u16, text: &str) {
        let got = self.is(status);
        assert_eq!(
            (got.text(), got.field("content-type")),
            (text, "text/plain; charset=utf-8")
        );
    }
}
