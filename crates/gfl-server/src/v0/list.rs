//! `/list`: the names in a directory, as a bare array. v0.1 had no pages, so the array is written page by page.

use super::{Answer, Target, admit, failure, path_text};
use crate::body::{Body, BodyError};
use crate::problem::TextFailure;
use crate::server::{Call, Server};
use bytes::Bytes;
use futures_util::stream;
use gfl_api::limits::LIST_PAGE_ENTRIES_MAX;
use gfl_api::v0::{list_body, texts};
use gfl_core::auth::{Caller, Verb};
use gfl_core::files::{ListPage, ListQuery};
use gfl_core::{Error, Kind};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use std::sync::Arc;

const PERMISSION: &str = "list";

pub(super) async fn answer(call: &Call) -> Answer {
    let target = Target::of(call);
    let caller = admit(call, &target, Verb::List, PERMISSION).await?;
    let usual = StatusCode::INTERNAL_SERVER_ERROR;
    let dir = target
        .path
        .map_err(|error| TextFailure::new(usual, path_text(&error, &target.text)))?;
    let ask = ListQuery {
        dir,
        after: None,
        limit: LIST_PAGE_ENTRIES_MAX,
        recursive: false,
    };
    let first = call
        .app()
        .list(&caller, &ask)
        .await
        .map_err(|error| listed(&error, usual, ask.dir.as_ref()))?;
    if !first.more {
        return Ok(super::json(list_body(&names(&first))));
    }
    let pages = Pages {
        server: Arc::clone(&call.server),
        caller,
        ask,
        next: Some(first),
        begun: false,
    };
    let pieces = stream::try_unfold(pages, Pages::piece);
    let mut answer = Response::new(Body::stream(Box::pin(pieces)));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// The operating system's words for what v0.1 could not tell apart.
fn listed(error: &Error, usual: StatusCode, dir: &str) -> TextFailure {
    failure(error, usual, PERMISSION, |message| match error.kind() {
        Kind::NotFound => texts::open_not_found(dir),
        Kind::NotADirectory => format!("open {dir}: not a directory"),
        _ => message.to_owned(),
    })
}

fn names(page: &ListPage) -> Vec<&str> {
    page.entries
        .iter()
        .filter_map(|stat| stat.path.name())
        .collect()
}

struct Pages {
    server: Arc<Server>,
    caller: Caller,
    ask: ListQuery,
    next: Option<ListPage>,
    begun: bool,
}

impl Pages {
    /// One page as a piece of the array. An error in the middle breaks the answer: an array that only looks
    /// complete would be a lie.
    async fn piece(mut self) -> Result<Option<(Bytes, Pages)>, BodyError> {
        let Some(page) = self.next.take() else {
            return Ok(None);
        };
        // An array of at least one name: without its brackets and line feed it is the piece wanted.
        let array = list_body(&names(&page));
        let inner = array
            .strip_prefix(b"[")
            .and_then(|a| a.strip_suffix(b"]\n"));
        let mut piece = Vec::with_capacity(array.len() + 2);
        if let Some(inner) = inner {
            piece.push(if self.begun { b',' } else { b'[' });
            piece.extend_from_slice(inner);
            self.begun = true;
        }
        match page.entries.last().filter(|_| page.more) {
            Some(last) => {
                self.ask.after = Some(last.path.clone());
                let next = self.server.app.list(&self.caller, &self.ask).await;
                self.next = Some(next.map_err(|error| BodyError(error.to_string()))?);
            }
            None => piece.extend_from_slice(b"]\n"),
        }
        Ok(Some((piece.into(), self)))
    }
}
