//! Go's mux: a path that is not clean is answered with 301 to the cleaned one.

use crate::body::Body;
use crate::server::Call;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What Go leaves unescaped in a URL path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// The path without `.`, `..` and empty segments; a trailing slash stays.
pub fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let slash = if path.ends_with('/') && !names.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", names.join("/"))
}

/// The answer.
pub fn answer(call: &Call, cleaned: &str) -> Response<Body> {
    call.route("redirect");
    let mut location = utf8_percent_encode(cleaned, PATH).to_string();
    if let Some(query) = call.uri().query() {
        location.push('?');
        location.push_str(query);
    }
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if call.method == Method::GET {
        let link = escape_html(&location);
        *answer.body_mut() = Body::full(format!("<a href=\"{link}\">Moved Permanently</a>.\n\n"));
    }
    if matches!(call.method, Method::GET | Method::HEAD) {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, html);
    }
    crate::content::set(answer.headers_mut(), LOCATION, &location);
    answer
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_like_go() {
        for (path, want) in [
            ("/upload", "/upload"),
            ("/upload/", "/upload/"),
            ("//upload", "/upload"),
            ("/a/../upload", "/upload"),
            ("/./upload/.", "/upload"),
            ("/", "/"),
            ("/..", "/"),
            ("/a//", "/a/"),
        ] {
            assert_eq!(clean(path), want);
        }
    }
}
