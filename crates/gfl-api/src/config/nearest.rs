//! Which known name a mistyped one was probably meant to be.

/// The name that differs least, if it differs little enough to be meant.
pub fn nearest(key: &str, names: &[&'static str]) -> Option<&'static str> {
    let key = key.to_lowercase();
    if key.len() > 64 {
        return None;
    }
    let (distance, name) = names.iter().map(|name| (edits(&key, name), *name)).min()?;
    (distance <= 1 + name.len() / 4).then_some(name)
}

/// The number of characters to insert, remove or replace to get from one text to the other (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, want) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("ü", "u", 1),
        ] {
            assert_eq!(edits(a, b), want, "{a} {b}");
        }
        assert_eq!(nearest("Tokn", &["token", "server_url"]), Some("token"));
        assert_eq!(nearest(&"x".repeat(1000), &["token"]), None);
    }
}
