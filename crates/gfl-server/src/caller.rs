//! From the `Authorization` header to a [`Caller`]. Knows the schemes; whether a credential is good is the core's.

use crate::problem::{Failure, TextFailure};
use crate::server::Call;
use crate::tell::meters::auth_reason;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gfl_api::problem::Code;
use gfl_api::v0::texts;
use gfl_core::Kind;
use gfl_core::app::Credential;
use gfl_core::auth::{Caller, Verb};
use gfl_core::policy::permissions::covers;
use http::StatusCode;
use http::header::AUTHORIZATION;
use std::time::Duration;
use tokio::time::Instant;

/// Why a request has no caller; each surface words it in its own way.
#[derive(Debug)]
pub enum Denied {
    /// No `Authorization`.
    Missing,
    /// An unknown scheme or shape.
    Format,
    /// `Challenge` with something else than three parts.
    ChallengeFormat,
    /// Refused by the core.
    Refused(gfl_core::Error),
}

impl Denied {
    /// For the metrics.
    fn reason(&self) -> &'static str {
        match self {
            Denied::Missing => "missing",
            Denied::Format | Denied::ChallengeFormat => "malformed",
            Denied::Refused(error) => auth_reason(error),
        }
    }
}

/// A refusal is asked about again after this long while the token file is being rewritten: a little more than the
/// core's own interval.
const ASK_AGAIN_MS: u64 = 250;
/// … and for so long.
const ASK_AGAIN_MS_MAX: u64 = 3_000;

/// Who calls.
pub async fn authenticate(call: &Call) -> Result<Caller, Denied> {
    match recognise(call).await {
        Ok(caller) => {
            let _ = call.facts.who.set(caller.user().to_owned());
            if let Some(token) = caller.token() {
                let _ = call.facts.token.set(token.to_owned());
            }
            Ok(caller)
        }
        Err(denied) => {
            call.server.meters.auth_failed(denied.reason());
            Err(denied)
        }
    }
}

async fn recognise(call: &Call) -> Result<Caller, Denied> {
    if call.is_admin {
        return Ok(Caller::administrator());
    }
    let app = call.app();
    let credential = if app.auth_enabled() {
        credential(
            call.headers()
                .get(AUTHORIZATION)
                .map(|value| value.as_bytes()),
        )?
    } else {
        Credential::None
    };
    admit(call, &credential).await.map_err(Denied::Refused)
}

/// Asks the core. v0.1's tool and some editors write the token file in place: for a moment it is empty, which is a
/// valid file without tokens. Nobody is refused for good because of such a moment, and nobody let in.
async fn admit(call: &Call, credential: &Credential) -> gfl_core::Result<Caller> {
    let peer = call.peer.to_string();
    let ask = || call.app().authenticate(credential, &peer);
    let refused = match ask() {
        Err(error) if error.kind() == Kind::Unauthenticated => error,
        decided => return decided,
    };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(ASK_AGAIN_MS_MAX)
        && call.server.tokens.is_settling()
    {
        tokio::time::sleep(Duration::from_millis(ASK_AGAIN_MS)).await;
        if let Ok(caller) = ask() {
            return Ok(caller);
        }
    }
    // The first word: asked again, a challenge has been used.
    Err(refused)
}

/// Who calls, for v1.
pub async fn for_v1(call: &Call) -> Result<Caller, Failure> {
    authenticate(call).await.map_err(|denied| match denied {
        Denied::Missing => Failure::new(
            Code::Unauthenticated,
            "send a token: Authorization: Bearer <token>",
        ),
        Denied::Format => Failure::new(
            Code::Unauthenticated,
            "unknown scheme, send Authorization: Bearer <token>",
        ),
        Denied::ChallengeFormat => Failure::new(
            Code::Unauthenticated,
            "malformed challenge answer, send Challenge <response>;<nonce>;<token_id>",
        ),
        Denied::Refused(error) => Failure::from(error),
    })
}

/// Who calls, for v0: its texts, word for word.
pub async fn for_v0(call: &Call) -> Result<Caller, TextFailure> {
    let unauthorized = |text: &str| TextFailure::new(StatusCode::UNAUTHORIZED, text);
    authenticate(call).await.map_err(|denied| match denied {
        Denied::Missing => unauthorized(texts::AUTH_REQUIRED),
        Denied::Format => unauthorized(texts::AUTH_FORMAT),
        Denied::ChallengeFormat => unauthorized(texts::CHALLENGE_FORMAT),
        Denied::Refused(error) => {
            let status = crate::problem::status_of(crate::problem::code_of(error.kind()));
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED);
            // The core words what is wrong with a token; v0.1 said before it what had failed.
            let text = match error.message() {
                message if message.starts_with("auth error: ") => {
                    format!("Authentication failed: {message}")
                }
                message => message.to_owned(),
            };
            TextFailure {
                status,
                text,
                cause: crate::problem::causes(&error),
            }
        }
    })
}

/// Whether the caller may do this anywhere at all: decided before a body that names the path is read.
pub fn may_somewhere(caller: &Caller, verb: Verb) -> bool {
    caller
        .rules()
        .iter()
        .any(|rule| rule.allow && rule.permissions.iter().any(|p| covers(p, verb)))
}

/// Reads an `Authorization` value.
fn credential(value: Option<&[u8]>) -> Result<Credential, Denied> {
    let Some(value) = value else {
        return Err(Denied::Missing);
    };
    let value = std::str::from_utf8(value)
        .map_err(|_| Denied::Format)?
        .trim();
    if value.is_empty() {
        return Err(Denied::Missing);
    }
    let (scheme, data) = value.split_once(' ').ok_or(Denied::Format)?;
    let data = data.trim_start();
    // v0.1 compared the scheme exactly; RFC 9110 section 11.1 says case does not matter.
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credential::Token(data.to_owned()));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        return basic(data).map(Credential::Token).ok_or(Denied::Format);
    }
    if scheme.eq_ignore_ascii_case("challenge") {
        let parts: Vec<&str> = data.split(';').collect();
        let [response, nonce, token_id] = parts[..] else {
            return Err(Denied::ChallengeFormat);
        };
        return Ok(Credential::Challenge {
            response: response.to_owned(),
            nonce: nonce.to_owned(),
            token_id: token_id.to_owned(),
        });
    }
    Err(Denied::Format)
}

/// The password of `user:password`: the token. The user name is anything.
fn basic(data: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(data).ok()?).ok()?;
    decoded
        .split_once(':')
        .map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(value: &str) -> Option<String> {
        match credential(Some(value.as_bytes())) {
            Ok(Credential::Token(token)) => Some(token),
            _ => None,
        }
    }

    #[test]
    fn schemes() {
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bEaReR  abc").as_deref(), Some("abc"));
        assert_eq!(token("Basic eDphOmI=").as_deref(), Some("a:b"));
        assert!(matches!(credential(None), Err(Denied::Missing)));
        for bad in ["Bearer", "Digest x", "Basic !!", "Basic eA=="] {
            assert!(
                matches!(credential(Some(bad.as_bytes())), Err(Denied::Format)),
                "{bad}"
            );
        }
        assert!(matches!(
            credential(Some(b"Challenge r;n;t")),
            Ok(Credential::Challenge { token_id, .. }) if token_id == "t"
        ));
        for bad in ["Challenge r;n", "Challenge r;n;t;x", "Challenge x"] {
            assert!(matches!(
                credential(Some(bad.as_bytes())),
                Err(Denied::ChallengeFormat)
            ));
        }
    }
}
