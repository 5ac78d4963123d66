//! Header fields and query parameters of v1 requests, read into the core's values. Malformed means 400: a write
//! that carries on without what it was asked to verify would be worse.

use crate::problem::{Failure, Outcome};
use crate::query::Query;
use crate::server::Call;
use gfl_api::http::{
    CONTENT_DIGEST, Digests, EtagList, GFL_BLAKE3, GFL_MODE, GFL_MTIME, REPR_DIGEST, parse_mode,
    parse_mtime,
};
use gfl_api::path::Shown;
use gfl_api::problem::Code;
use gfl_api::tree::Root;
use gfl_api::v1::Strict;
use gfl_core::files::{Expected, FileMeta, Preconditions};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

/// `Gfl-Mtime` and `Gfl-Mode`.
pub(super) fn meta(call: &Call) -> Outcome<FileMeta> {
    Ok(FileMeta {
        mtime_ns: call
            .header(GFL_MTIME)
            .map(|text| mtime(&text))
            .transpose()?,
        mode: call.header(GFL_MODE).map(|text| mode(&text)).transpose()?,
    })
}

/// An RFC 3339 time.
pub(super) fn mtime(text: &str) -> Outcome<i64> {
    parse_mtime(text).ok_or_else(|| {
        Failure::invalid("the mtime is not RFC 3339, write 2026-01-02T03:04:05.678Z")
    })
}

/// Octal permission bits.
pub(super) fn mode(text: &str) -> Outcome<u32> {
    parse_mode(text).ok_or_else(|| Failure::invalid("the mode is not octal, write it as 0644"))
}

/// Digests of the whole file: `Gfl-Blake3`, and SHA-256 in `Repr-Digest` or (of one request that is the file) in
/// `Content-Digest`.
pub(super) fn expected(call: &Call, body_is_file: bool) -> Outcome<Expected> {
    let mut sha256 = sha256(call, REPR_DIGEST)?;
    if body_is_file && let Some(of_body) = self::sha256(call, CONTENT_DIGEST)? {
        if sha256.is_some_and(|of_file| of_file != of_body) {
            return Err(Failure::invalid(
                "Repr-Digest and Content-Digest name different digests",
            ));
        }
        sha256 = Some(of_body);
    }
    Ok(Expected {
        b3: b3(call)?,
        sha256,
    })
}

/// Digests of a part: `Gfl-Blake3` and SHA-256 in `Content-Digest`.
pub(super) fn expected_of_part(call: &Call) -> Outcome<Expected> {
    Ok(Expected {
        b3: b3(call)?,
        sha256: sha256(call, CONTENT_DIGEST)?,
    })
}

fn b3(call: &Call) -> Outcome<Option<Root>> {
    let parse = |text: String| {
        text.trim()
            .parse()
            .map_err(|_| Failure::invalid("Gfl-Blake3 is not a hash, write its 64 hex digits"))
    };
    call.header(GFL_BLAKE3).map(parse).transpose()
}

fn sha256(call: &Call, name: &'static str) -> Outcome<Option<[u8; 32]>> {
    let Some(field) = call.header(name) else {
        return Ok(None);
    };
    let digests =
        Digests::parse(&field).map_err(|error| Failure::invalid(format!("{name}: {error}")))?;
    if digests.sha256.is_none() && (digests.sha512.is_some() || !digests.unsupported.is_empty()) {
        // Storing the bytes unverified would look like having verified them.
        return Err(Failure::invalid(format!(
            "{name}: only sha-256 is verified here, send that"
        )));
    }
    Ok(digests.sha256)
}

/// `If-Match` and `If-None-Match`.
pub(super) fn preconditions(call: &Call) -> Outcome<Preconditions> {
    let list = |name: &'static str| {
        let parse = |field: String| {
            EtagList::parse(&field).ok_or_else(|| {
                Failure::invalid(format!("{name} is malformed, write * or \"tag\", \"tag\""))
            })
        };
        call.header(name).map(parse).transpose()
    };
    Ok(Preconditions {
        if_match: list("if-match")?,
        if_none_match: list("if-none-match")?,
    })
}

/// The query; a pair that cannot be read is an error in v1.
pub(super) fn query(call: &Call) -> Outcome<Query> {
    let query = Query::parse(call.uri().query());
    if query.is_broken() {
        return Err(Failure::invalid(
            "the query is malformed, percent-encode names and values",
        ));
    }
    Ok(query)
}

/// A switch in a query: `?x`, `?x=true` and `?x=1` are on.
pub(super) fn switch(query: &Query, name: &str) -> Outcome<bool> {
    match query.get(name) {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(_) => Err(Failure::invalid(format!("{name} is true or false"))),
    }
}

/// `?limit`, between 1 and `max`. More is refused and not cut down: who does not look for a next page would take
/// the cut page for everything.
pub(super) fn limit(query: &Query, default: usize, max: usize) -> Outcome<usize> {
    let Some(text) = query.get("limit") else {
        return Ok(default);
    };
    match text.parse::<usize>() {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        _ => {
            let shown = Shown::new(text);
            let why = format!("limit is a whole number from 1 to {max}, not {shown:?}");
            Err(Failure::invalid(why).with("limit_max", max))
        }
    }
}

/// Refuses an object with a member it does not have: ignored, a mistyped name would mean something else than what
/// was written. `place` says which object.
pub(super) fn refuse_unknown<T>(body: &Strict<T>, place: &str) -> Outcome<()> {
    match &body.unknown {
        None => Ok(()),
        Some(member) => {
            Err(Failure::invalid(format!("{place}: {member}")).with("member", member.name.as_str()))
        }
    }
}

/// A member that has to be there.
pub(super) fn missing(place: &str, member: &'static str, what: &str) -> Failure {
    Failure::invalid(format!("{place}: {member} is missing, {what}")).with("member", member)
}

/// Refuses a body in a coding: it would be stored as it is and served as if it were the file.
pub(super) fn refuse_coding(call: &Call) -> Outcome<()> {
    match call.header(CONTENT_ENCODING.as_str()) {
        Some(coding) if !coding.trim().eq_ignore_ascii_case("identity") => Err(Failure::new(
            Code::UnsupportedMediaType,
            "content codings are not decoded here, send the file as it is",
        )
        .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
        _ => Ok(()),
    }
}

/// Demands a content type (parameters aside); the 415 answer names it in `accept`.
pub(super) fn demand_type(call: &Call, wanted: &'static str, accept: HeaderName) -> Outcome<()> {
    let given = call.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    if given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case(wanted)
    {
        return Ok(());
    }
    Err(Failure::new(
        Code::UnsupportedMediaType,
        format!("send Content-Type: {wanted}"),
    )
    .header(accept, HeaderValue::from_static(wanted)))
}

/// Whether `Accept` names a media type.
pub(super) fn accepts(call: &Call, media_type: &str) -> bool {
    call.header("accept").is_some_and(|accept| {
        accept.split(',').any(|one| {
            one.split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .eq_ignore_ascii_case(media_type)
        })
    })
}
