//! The v1 API, one function per request (docs/http-api.md).
//!
//! Knows how a question is put on the wire and how its answer is read; when to ask what is decided in `commands/`
//! and `transfer/`.

use super::body::Body;
use super::call::parse_json;
use super::{Answer, Call, Error, Http, Kind, Patience, Result, V0};
use gfl_api::http::{self as fields, ContentRange};
use gfl_api::problem::Code;
use gfl_api::v1::{
    BatchAnswer, BatchOp, BatchRequest, Capabilities, Entry, ListPage, Me, MetaPatch, UploadDone,
    UploadInfo, VersionList,
};
use gfl_api::{FilePath, Root};
use http::Method;
use std::ops::Range;

/// Bytes of an answer that says only that it worked.
const SMALL_BYTES_MAX: usize = 64 * 1024;

/// A server that speaks v1.
pub(crate) struct V1 {
    /// The connections.
    pub(crate) http: Http,
    /// What the server said about itself.
    pub(crate) capabilities: Capabilities,
}

/// What travels with content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileMeta {
    /// Time of the last change, ns.
    pub(crate) mtime_ns: Option<i64>,
    /// Permission bits.
    pub(crate) mode: Option<u32>,
}

/// What must hold at the target.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// Nothing may be there.
    pub(crate) create_only: bool,
}

/// One answered range of a file.
pub(crate) struct Part {
    /// The bytes that follow.
    pub(crate) range: Range<u64>,
    /// Bytes of the whole file.
    pub(crate) total: u64,
    /// The content's hash, if the server knows it.
    pub(crate) b3: Option<Root>,
    /// The bytes.
    pub(crate) answer: Answer,
}

impl V1 {
    /// Asks what the server can do; none if it has never heard of v1.
    pub(crate) async fn probe(http: &Http) -> Result<Option<Self>> {
        let question = || Call::get("/v1/").anonymous();
        let answer = match http.retrying(question).await {
            Ok(answer) => answer,
            Err(error) if error.problem.is_some() => return Err(error),
            // A v0.1 server has no such page; but neither have others.
            Err(error) if matches!(error.status, 404 | 405) => {
                return match V0::is_there(http).await? {
                    true => Ok(None),
                    false => Err(Error::no_server(http.origin())),
                };
            }
            Err(error)
                if error.status == 400 && error.to_string().contains("this port speaks TLS") =>
            {
                return Err(Error::wants_tls(http.origin()));
            }
            Err(error) if matches!(error.status, 400 | 406 | 409..=428 | 430..=499 | 501) => {
                return Err(Error::no_server(http.origin()));
            }
            Err(error) => return Err(error),
        };
        match parse_json::<Capabilities>(answer).await {
            Ok(capabilities) if capabilities.name == Capabilities::NAME => Ok(Some(Self {
                http: http.clone(),
                capabilities,
            })),
            Err(error) if error.kind == Kind::Network => Err(error),
            _ => Err(Error::no_server(http.origin())),
        }
    }

    /// Who we are to the server.
    pub(crate) async fn me(&self) -> Result<Me> {
        self.http.json(|| Call::get("/v1/me")).await
    }

    /// What a path names.
    pub(crate) async fn entry(&self, path: &FilePath) -> Result<Entry> {
        self.http
            .json(|| Call::get(format!("/v1/meta/{}", path.to_url())))
            .await
    }

    /// As [`V1::entry`], none if there is nothing.
    pub(crate) async fn entry_if_any(&self, path: &FilePath) -> Result<Option<Entry>> {
        match self.entry(path).await {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            // A file stands where a folder would have to be: nothing can be below it.
            Err(error) if error.code == Code::NotADirectory => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the time and mode of a file. Returns it as it is then.
    pub(crate) async fn set_meta(&self, path: &FilePath, meta: FileMeta) -> Result<Entry> {
        let patch = MetaPatch {
            mtime: meta.mtime_ns.map(|ns| Some(fields::format_mtime(ns))),
            mode: meta.mode.map(|mode| Some(fields::format_mode(mode))),
        };
        let call = || {
            Call::new(Method::PATCH, format!("/v1/meta/{}", path.to_url()))
                .json_as(fields::TYPE_MERGE_PATCH, &patch)
        };
        self.http.json(call).await
    }

    /// One page of a folder.
    pub(crate) async fn list_page(
        &self,
        dir: &FilePath,
        recursive: bool,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage> {
        let mut target = format!("{}?limit={limit}", dir_target(dir));
        if recursive {
            target.push_str("&recursive=true");
        }
        if let Some(cursor) = cursor {
            target.push_str("&cursor=");
            target.push_str(&super::url::query_value(cursor));
        }
        self.http.json(|| Call::get(target.clone())).await
    }

    /// Makes a folder and its parents; it may be there.
    pub(crate) async fn mkdir(&self, dir: &FilePath) -> Result<()> {
        self.drained(|| Call::new(Method::PUT, dir_target(dir)))
            .await
    }

    /// Deletes a file.
    pub(crate) async fn delete_file(&self, path: &FilePath) -> Result<()> {
        self.delete(file_target(path)).await
    }

    /// Deletes a folder with all it holds.
    pub(crate) async fn delete_dir(&self, path: &FilePath) -> Result<()> {
        self.delete(format!("{}?recursive=true", dir_target(path)))
            .await
    }

    async fn delete(&self, target: String) -> Result<()> {
        let mut attempts = self.http.attempts();
        loop {
            let call = Call::new(Method::DELETE, target.clone()).patience(Patience::Long);
            match self.http.send(call).await {
                Ok(answer) => return answer.bytes(SMALL_BYTES_MAX).await.map(drop),
                // The try before this one did it, and only its answer got lost.
                Err(error) if error.kind == Kind::NotFound && !attempts.is_first() => return Ok(()),
                Err(error) => self.http.pause(&mut attempts, error).await?,
            }
        }
    }

    /// Several operations, each by itself. Not repeated once the server may have begun.
    pub(crate) async fn batch(&self, ops: Vec<BatchOp>) -> Result<BatchAnswer> {
        let request = BatchRequest { ops };
        let answer = self
            .http
            .once(|| {
                Call::new(Method::POST, "/v1/batch")
                    .json(&request)
                    .patience(Patience::Long)
            })
            .await?;
        parse_json(answer).await
    }

    /// One operation; its failure is this function's.
    pub(crate) async fn operation(&self, op: BatchOp) -> Result<Option<Entry>> {
        let mut attempts = self.http.attempts();
        loop {
            let answer = self.batch(vec![op.clone()]).await?;
            let Some(result) = answer.results.into_iter().next() else {
                return Err(Error::protocol(
                    "the server answered a batch with no result",
                ));
            };
            if result.status < 400 {
                return Ok(result.entry);
            }
            let error = Error::from_problem(result.status, result.problem.as_ref());
            if !error.was_not_done() {
                return Err(error);
            }
            self.http.pause(&mut attempts, error).await?;
        }
    }

    /// All versions of a file, or all that was deleted from a folder.
    pub(crate) async fn versions(&self, path: &FilePath, is_dir: bool) -> Result<VersionList> {
        let target = versions_target(path, is_dir);
        let mut all = VersionList::default();
        let mut next = target.clone();
        loop {
            let page: VersionList = self.http.json(|| Call::get(next.clone())).await?;
            all.versions.extend(page.versions);
            match page.next {
                Some(cursor) => {
                    next = format!("{target}?cursor={}", super::url::query_value(&cursor));
                }
                None => return Ok(all),
            }
        }
    }

    /// Brings a kept version back, the newest deleted one unless told which.
    pub(crate) async fn restore(&self, path: &FilePath, id: Option<&str>) -> Result<Entry> {
        let mut target = versions_target(path, false);
        if let Some(id) = id {
            target = format!("{target}?restore={}", super::url::query_value(id));
        }
        let call = || Call::new(Method::POST, target.clone()).patience(Patience::Long);
        parse_json(self.http.once(call).await?).await
    }

    /// One whole file, once. `len` may be unknown.
    pub(crate) async fn put(
        &self,
        path: &FilePath,
        body: Body,
        meta: FileMeta,
        b3: Option<Root>,
        conditions: Conditions,
    ) -> Result<UploadDone> {
        let call = with_meta(
            Call::new(Method::PUT, file_target(path)),
            meta,
            b3,
            conditions,
        )
        .field("content-type", fields::TYPE_OCTETS)
        .patience(Patience::Long)
        .body(body);
        parse_json(self.http.send(call).await?).await
    }

    /// Opens an upload, or finds the open one of the same file. Without a length the file is what was received when
    /// it is completed; without a fingerprint nobody finds it again.
    pub(crate) async fn begin_upload(
        &self,
        path: &FilePath,
        len: Option<u64>,
        fingerprint: Option<&str>,
        meta: FileMeta,
        conditions: Conditions,
    ) -> Result<UploadInfo> {
        let target = format!(
            "/v1/uploads?path={}",
            super::url::query_value(path.as_str())
        );
        self.http
            .json(|| {
                with_meta(
                    Call::new(Method::POST, target.clone()),
                    meta,
                    None,
                    conditions,
                )
                .field(fields::UPLOAD_COMPLETE, "?0")
                .field_if(fields::UPLOAD_LENGTH, len.map(|len| len.to_string()))
                .field_if(fields::GFL_FINGERPRINT, fingerprint)
            })
            .await
    }

    /// What is durable of an upload.
    pub(crate) async fn upload(&self, id: &str) -> Result<UploadInfo> {
        self.http.json(|| Call::get(upload_target(id))).await
    }

    /// Has the server write what it received of an upload. Says how many bytes from the start it has then; ends
    /// requests that still send.
    pub(crate) async fn checkpoint_upload(&self, id: &str) -> Result<u64> {
        let call = || Call::new(Method::HEAD, upload_target(id)).patience(Patience::Long);
        let answer = self.http.retrying(call).await?;
        let offset = offset_of(&answer);
        offset.ok_or_else(|| Error::protocol("the server told no offset"))
    }

    /// One part, once. Returns how many bytes from the start are on the server's disk.
    pub(crate) async fn put_part(
        &self,
        id: &str,
        range: Range<u64>,
        total: Option<u64>,
        body: Body,
    ) -> Result<Option<u64>> {
        let call = Call::new(Method::PUT, upload_target(id))
            .field("content-range", ContentRange::of(range, total).to_string())
            .field("content-type", fields::TYPE_OCTETS)
            .body(body);
        let answer = self.http.send(call).await?;
        let offset = offset_of(&answer);
        answer.bytes(SMALL_BYTES_MAX).await?;
        Ok(offset)
    }

    /// Makes the new version out of all parts.
    pub(crate) async fn complete_upload(&self, id: &str, len: u64, b3: Root) -> Result<UploadDone> {
        self.http
            .json(|| {
                Call::new(Method::PATCH, upload_target(id))
                    .field("content-type", fields::TYPE_PARTIAL_UPLOAD)
                    .field(fields::UPLOAD_OFFSET, len.to_string())
                    .field(fields::UPLOAD_COMPLETE, "?1")
                    .field(fields::GFL_BLAKE3, b3.to_string())
                    .patience(Patience::Long)
            })
            .await
    }

    /// Gives an upload up and its room on the server back.
    pub(crate) async fn abandon_upload(&self, id: &str) -> Result<()> {
        self.drained(|| Call::new(Method::DELETE, upload_target(id)))
            .await
    }

    /// Bytes of a file, once: all of it, or a range of the content that `etag` names.
    pub(crate) async fn get(
        &self,
        path: &FilePath,
        range: Option<Range<u64>>,
        etag: Option<&str>,
    ) -> Result<Part> {
        let wanted = range
            .clone()
            .map(|r| format!("bytes={}-{}", r.start, r.end.saturating_sub(1)));
        let call = Call::get(file_target(path))
            .field_if("range", wanted)
            .field_if("if-match", etag);
        let answer = self.http.send(call).await?;
        let b3 = answer
            .header(fields::GFL_BLAKE3)
            .and_then(|text| text.parse().ok());
        let (got, total) = match answer.head.status.as_u16() {
            206 => {
                let field = answer.header("content-range").and_then(ContentRange::parse);
                match field {
                    Some(ContentRange {
                        range: Some(range),
                        total: Some(total),
                    }) => (range, total),
                    _ => {
                        return Err(Error::protocol("the server sent a part without its place"));
                    }
                }
            }
            200 => {
                let len = answer
                    .header("content-length")
                    .and_then(|text| text.parse().ok());
                let len = len.ok_or_else(|| Error::protocol("the server told no length"))?;
                (0..len, len)
            }
            status => {
                return Err(Error::protocol(format!("the server answered {status}")));
            }
        };
        if range.as_ref().is_some_and(|range| *range != got) {
            return Err(Error::protocol(
                "the server sent another part than asked for",
            ));
        }
        Ok(Part {
            range: got,
            total,
            b3,
            answer,
        })
    }

    /// A request whose answer has nothing to say.
    async fn drained(&self, call: impl FnMut() -> Call) -> Result<()> {
        self.http
            .retrying(call)
            .await?
            .bytes(SMALL_BYTES_MAX)
            .await
            .map(drop)
    }
}

fn offset_of(answer: &Answer) -> Option<u64> {
    answer.header(fields::UPLOAD_OFFSET)?.parse().ok()
}

fn with_meta(call: Call, meta: FileMeta, b3: Option<Root>, conditions: Conditions) -> Call {
    call.field_if(fields::GFL_MTIME, meta.mtime_ns.map(fields::format_mtime))
        .field_if(fields::GFL_MODE, meta.mode.map(fields::format_mode))
        .field_if(fields::GFL_BLAKE3, b3.map(|root| root.to_string()))
        .field_if("if-none-match", conditions.create_only.then_some("*"))
}

fn file_target(path: &FilePath) -> String {
    format!("/v1/files/{}", path.to_url())
}

fn dir_target(path: &FilePath) -> String {
    if path.is_root() {
        "/v1/files/".to_owned()
    } else {
        format!("/v1/files/{}/", path.to_url())
    }
}

fn versions_target(path: &FilePath, is_dir: bool) -> String {
    let slash = if is_dir && !path.is_root() { "/" } else { "" };
    format!("/v1/versions/{}{slash}", path.to_url())
}

pub(super) fn upload_target(id: &str) -> String {
    format!(
        "/v1/uploads/{}",
        super::url::query_value(id).replace('/', "%2F")
    )
}
