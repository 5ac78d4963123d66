//! Asks a running server through its socket: as much HTTP as one GET needs.

use anyhow::{Context, Result, anyhow, bail};
use gfl_api::problem::Problem;
use gfl_core::admin_socket::Address;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A server that says nothing for so long has no answer. It may have to read its whole catalog first.
const SILENCE_S_MAX: u64 = 120;
/// Longer answers are none of ours.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// GETs `target`; none when no server runs there.
pub(crate) fn get<T: DeserializeOwned>(meta_dir: &Path, target: &str) -> Result<Option<T>> {
    let Some(mut stream) = connect(meta_dir)? else {
        return Ok(None);
    };
    let silence = Some(Duration::from_secs(SILENCE_S_MAX));
    let context = "asking the server through its socket";
    stream.set_read_timeout(silence).context(context)?;
    stream.set_write_timeout(silence).context(context)?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context(context)?;
    let (status, body) = read_answer(BufReader::new(stream)).context(context)?;
    if status != 200 {
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        let why = problem.and_then(|problem| problem.detail);
        bail!("the server answers {status}: {}", why.unwrap_or_default());
    }
    let answer = serde_json::from_slice(&body);
    Ok(Some(
        answer.context("the server's answer is not understood")?,
    ))
}

fn connect(meta_dir: &Path) -> Result<Option<UnixStream>> {
    let stream = Address::of(meta_dir).and_then(|address| UnixStream::connect(&address.path));
    match stream {
        Ok(stream) => Ok(Some(stream)),
        // A socket without a server is left behind by one that was killed.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let owner = std::fs::metadata(meta_dir).map(|meta| meta.uid());
            let who = owner.map_or_else(|_| "its owner".to_owned(), |uid| format!("user {uid}"));
            let folder = crate::place::shown(meta_dir);
            bail!("{folder} is closed to you; run this as {who}, who runs the server, or as root")
        }
        Err(error) => {
            let folder = crate::place::shown(meta_dir);
            Err(anyhow!(error).context(format!("cannot open the server's socket in {folder}")))
        }
    }
}

/// Status and body.
fn read_answer(mut answer: impl BufRead) -> Result<(u16, Vec<u8>)> {
    let mut answer = answer.by_ref().take(ANSWER_BYTES_MAX);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .context("the answer is not HTTP")?;
    let mut length = None;
    loop {
        line.clear();
        answer.read_line(&mut line)?;
        let field = line.trim_end();
        if field.is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let length: u64 = length.context("the answer has no length")?;
    let mut body = Vec::new();
    answer.take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length {
        bail!("the answer breaks off");
    }
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let read = |text: &str| read_answer(text.as_bytes());
        let (status, body) =
            read("HTTP/1.1 404 Not Found\r\nA: b\r\ncontent-LENGTH: 2\r\n\r\n{}more").unwrap();
        assert_eq!((status, body.as_slice()), (404, &b"{}"[..]));
        for bad in [
            "",
            "HTTP/1.1",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_server_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(get::<u32>(dir.path(), "/").unwrap().is_none());
        let path = dir.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists() && get::<u32>(dir.path(), "/").unwrap().is_none());
    }
}
