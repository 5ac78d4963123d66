//! Servers of v0.1 (the Go program): what they can do, as they want it done.
//!
//! Frozen: nothing new goes here. Such a server never verifies anything, so neither can we.

use super::body::Body;
use super::{Answer, Call, Error, Http, Kind, Patience, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gfl_api::v0::parse_list;
use http::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Bytes of one chunk; what the v0.1 client sent, whatever its configuration said.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;
/// Bytes of a listing.
const LIST_BYTES_MAX: usize = 256 * 1024 * 1024;
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The server names its folder for chunks by the first bytes of the path, and crashes if there are fewer.
const PATH_BYTES_MIN: usize = 8;

/// A server that does not know v1.
pub(crate) struct V0 {
    http: Http,
}

impl V0 {
    /// A server that said it does not know v1.
    pub(crate) fn new(http: Http) -> Self {
        Self { http }
    }

    /// Whether such a server is there: `/config` tells everybody whether a token is needed.
    pub(crate) async fn is_there(http: &Http) -> Result<bool> {
        let call = || Call::get("/config").anonymous();
        let body = match http.retrying(call).await {
            Ok(answer) => answer.bytes(TEXT_BYTES_MAX).await?,
            Err(error) if error.kind == Kind::Network => return Err(error),
            Err(_) => return Ok(false),
        };
        let told = serde_json::from_slice::<serde_json::Value>(&body);
        Ok(told.is_ok_and(|told| told.get("auth_enabled").is_some()))
    }

    /// Begins one piece of work.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Refuses paths that crash such a server.
    pub(crate) fn check_upload_path(path: &str) -> Result<()> {
        if path.len() >= PATH_BYTES_MIN {
            return Ok(());
        }
        Err(Error::new(
            Kind::Refused,
            format!(
                "{path}: a v0.1 server crashes on upload paths shorter than {PATH_BYTES_MIN} bytes"
            ),
        )
        .with_hint("put it into a folder, as in uploads/NAME, or update the server"))
    }

    /// One chunk of an upload. May be repeated: the last one of a number counts.
    pub(crate) async fn put_chunk(
        &self,
        path: &str,
        id: u64,
        total: u64,
        data: &[u8],
    ) -> Result<()> {
        let body = json!({
            "path": path,
            "chunk_id": id,
            "data": STANDARD.encode(data),
            "checksum": hex::encode(Sha256::digest(data)),
            "total": total,
        });
        let body = Bytes::from(body.to_string());
        self.text(|| {
            Call::new(Method::POST, "/upload")
                .field("content-type", "application/json")
                .patience(Patience::Long)
                .body(Body::Full(body.clone()))
        })
        .await
    }

    /// A file from its beginning.
    pub(crate) async fn download(&self, path: &str) -> Result<Answer> {
        self.http.send(Call::get(target("/download", path))).await
    }

    /// The names in a folder.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<String>> {
        let call = || Call::get(target("/list", path));
        parse(self.http.retrying(call).await?).await
    }

    /// As [`V0::list`], for a folder that may not be there: such a server answers 500 then, which is no reason to ask
    /// again.
    pub(crate) async fn list_once(&self, path: &str) -> Result<Vec<String>> {
        parse(self.http.send(Call::get(target("/list", path))).await?).await
    }

    /// Deletes a file, or a folder with all it holds.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.text(|| Call::new(Method::DELETE, target("/delete", path)).patience(Patience::Long))
            .await
    }

    /// Makes a folder and its parents.
    pub(crate) async fn mkdir(&self, path: &str) -> Result<()> {
        self.text(|| Call::new(Method::POST, target("/mkdir", path)))
            .await
    }

    /// Such a server answers 500 to nearly everything, also to what will never work: no retrying those.
    async fn text(&self, mut call: impl FnMut() -> Call) -> Result<()> {
        let mut attempts = self.http.attempts();
        loop {
            match self.http.send(call()).await {
                Ok(answer) => return answer.bytes(TEXT_BYTES_MAX).await.map(drop),
                Err(error) if error.status == 500 => return Err(error),
                Err(error) => self.http.pause(&mut attempts, error).await?,
            }
        }
    }
}

async fn parse(listing: Answer) -> Result<Vec<String>> {
    let body = listing.bytes(LIST_BYTES_MAX).await?;
    parse_list(&body)
        .map_err(|error| Error::protocol(format!("the server's listing cannot be read: {error}")))
}

fn target(endpoint: &str, path: &str) -> String {
    format!("{endpoint}?path={}", super::url::query_value(path))
}
