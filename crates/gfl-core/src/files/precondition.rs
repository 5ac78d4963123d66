//! If-Match and If-None-Match, decided under the path's lock.

use super::Preconditions;
use crate::error::{Error, Kind, Result};
use gfl_api::http::EtagList;
use gfl_api::path::FilePath;

/// Checks against the entity tag of what is there (`None`: nothing, or a directory).
pub(crate) fn check(pre: &Preconditions, etag: Option<&str>, path: &FilePath) -> Result<()> {
    let failed = |why: &str| {
        Err(Error::new(
            Kind::PreconditionFailed,
            format!("{path}: {why}"),
        ))
    };
    if let Some(list) = &pre.if_match
        && !list.matches_strong(etag)
    {
        return failed("changed since it was last seen (If-Match does not hold)");
    }
    if let Some(list) = &pre.if_none_match
        && list.matches_weak(etag)
    {
        return failed(match list {
            EtagList::Any => "exists already, and the request was to create it",
            EtagList::Tags(_) => "has this content already (If-None-Match does not hold)",
        });
    }
    Ok(())
}

/// The answer when the file appeared at the last moment.
pub(crate) fn exists(path: &FilePath) -> Error {
    Error::new(
        Kind::PreconditionFailed,
        format!("{path}: exists already, and the request was to create it"),
    )
}

/// Whether only a new file will do.
pub(crate) fn create_only(pre: &Preconditions) -> bool {
    matches!(pre.if_none_match, Some(EtagList::Any))
}

/// The field's text, for a session's row.
pub(crate) fn to_text(list: Option<&EtagList>) -> Option<String> {
    list.map(|list| match list {
        EtagList::Any => "*".to_owned(),
        EtagList::Tags(tags) => {
            let tags: Vec<String> = tags
                .iter()
                .map(|t| format!("{}\"{}\"", if t.weak { "W/" } else { "" }, t.tag))
                .collect();
            tags.join(", ")
        }
    })
}

/// The reverse of [`to_text`].
pub(crate) fn from_text(text: Option<&str>) -> Option<EtagList> {
    text.and_then(EtagList::parse)
}
