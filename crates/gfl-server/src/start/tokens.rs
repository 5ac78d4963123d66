//! What is doubtful about authentication: a file that lets nobody in, everybody in, or everybody look.

use super::Plan;
use super::address::Reach;
use super::finding::Finding;
use super::folders::{self, absolute, shown};
use crate::first;
use crate::tokens_file::{self, Content};
use gfl_api::config::Warning;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SETTING: &str = "server.tokens_file";
/// What others than the owner may not have.
const OTHERS: u32 = 0o077;

/// Looks at the file, or says what it means that there is none.
pub(super) fn look(plan: &Plan, reach: Reach) -> Vec<Finding> {
    let Some(file) = &plan.settings.tokens_file else {
        return vec![switched_off(&plan.unknown, reach)];
    };
    let mut found = Vec::new();
    found.extend(content(plan, file));
    if let Ok(meta) = std::fs::metadata(file)
        && meta.is_file()
        && meta.permissions().mode() & OTHERS != 0
    {
        let why = "can be read by other users of this machine, and its hashes are as good as tokens; chmod 600 it";
        found.push(Finding::warning(SETTING, &shown(file), why));
    }
    let secret = first::secret_file(file);
    if !plan.first_start && secret.exists() {
        let why = format!(
            "the first token still stands in {}; put it where it belongs and delete that file",
            secret.display()
        );
        found.push(Finding::warning(SETTING, &shown(file), why));
    }
    if folders::is_served(file, &plan.settings.storage_dir) {
        let why = "lies in the storage folder, where every token that may download reads it and one that may \
                   upload replaces it; move it out";
        found.push(Finding::warning(SETTING, &shown(file), why));
    }
    found
}

/// Authentication is off: meant like that, or by mistake.
fn switched_off(unknown: &[Warning], reach: Reach) -> Finding {
    if let Some(meant) = unknown.iter().find(|warning| is_about_tokens(warning)) {
        let why = format!(
            "authentication would be off, but the unknown setting {:?} looks as if it was to turn it on; \
             write it as {SETTING}, or remove it",
            gfl_api::path::Shown::new(&meant.key)
        );
        return Finding::error(SETTING, "", why);
    }
    let who = match reach {
        Reach::Network => "everybody in the network",
        Reach::Machine => "every user of this machine",
    };
    let why = format!(
        "authentication is off, {who} may read, write and delete all files; name a file and make a token with \
         gfl-admin create"
    );
    Finding::warning(SETTING, "", why)
}

/// Whether an unknown key was probably meant to name the token file.
fn is_about_tokens(warning: &Warning) -> bool {
    let key = warning.key.to_lowercase();
    let meant = ["tokens_file", "server.tokens_file", "server"];
    let nearest = warning.nearest.as_deref();
    nearest.is_some_and(|nearest| meant.contains(&nearest))
        || (!key.starts_with("client.") && (key.contains("token") || key.contains("auth")))
}

fn content(plan: &Plan, file: &Path) -> Option<Finding> {
    let make = format!("gfl-admin create -user NAME -file {}", shown(file));
    let nobody = |why: &str| {
        let why = format!("{why}: nobody can log in; make a token with {make}");
        Some(Finding::warning(SETTING, &shown(file), why))
    };
    match tokens_file::look(file, tokens_file::now_ms()) {
        Content::Broken(why) => {
            let why = format!("cannot be used, nobody could log in: {why}");
            Some(Finding::error(SETTING, &shown(file), why))
        }
        // The first start makes it.
        Content::Missing if plan.first_start => {
            let folder = absolute(file);
            let why = folders::usable(folder.parent()?).err()?;
            let why = format!("cannot be made: its folder {why}");
            Some(Finding::error(SETTING, &shown(file), why))
        }
        Content::Missing => nobody("does not exist"),
        Content::Tokens { all: 0, .. } => nobody("holds no tokens"),
        Content::Tokens { valid: 0, .. } => {
            nobody("holds no valid token, all are revoked or expired")
        }
        Content::Tokens { .. } => None,
    }
}

/// The file with what stands in it, for `-check`.
pub(super) fn describe(plan: &Plan) -> String {
    let Some(file) = &plan.settings.tokens_file else {
        return "(none: authentication is off)".into();
    };
    let content = match tokens_file::look(file, tokens_file::now_ms()) {
        Content::Missing if plan.first_start => "missing: will be made, with a first token".into(),
        Content::Missing => "missing".into(),
        Content::Broken(_) => "not usable".into(),
        Content::Tokens { all, valid } => format!("valid tokens: {valid} of {all}"),
    };
    format!("{} ({content})", shown(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfl_api::config::Config;

    #[test]
    fn a_mistyped_tokens_file_is_not_taken_for_none() {
        let finding = |text: &str| {
            let (_, unknown) = Config::parse(text).unwrap();
            switched_off(&unknown, Reach::Network)
        };
        for text in [
            r#"{"server":{"token_file":"t"}}"#,
            r#"{"server":{"tokens":"t"}}"#,
            r#"{"server":{"auth_file":"t"}}"#,
            r#"{"tokens_file":"t"}"#,
            r#"{"sever":{"tokens_file":"t"}}"#,
            r#"{"client":{"tokens_file":"t"}}"#,
        ] {
            let finding = finding(text);
            assert!(finding.fatal, "{text}: {finding}");
        }
        for text in [
            "{}",
            r#"{"server":{"adress":"x"}}"#,
            r#"{"client":{"tokens":"t"}}"#,
        ] {
            let finding = finding(text);
            assert!(!finding.fatal, "{text}: {finding}");
            assert!(
                finding.to_string().contains("everybody in the network"),
                "{finding}"
            );
        }
    }
}
