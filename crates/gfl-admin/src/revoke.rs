//! `gfl-admin revoke`: ends a token. A running server notices within a second.

use crate::{Failure, Result, file, ui};
use gfl_api::goflags::{self, Known};
use std::path::Path;

const FLAGS: &[Known] = &[Known::value("file")];
const USAGE: &str = "Usage: gfl-admin revoke ID [-file FILE]\n  -file string\n    \tToken file (default \"tokens.json\")";

/// Ends a token. The options may stand on either side of the id.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let parse = |words: &[String]| {
        goflags::parse(words, FLAGS).map_err(|error| Failure::Flags(error, USAGE))
    };
    let front = parse(words)?;
    let Some((id, rest)) = front.rest.split_first() else {
        ui::err("Error: token ID is required");
        ui::err(USAGE);
        return Err(Failure::Said);
    };
    let back = parse(rest)?;
    let path = back
        .value("file")
        .or(front.value("file"))
        .unwrap_or("tokens.json");
    // An unknown id changes nothing, so the file is not even rewritten.
    let path = Path::new(path);
    let is_known = file::read(path)?.find_id(id).is_some();
    if !is_known || !file::change(path, |file| Ok(file.revoke(id)))? {
        ui::err(format_args!("Token not found: {id}"));
        return Err(Failure::Said);
    }
    ui::out(format_args!("✓ Token {id} has been revoked."));
    Ok(())
}
