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
