//! `GET /v1/files/{dir}/`: a page of a directory as JSON, or all of it as a stream of lines.

use super::answers::{entry, json, line};
use super::fields;
use crate::body::{Body, BodyError};
use crate::problem::{Failure, Outcome};
use crate::server::{Call, Server};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use gfl_api::http::TYPE_NDJSON;
use gfl_api::limits::{LIST_PAGE_ENTRIES_DEFAULT, LIST_PAGE_ENTRIES_MAX};
use gfl_api::path::FilePath;
use gfl_api::v1::ListPage as Page;
use gfl_core::auth::Caller;
use gfl_core::files::{ListPage, ListQuery};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LINK};
use http::{Response, StatusCode};
use std::sync::Arc;

/// Answers a listing.
pub(super) async fn route(call: Call, caller: Caller, dir: FilePath) -> Outcome {
    let query = fields::query(&call)?;
    let recursive = fields::switch(&query, "recursive")?;
    let after = query
        .get("cursor")
        .map(|text| parse_cursor(text, &dir))
        .transpose()?;
    let streamed = fields::accepts(&call, TYPE_NDJSON);
    if streamed && query.get("limit").is_some() {
        return Err(Failure::invalid(
            "a listing as application/x-ndjson is sent whole and has no limit, leave limit away",
        ));
    }
    let limit = fields::limit(&query, LIST_PAGE_ENTRIES_DEFAULT, LIST_PAGE_ENTRIES_MAX)?;
    let ask = ListQuery {
        dir,
        after,
        limit,
        recursive,
    };
    // The first page is there before the answer begins, so that what fails at once fails with its own status.
    let page = call.app().list(&caller, &ask).await?;
    if streamed {
        return Ok(stream_all(&call, caller, ask, page));
    }
    let next = next_cursor(&page);
    let body = Page {
        entries: page
            .entries
            .iter()
            .map(|stat| entry(stat, recursive))
            .collect(),
        next: next.clone(),
        skipped: page.skipped,
        unreadable: page.unreadable,
    };
    let mut answer = json(StatusCode::OK, &body);
    if let Some(cursor) = next {
        let kept = if recursive { "&recursive=true" } else { "" };
        let link = format!("<?cursor={cursor}&limit={limit}{kept}>; rel=\"next\"");
        crate::content::set(answer.headers_mut(), LINK, &link);
    }
    Ok(answer)
}

fn next_cursor(page: &ListPage) -> Option<String> {
    let last = page.entries.last().filter(|_| page.more)?;
    Some(URL_SAFE_NO_PAD.encode(last.path.as_str()))
}

fn parse_cursor(text: &str, dir: &FilePath) -> Outcome<FilePath> {
    let decode = || {
        let path = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        FilePath::parse(&path)
            .ok()
            .filter(|path| path.starts_with(dir) && path != dir)
    };
    decode().ok_or_else(|| Failure::invalid("the cursor is not one of this listing, begin it anew"))
}

/// What a streamed listing needs to go on.
struct Listing {
    server: Arc<Server>,
    caller: Caller,
    ask: ListQuery,
    count: u64,
    skipped: u64,
    unreadable: u64,
    request_id: String,
    step: Step,
}

enum Step {
    Send(ListPage),
    Ask,
    Over,
}

fn stream_all(call: &Call, caller: Caller, ask: ListQuery, first: ListPage) -> Response<Body> {
    let listing = Listing {
        server: Arc::clone(&call.server),
        caller,
        ask,
        count: 0,
        skipped: 0,
        unreadable: 0,
        request_id: call.facts.id.clone(),
        step: Step::Send(first),
    };
    let lines = stream::unfold(listing, |mut listing| async move {
        let lines = listing.next().await?;
        Some((Ok::<_, BodyError>(lines), listing))
    });
    let mut answer = Response::new(Body::stream(Box::pin(lines)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE_NDJSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl Listing {
    /// The lines of the next page; the last ones tell that it is complete, or why not.
    async fn next(&mut self) -> Option<Bytes> {
        let page = match std::mem::replace(&mut self.step, Step::Over) {
            Step::Over => return None,
            Step::Send(page) => page,
            Step::Ask => match self.server.app.list(&self.caller, &self.ask).await {
                Ok(page) => page,
                Err(error) => {
                    let problem = Failure::from(error).into_problem(&self.request_id);
                    return Some(line(&serde_json::json!({ "problem": problem })));
                }
            },
        };
        self.count += page.entries.len() as u64;
        self.skipped += page.skipped;
        self.unreadable += page.unreadable;
        let mut lines = BytesMut::new();
        for stat in &page.entries {
            lines.extend_from_slice(&line(&entry(stat, self.ask.recursive)));
        }
        match page.entries.last().filter(|_| page.more) {
            Some(last) => {
                self.ask.after = Some(last.path.clone());
                self.step = Step::Ask;
            }
            None => lines.extend_from_slice(&line(&serde_json::json!({
                "end": true,
                "count": self.count,
                "skipped": self.skipped,
                "unreadable": self.unreadable,
            }))),
        }
        Some(lines.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_stay_inside_their_directory() {
        let path = |text| FilePath::parse(text).unwrap();
        let cursor = |text: &str| URL_SAFE_NO_PAD.encode(text);
        assert_eq!(
            parse_cursor(&cursor("d/ü"), &path("d")).unwrap(),
            path("d/ü")
        );
        assert_eq!(parse_cursor(&cursor("x"), &path("")).unwrap(), path("x"));
        for bad in [
            cursor("e/x"),
            cursor("d"),
            cursor("../d"),
            cursor(""),
            "!".to_owned(),
        ] {
            assert!(parse_cursor(&bad, &path("d")).is_err(), "{bad}");
        }
    }
}
