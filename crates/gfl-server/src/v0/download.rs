//! `/download`: a file's bytes. Beyond v0.1: Range, conditions and validators, which old clients never send.

use super::{Answer, Target, admit, failure, path_text};
use crate::content::{self, NotSent};
use crate::problem::TextFailure;
use crate::server::Call;
use gfl_api::http::ContentRange;
use gfl_api::v0::texts;
use gfl_core::auth::Verb;
use gfl_core::{Error, Kind};
use http::header::CONTENT_RANGE;
use http::{HeaderMap, Method, StatusCode};

const PERMISSION: &str = "download";

pub(super) async fn answer(call: &Call) -> Answer {
    let target = Target::of(call);
    let caller = admit(call, &target, Verb::Download, PERMISSION).await?;
    if target.text.is_empty() {
        return Err(TextFailure::new(
            StatusCode::BAD_REQUEST,
            texts::PATH_REQUIRED,
        ));
    }
    let not_found = |text| TextFailure::new(StatusCode::NOT_FOUND, text);
    let path = target
        .path
        .map_err(|error| not_found(path_text(&error, &target.text)))?;
    if path.is_root() {
        return Err(not_found(texts::read_is_directory("/")));
    }
    let file = call.app().open_file(&caller, &path, None).await;
    let file = file.map_err(|error| opened(&error, path.as_ref()))?;
    // v0.1 did not look at the method: everything but HEAD is a GET.
    let method = if call.method == Method::HEAD {
        Method::HEAD
    } else {
        Method::GET
    };
    match content::answer(&method, call.headers(), file, &call.server.budget) {
        Ok(answer) => Ok(answer),
        Err(NotSent::PreconditionFailed) => Err(TextFailure::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition failed",
        )),
        Err(NotSent::Unsatisfiable(size)) => {
            let text = "requested range not satisfiable";
            let failure = TextFailure::new(StatusCode::RANGE_NOT_SATISFIABLE, text);
            let mut answer = failure.into_answer(&call.facts.id);
            unsatisfied(answer.headers_mut(), size);
            Ok(answer)
        }
    }
}

fn unsatisfied(headers: &mut HeaderMap, size: u64) {
    content::set(
        headers,
        CONTENT_RANGE,
        &ContentRange::unsatisfied(size).to_string(),
    );
}

/// v0.1 answered every failure to open with 404 and the text of the operating system.
fn opened(error: &Error, path: &str) -> TextFailure {
    match error.kind() {
        Kind::NotFound => TextFailure::new(StatusCode::NOT_FOUND, texts::open_not_found(path)),
        Kind::IsADirectory => {
            TextFailure::new(StatusCode::NOT_FOUND, texts::read_is_directory(path))
        }
        _ => failure(error, StatusCode::NOT_FOUND, PERMISSION, str::to_owned),
    }
}
