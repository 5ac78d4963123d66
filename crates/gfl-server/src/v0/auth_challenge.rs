//! `/auth/challenge`: a nonce for the challenge scheme. Only there when authentication is on.

use super::{Answer, json};
use crate::problem::{TextFailure, causes};
use crate::server::Call;
use gfl_api::v0::{ChallengeBody, json_body, texts};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};

pub(super) fn answer(call: &Call) -> Answer {
    if !call.app().auth_enabled() {
        return Err(TextFailure::new(
            StatusCode::NOT_FOUND,
            texts::PAGE_NOT_FOUND,
        ));
    }
    let challenge = call.app().challenge().map_err(|error| TextFailure {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        text: texts::challenge_failed(error.message()),
        cause: causes(&error),
    })?;
    let expires_at = jiff::Timestamp::from_millisecond(challenge.expires_ms).unwrap_or_default();
    let expires_at = expires_at.to_string();
    let mut answer = json(json_body(&ChallengeBody {
        nonce: challenge.nonce,
        expires_at,
    }));
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}
