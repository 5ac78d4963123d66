//! Many small files in one request, both ways.
//!
//! Knows frames and answer lines; which files go together, and what happens to those left over when a connection
//! breaks, is decided in `transfer/`.

use super::body::Body;
use super::{Answer, Call, Error, Patience, Result, V1};
use bytes::Bytes;
use gfl_api::frames::{Decoder, Event};
use gfl_api::http::{TYPE_BULK, TYPE_NDJSON};
use gfl_api::v1::{BulkAnswer, BulkGetPath, BulkGetRequest};
use gfl_api::{FilePath, problem::Problem};
use http::Method;
use serde_json::Value;

/// Bytes of one answer line: a longest path, escaped, with a problem beside it.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// The answers to a bulk put, in the server's order.
pub(crate) struct BulkAnswers {
    answer: Answer,
    lines: Lines,
    is_ended: bool,
}

/// The files of a bulk get.
pub(crate) struct BulkFiles {
    answer: Answer,
    decoder: Decoder,
    piece: Bytes,
}

impl V1 {
    /// Sends a stream of frames, once. The answers may begin while the body is still being sent.
    pub(crate) async fn bulk_put(&self, body: Body) -> Result<BulkAnswers> {
        let call = Call::new(Method::POST, "/v1/bulk")
            .field("content-type", TYPE_BULK)
            .field("accept", TYPE_NDJSON)
            .patience(Patience::Long)
            .body(body);
        let answer = self.http.send(call).await?;
        Ok(BulkAnswers {
            answer,
            lines: Lines::default(),
            is_ended: false,
        })
    }

    /// Asks for many files at once.
    pub(crate) async fn bulk_get(
        &self,
        paths: impl IntoIterator<Item = &FilePath>,
    ) -> Result<BulkFiles> {
        let paths = paths.into_iter().map(|path| BulkGetPath {
            path: path.as_str().to_owned(),
            b3: None,
        });
        let request = BulkGetRequest {
            paths: paths.collect(),
        };
        let call = Call::new(Method::POST, "/v1/bulk/get")
            .field("accept", TYPE_BULK)
            .json(&request);
        let answer = self.http.send(call).await?;
        Ok(BulkFiles {
            answer,
            decoder: Decoder::new(),
            piece: Bytes::new(),
        })
    }
}

impl BulkAnswers {
    /// The next answer; none behind the line that ends them. Answers cut short are a lost connection.
    pub(crate) async fn next(&mut self) -> Result<Option<BulkAnswer>> {
        while !self.is_ended {
            if let Some(line) = self.lines.take() {
                return Ok(self.read(&line)?.map(Some).unwrap_or_default());
            }
            match self.answer.piece().await? {
                Some(piece) => self.lines.push(&piece)?,
                None => {
                    return Err(Error::network(
                        "the server's answer to a bulk upload was cut short",
                    ));
                }
            }
        }
        Ok(None)
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<BulkAnswer>> {
        let value: Value = serde_json::from_slice(line).map_err(|error| {
            Error::protocol(format!("a line of a bulk answer cannot be read: {error}"))
        })?;
        if value.get("end").is_some() {
            self.is_ended = true;
            return Ok(None);
        }
        if value.get("index").is_none() {
            let problem = value
                .get("problem")
                .and_then(|p| serde_json::from_value::<Problem>(p.clone()).ok());
            let status = problem.as_ref().map_or(502, |problem| problem.status);
            return Err(Error::from_problem(status, problem.as_ref()));
        }
        serde_json::from_value(value).map(Some).map_err(|error| {
            Error::protocol(format!("a line of a bulk answer cannot be read: {error}"))
        })
    }
}

impl BulkFiles {
    /// The next event; none behind the end. A stream cut short is a lost connection.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let event = self.decoder.next_event(&mut self.piece);
            match event.map_err(|error| Error::protocol(error.to_string()))? {
                Some(Event::End) => {
                    // Reading to the end gives the connection back.
                    while self.answer.piece().await?.is_some() {}
                    return Ok(None);
                }
                Some(event) => return Ok(Some(event)),
                None => match self.answer.piece().await? {
                    Some(piece) => self.piece = piece,
                    None => return Err(Error::network("the server's bulk answer was cut short")),
                },
            }
        }
    }
}

/// Cuts pieces into lines.
#[derive(Default)]
struct Lines {
    held: Vec<u8>,
    at: usize,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) -> Result<()> {
        self.held.drain(..self.at);
        self.at = 0;
        if self.held.len() > LINE_BYTES_MAX {
            return Err(Error::protocol(format!(
                "a line of the answer is longer than {LINE_BYTES_MAX} bytes"
            )));
        }
        self.held.extend_from_slice(piece);
        Ok(())
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = &self.held[self.at..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = rest[..end].to_vec();
            self.at += end + 1;
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        for size in [1, 2, 3, 100] {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in b"one\n\ntwo\r\nthree".chunks(size) {
                lines.push(piece).unwrap();
                while let Some(line) = lines.take() {
                    seen.push(String::from_utf8(line).unwrap().trim().to_owned());
                }
            }
            assert_eq!(
                seen,
                ["one", "two"],
                "pieces of {size}; the last line has no end"
            );
        }
    }
}
