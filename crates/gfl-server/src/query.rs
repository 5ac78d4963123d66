//! The query of a URL, read as Go's `net/url` reads it. Knows no parameter.

/// The pairs of a query, in order.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    dropped: bool,
}

impl Query {
    /// Reads a query: `+` is a space, pairs with a `;`, a bad escape or text that is not UTF-8 are dropped.
    pub fn parse(query: Option<&str>) -> Query {
        let mut parsed = Query::default();
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (pair.contains(';'), unescape(name), unescape(value)) {
                (false, Some(name), Some(value)) => parsed.pairs.push((name, value)),
                _ => parsed.dropped = true,
            }
        }
        parsed
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a pair could not be read. v0 goes on all the same, v1 does not.
    pub fn is_broken(&self) -> bool {
        self.dropped
    }
}

/// Decodes `+` and `%XX`; none for a bad escape or bytes that are not UTF-8.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// A URL path decoded as Go's mux sees it; none for a bad escape.
pub fn decode_path(path: &str) -> Option<String> {
    unescape(&path.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_go() {
        let get = |query: &str| Query::parse(Some(query)).get("path").map(str::to_owned);
        let table: &[(&str, Option<&str>)] = &[
            ("path=a", Some("a")),
            ("x=1&path=a%20b+c&path=z", Some("a b c")),
            ("path=%C3%BC/%2B", Some("ü/+")),
            ("path", Some("")),
            ("path=a=b", Some("a=b")),
            ("%70ath=a", Some("a")),
            ("path=%zz", None),
            ("path=a%2", None),
            ("path=a;b", None),
            ("path=%ff", None),
            ("path=%zz&path=b", Some("b")),
            ("", None),
        ];
        for (query, want) in table {
            assert_eq!(get(query).as_deref(), *want, "{query}");
        }
        assert!(Query::parse(Some("a=%zz")).is_broken());
        assert!(!Query::parse(None).is_broken());
    }
}
