//! `.netrc`, as far as curl reads it: `machine HOST login ANY password TOKEN`, `default`, `macdef`.

/// The password for a host.
pub(super) fn password(text: &str, host: &str) -> Option<String> {
    let mut is_ours = false;
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" => is_ours = words.next()?.eq_ignore_ascii_case(host),
            "default" => is_ours = true,
            "password" if is_ours => return words.next(),
            "login" | "account" | "password" => {
                words.next();
            }
            _ => {}
        }
    }
    None
}

/// The words outside comments and macros; quotes keep spaces.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        in_macro &= !line.trim().is_empty();
        if in_macro || line.trim_start().starts_with('#') {
            continue;
        }
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (word, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            };
            if word == "macdef" {
                in_macro = true;
                break;
            }
            words.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_defaults() {
        let text = "# mine\nmachine nas login me password secret\nmacdef init\nmachine x password macro\n\n\
            machine a\n  login u\n  password \"two words\"\ndefault login anonymous password guest\n";
        assert_eq!(password(text, "NAS").as_deref(), Some("secret"));
        assert_eq!(password(text, "a").as_deref(), Some("two words"));
        assert_eq!(password(text, "x").as_deref(), Some("guest"));
        assert_eq!(
            password("machine nas login password password p", "nas").as_deref(),
            Some("p")
        );
        assert_eq!(password("machine nas", "nas"), None);
    }
}
