//! `POST /v1/bulk`: many small files in one body; each is answered when it is durable.
//!
//! Two halves run together: the reader takes files off the body, the storer has up to [`FILES_IN_FLIGHT_MAX`] of
//! them stored at once, so that the core can make them durable in one group. The reader is stopped only by a full
//! storer, and the storer only by a client that does not read its answers.

use super::answers::line;
use super::{fields, held};
use crate::body::{Body, BodyError};
use crate::caller;
use crate::facts::{Facts, logged};
use crate::incoming;
use crate::problem::{Failure, Outcome};
use crate::server::{Call, Server};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use gfl_api::frames::{Decoder, Event, FileHeader};
use gfl_api::http::{EtagList, TYPE_BULK, TYPE_NDJSON};
use gfl_api::path::FilePath;
use gfl_api::problem::Code;
use gfl_api::v1::BulkAnswer;
use gfl_core::auth::Caller;
use gfl_core::files::{
    BodyBroken, BodyStream, Committed, Expected, FileMeta, Node, Preconditions, Put,
};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Files of one request that are being stored at once.
const FILES_IN_FLIGHT_MAX: usize = 64;
/// A file up to this size is taken off the body whole before it is stored; of a larger one only
/// [`PIECES_QUEUED_MAX`] pieces are in memory.
const WHOLE_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Pieces of a larger file between body and store.
const PIECES_QUEUED_MAX: usize = 4;
/// Answers that wait for the client to read them.
const ANSWERS_QUEUED_MAX: usize = 1024;

/// Answers a bulk put.
pub(super) async fn route(mut call: Call) -> Outcome {
    call.route("/v1/bulk");
    let caller = caller::for_v1(&call).await?;
    if call.method != Method::POST {
        return Err(Failure::method("POST"));
    }
    fields::demand_type(&call, TYPE_BULK, ACCEPT)?;
    fields::refuse_coding(&call)?;
    let is_held = held::is_needed(call.headers());
    let mut reader = Reader {
        server: Arc::clone(&call.server),
        body: call.take_body().into_stream(),
        decoder: Decoder::new(),
        input: Bytes::new(),
    };
    // Before the answer begins: what is no bulk stream at all fails with a status of its own, and a client that
    // waits to be asked for the body is asked.
    let first = reader.event().await?;
    call.facts.many();
    let (answers, mut answered) = mpsc::channel(ANSWERS_QUEUED_MAX);
    let storer = Storer {
        server: Arc::clone(&call.server),
        caller,
        facts: Arc::clone(&call.facts),
        answers,
    };
    // A task of its own: files that arrived whole are stored even when the client does not wait for the answer.
    tokio::spawn(storer.run(reader, first));
    let held = match is_held {
        true => held::until_the_end(&mut answered).await,
        false => held::Held::default(),
    };
    let first = (!held.lines.is_empty()).then_some(Ok(held.lines));
    let lines = stream::unfold(
        (answered, held.rights),
        |(mut answered, rights)| async move {
            let line: Bytes = answered.recv().await?;
            Some((Ok::<_, BodyError>(line), (answered, rights)))
        },
    );
    let lines = stream::iter(first).chain(lines);
    let mut answer = Response::new(Body::stream(Box::pin(lines)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE_NDJSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// A file on its way from the body to the store.
struct Incoming {
    header: FileHeader,
    body: BodyStream,
    /// The right to the memory of a file that was taken whole.
    _permit: Option<OwnedSemaphorePermit>,
}

struct Storer {
    server: Arc<Server>,
    caller: Caller,
    facts: Arc<Facts>,
    answers: mpsc::Sender<Bytes>,
}

impl Storer {
    async fn run(self, reader: Reader, first: Event) {
        let (files, incoming) = mpsc::channel(1);
        let (read, count) = tokio::join!(reader.run(first, files), self.store_all(incoming));
        let last = match read {
            Ok(()) => serde_json::json!({ "end": true, "count": count }),
            Err(failure) => {
                serde_json::json!({ "problem": failure.into_problem(&self.facts.id) })
            }
        };
        if self.answers.send(line(&last)).await.is_err() {
            self.log_alone();
        }
    }

    /// The request's own line was written when its client left; files that had arrived whole were stored after it.
    fn log_alone(&self) {
        let many = self.facts.many();
        let (first_failed, problem) = many.first_failed().unzip();
        tracing::info!(
            who = logged(self.caller.user()),
            files = many.files(),
            failed = many.failures(),
            first_failed,
            problem,
            request_id = self.facts.id,
            "a bulk put went on without its client"
        );
    }

    /// Stores files as they come and answers each when it is done. Returns how many there were.
    async fn store_all(&self, mut incoming: mpsc::Receiver<Incoming>) -> u64 {
        let mut in_flight = FuturesUnordered::new();
        let (mut open, mut count) = (true, 0);
        while open || !in_flight.is_empty() {
            tokio::select! {
                file = incoming.recv(), if open && in_flight.len() < FILES_IN_FLIGHT_MAX => match file {
                    Some(file) => in_flight.push(self.store(file)),
                    None => open = false,
                },
                Some(answer) = in_flight.next(), if !in_flight.is_empty() => {
                    count += 1;
                    if self.answers.send(line(&answer)).await.is_err() {
                        // Nobody listens any more: finish what is under way, take nothing new.
                        incoming.close();
                    }
                }
            }
        }
        count
    }

    async fn store(&self, file: Incoming) -> BulkAnswer {
        let mut answer = BulkAnswer {
            index: file.header.index,
            path: file.header.path.clone(),
            ..BulkAnswer::default()
        };
        match self.put(file).await {
            Ok(done) => {
                self.facts.many().done();
                answer.status = if done.created { 201 } else { 200 };
                if let Node::File {
                    version, b3, etag, ..
                } = done.stat.node
                {
                    answer.b3 = b3.map(|b3| b3.to_string());
                    answer.etag = Some(etag);
                    answer.version = version.map(|version| version.to_string());
                }
            }
            Err(failure) => {
                answer.status = failure.status();
                self.facts
                    .many()
                    .failed(&answer.path, failure.code().as_str());
                answer.problem = Some(failure.into_problem(&self.facts.id));
            }
        }
        answer
    }

    async fn put(&self, file: Incoming) -> Outcome<Committed> {
        let header = file.header;
        let put = Put {
            path: FilePath::parse(&header.path)?,
            len: Some(header.size),
            meta: FileMeta {
                mtime_ns: header.mtime_ns,
                mode: header.mode,
            },
            expected: Expected {
                b3: header.b3,
                sha256: None,
            },
            pre: Preconditions {
                if_match: None,
                if_none_match: header.create_only.then_some(EtagList::Any),
            },
        };
        Ok(self.server.app.put(&self.caller, put, file.body).await?)
    }
}

/// Takes files off the body.
struct Reader {
    server: Arc<Server>,
    body: BodyStream,
    decoder: Decoder,
    input: Bytes,
}

impl Reader {
    async fn run(mut self, first: Event, files: mpsc::Sender<Incoming>) -> Outcome<()> {
        let mut event = first;
        loop {
            match event {
                Event::FileStart(header) => {
                    if !self.file(header, &files).await? {
                        return Ok(());
                    }
                }
                Event::End => break,
                Event::Error(_) => {
                    let why = "a bulk put has file frames and an end frame";
                    return Err(Failure::invalid(why));
                }
                Event::Data(_) | Event::FileEnd => {}
            }
            event = self.event().await?;
        }
        // Reads to the end of the body: the connection stays usable, and bytes behind the end are noticed.
        while let Some(piece) = incoming::next(&mut self.body).await {
            self.input = piece.map_err(|broken| broken_off(&broken))?;
            self.decode()?;
        }
        Ok(())
    }

    /// Hands one file on; false when nobody takes files any more.
    async fn file(&mut self, header: FileHeader, files: &mpsc::Sender<Incoming>) -> Outcome<bool> {
        let room = u32::try_from(header.size).unwrap_or(u32::MAX);
        let permit = (header.size <= WHOLE_FILE_BYTES_MAX)
            .then(|| {
                Arc::clone(&self.server.bulk_bytes)
                    .try_acquire_many_owned(room)
                    .ok()
            })
            .flatten();
        match permit {
            Some(permit) => self.whole(header, permit, files).await,
            // Large, or no memory left: never waits for memory, which others' stalled bodies might hold.
            None => self.piecewise(header, files).await,
        }
    }

    async fn whole(
        &mut self,
        header: FileHeader,
        permit: OwnedSemaphorePermit,
        files: &mpsc::Sender<Incoming>,
    ) -> Outcome<bool> {
        let mut pieces = Vec::new();
        while let Event::Data(piece) = self.event().await? {
            pieces.push(Ok::<_, BodyBroken>(piece));
        }
        let body: BodyStream = Box::pin(stream::iter(pieces));
        Ok(files
            .send(Incoming {
                header,
                body,
                _permit: Some(permit),
            })
            .await
            .is_ok())
    }

    async fn piecewise(
        &mut self,
        header: FileHeader,
        files: &mpsc::Sender<Incoming>,
    ) -> Outcome<bool> {
        let (pieces, arriving) = mpsc::channel(PIECES_QUEUED_MAX);
        let body: BodyStream = Box::pin(stream::unfold(arriving, |mut arriving| async move {
            let piece: Result<Bytes, BodyBroken> = arriving.recv().await?;
            Some((piece, arriving))
        }));
        if files
            .send(Incoming {
                header,
                body,
                _permit: None,
            })
            .await
            .is_err()
        {
            return Ok(false);
        }
        loop {
            match self.event().await {
                // A file that was refused takes no more pieces; the rest of it is passed over.
                Ok(Event::Data(piece)) => drop(pieces.send(Ok(piece)).await),
                Ok(_) => return Ok(true),
                Err(failure) => {
                    let _ = pieces
                        .send(Err(BodyBroken("the bulk stream broke off".into())))
                        .await;
                    return Err(failure);
                }
            }
        }
    }

    /// The next event; an error when the body ends or breaks before the end frame.
    async fn event(&mut self) -> Outcome<Event> {
        loop {
            if let Some(event) = self.decode()? {
                return Ok(event);
            }
            match incoming::next(&mut self.body).await {
                Some(Ok(piece)) => self.input = piece,
                Some(Err(broken)) => return Err(broken_off(&broken)),
                None => {
                    let error = self.decoder.finish().err().map(|error| error.to_string());
                    return Err(Failure::invalid(error.unwrap_or_default()));
                }
            }
        }
    }

    fn decode(&mut self) -> Outcome<Option<Event>> {
        self.decoder
            .next_event(&mut self.input)
            .map_err(|error| Failure::invalid(error.to_string()))
    }
}

fn broken_off(broken: &BodyBroken) -> Failure {
    Failure::new(
        Code::Timeout,
        format!("the bulk stream broke off: {}", broken.0),
    )
}
