//! What a token may be given, and whether what was typed is that.
//!
//! Pure. Unknown names are kept, as v0.1 kept them: a newer server may know them.

/// Every permission the server looks for.
const KNOWN: &[&str] = &[
    "*",
    "list",
    "download",
    "upload",
    "create",
    "overwrite",
    "delete",
    "mkdir",
    "move",
    "share",
    "metrics",
    "admin",
];

/// The names in a list separated by commas, and what is worth saying about them.
pub(crate) fn parse(list: &str) -> (Vec<String>, Vec<String>) {
    let names: Vec<String> = list
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let mut remarks = Vec::new();
    if list.split(',').any(|name| name != name.trim()) {
        remarks.push("note: spaces around permission names were removed".to_owned());
    }
    if names.is_empty() {
        remarks.push("warning: without permissions the token can do nothing".to_owned());
    }
    for name in names.iter().filter(|name| !KNOWN.contains(&name.as_str())) {
        let nearest = nearest(name)
            .map(|known| format!("; did you mean {known:?}?"))
            .unwrap_or_default();
        remarks.push(format!(
            "warning: unknown permission {name:?} allows nothing{nearest}"
        ));
    }
    if names.iter().any(|name| name == "*") {
        remarks.push(
            "warning: \"*\" allows everything with every file; give only what is needed, as in -permissions upload,download,list"
                .to_owned(),
        );
    }
    (names, remarks)
}

/// The known name that differs least, if it differs little enough to be meant.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let known = KNOWN.iter().filter(|known| known.len() > 1);
    known
        .map(|known| (distance(&name, known), *known))
        .min()
        .filter(|(d, _)| *d <= 2)
        .map(|(_, known)| known)
}

/// Characters to insert, remove or replace to get from one to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
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
    fn names_are_trimmed_and_looked_at() {
        let check = |list: &str, names: &[&str], remarks: &[&str]| {
            let (got, said) = parse(list);
            assert_eq!(got, names, "{list}");
            assert_eq!(said.len(), remarks.len(), "{list}: {said:?}");
            for (said, want) in said.iter().zip(remarks) {
                assert!(said.contains(want), "{list}: {said}");
            }
        };
        check("upload,download,list", &["upload", "download", "list"], &[]);
        check("upload, download", &["upload", "download"], &["spaces"]);
        check(
            "uplaod,frobnicate",
            &["uplaod", "frobnicate"],
            &["did you mean \"upload\"?", "allows nothing"],
        );
        check("*", &["*"], &["everything"]);
        check("", &[], &["can do nothing"]);
        check("Upload", &["Upload"], &["did you mean \"upload\"?"]);
    }
}
