//! Which rule decides. The longest matching prefix; at equal length deny wins; unknown is denied.

use crate::auth::{Rule, Verb};
use gfl_api::path::FilePath;

/// Whether a stored permission name covers a verb. v0 names keep their meaning: `upload` is create,
/// overwrite and making parents; `*` is every file verb and never administration (invariant 12).
pub fn covers(permission: &str, verb: Verb) -> bool {
    match permission {
        "*" => !matches!(verb, Verb::Admin | Verb::Metrics),
        "upload" => matches!(verb, Verb::Create | Verb::Overwrite),
        "admin" => matches!(verb, Verb::Admin | Verb::Metrics),
        name => name == verb.name(),
    }
}

/// Decides by the rules.
pub fn allows(rules: &[Rule], verb: Verb, path: &FilePath) -> bool {
    let mut best: Option<(usize, bool)> = None;
    for rule in rules {
        if !path.starts_with(&rule.prefix) || !rule.permissions.iter().any(|p| covers(p, verb)) {
            continue;
        }
        let depth = rule.prefix.depth();
        best = match best {
            Some((d, _)) if d > depth => best,
            Some((d, allow)) if d == depth => Some((d, allow && rule.allow)),
            _ => Some((depth, rule.allow)),
        };
    }
    best.is_some_and(|(_, allow)| allow)
}

/// A place below `path` where the rules deny the verb that they allow at `path`.
pub fn denied_below<'r>(rules: &'r [Rule], verb: Verb, path: &FilePath) -> Option<&'r FilePath> {
    rules
        .iter()
        .filter(|rule| !rule.allow && rule.prefix.starts_with(path))
        .map(|rule| &rule.prefix)
        .find(|prefix| !allows(rules, verb, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBS: [Verb; 10] = [
        Verb::List,
        Verb::Download,
        Verb::Create,
        Verb::Overwrite,
        Verb::Delete,
        Verb::Mkdir,
        Verb::Move,
        Verb::Share,
        Verb::Metrics,
        Verb::Admin,
    ];

    fn path(text: &str) -> FilePath {
        FilePath::parse(text).unwrap()
    }

    fn rule(prefix: &str, allow: bool, permissions: &[&str]) -> Rule {
        Rule {
            prefix: path(prefix),
            allow,
            permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    /// The names of the verbs that `permissions` allow at the root.
    fn allowed(permissions: &[&str]) -> String {
        let rules = [rule("", true, permissions)];
        let names = VERBS.iter().filter(|v| allows(&rules, **v, &path("a")));
        names.map(|v| v.name()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_each_permission_name_covers() {
        for (permissions, verbs) in [
            (
                &["*"][..],
                "list download create overwrite delete mkdir move share",
            ),
            (&["upload"], "create overwrite"),
            (&["download"], "download"),
            (&["list"], "list"),
            (&["delete"], "delete"),
            (&["mkdir"], "mkdir"),
            (&["create"], "create"),
            (&["overwrite"], "overwrite"),
            (&["move"], "move"),
            (&["metrics"], "metrics"),
            (&["admin"], "metrics admin"),
            (
                &["*", "admin"],
                "list download create overwrite delete mkdir move share metrics admin",
            ),
            (&[" download", "Download", "all", "admin.*", ""], ""),
            (&[], ""),
        ] {
            assert_eq!(allowed(permissions), verbs, "{permissions:?}");
        }
    }

    #[test]
    fn a_star_is_never_administration() {
        let rules = [rule("", true, &["*"]), rule("a", true, &["*"])];
        for verb in [Verb::Admin, Verb::Metrics] {
            assert!(!allows(&rules, verb, &path("a")));
            assert!(!allows(&rules, verb, &FilePath::root()));
        }
    }

    #[test]
    fn the_longest_prefix_decides_and_deny_wins_among_equals() {
        let rules = [
            rule("", true, &["*"]),
            rule("a", false, &["delete"]),
            rule("a/b", true, &["delete"]),
            rule("a/b", false, &["download"]),
            rule("a/b", true, &["download"]),
            rule("ab", false, &["*"]),
        ];
        for (verb, at, may) in [
            (Verb::Delete, "x", true),
            (Verb::Delete, "a", false),
            (Verb::Delete, "a/c", false),
            (Verb::Delete, "a/b", true),
            (Verb::Delete, "a/b/c", true),
            (Verb::Download, "a/c", true),
            (Verb::Download, "a/b/c", false),
            (Verb::List, "ab/x", false),
            (Verb::List, "abc", true),
        ] {
            assert_eq!(allows(&rules, verb, &path(at)), may, "{verb:?} {at}");
        }
        assert!(!allows(&[], Verb::List, &FilePath::root()));
        assert!(!allows(
            &[rule("a", true, &["*"])],
            Verb::List,
            &FilePath::root()
        ));
    }

    #[test]
    fn what_is_denied_below_is_found() {
        let rules = [
            rule("", true, &["*"]),
            rule("a/secret", false, &["delete"]),
            rule("b/x", false, &["delete"]),
            rule("b/x", true, &["delete"]),
            rule("c", false, &["list"]),
        ];
        let below =
            |at: &str| denied_below(&rules, Verb::Delete, &path(at)).map(ToString::to_string);
        assert_eq!(below("a").as_deref(), Some("a/secret"));
        assert_eq!(below("").as_deref(), Some("a/secret"));
        assert_eq!(below("b").as_deref(), Some("b/x"));
        assert_eq!(below("c"), None);
    }
}
