//! Who may do what: every verb against every permission, and nothing without one.

use crate::bed::{Bed, caller, path};
use crate::bodies::body;
use gfl_core::app::Credential;
use gfl_core::auth::{Caller, Rule, Verb};
use gfl_core::files::*;
use gfl_core::{Error, Kind, Result};

crate::cases! {
    every_verb_against_every_permission
    deny_below_a_folder_holds
    without_tokens_everybody_is_anonymous
}

/// Tries a verb that would succeed for somebody with all permissions.
async fn try_verb(bed: &Bed, who: &Caller, verb: &str) -> Result<()> {
    let app = bed.app();
    let put = |at: &str| app.put(who, bed.put_of(at, b"x"), body(b"x"));
    match verb {
        "stat" => app.stat(who, &path("f")).await.map(drop),
        "list" => {
            let query = ListQuery {
                dir: path(""),
                after: None,
                limit: 9,
                recursive: true,
            };
            app.list(who, &query).await.map(drop)
        }
        "open" => app.open_file(who, &path("f"), None).await.map(drop),
        "versions" => {
            let query = VersionsQuery {
                path: path("f"),
                of_directory: false,
                after: None,
                limit: 9,
            };
            app.versions(who, &query).await.map(drop)
        }
        "create" => put("new").await.map(drop),
        "overwrite" => put("f").await.map(drop),
        "mkdir" => app.mkdir(who, &path("dir")).await.map(drop),
        "delete" => app.delete(who, &path("f"), &Delete::default()).await,
        "move" => {
            let done = app
                .rename(who, &path("f"), &path("new"), &Relocate::default())
                .await;
            done.map(drop)
        }
        "move over" => {
            let how = Relocate {
                overwrite: true,
                ..Relocate::default()
            };
            app.rename(who, &path("f"), &path("g"), &how)
                .await
                .map(drop)
        }
        "copy" => {
            let done = app
                .copy(who, &path("f"), &path("new"), &Relocate::default())
                .await;
            done.map(drop)
        }
        "meta" => {
            let meta = FileMeta {
                mtime_ns: Some(1),
                mode: None,
            };
            app.set_meta(who, &path("f"), &meta).await.map(drop)
        }
        "undelete" => app.restore(who, &path("gone"), None).await.map(drop),
        "session" => session(bed, who).await,
        _ => Err(Error::new(Kind::Invalid, "no such verb")),
    }
}

/// A whole upload session.
async fn session(bed: &Bed, who: &Caller) -> Result<()> {
    let app = bed.app();
    let begin = Begin {
        path: path("new"),
        len: Some(1),
        fingerprint: None,
        meta: FileMeta::default(),
        expected: Expected::default(),
        pre: Preconditions::default(),
    };
    let id = app.upload_begin(who, begin).await?.0.id;
    let part = Part {
        start: 0,
        end: 1,
        total: None,
        expected: Expected::default(),
    };
    app.upload_part(who, &id, part, body(b"x")).await?;
    let done = app.upload_complete(who, &id, Expected::default()).await;
    if done.is_err() {
        app.upload_cancel(who, &id).await?;
    }
    done.map(drop)
}

const VERBS: [&str; 14] = [
    "stat",
    "list",
    "open",
    "versions",
    "create",
    "overwrite",
    "mkdir",
    "delete",
    "move",
    "move over",
    "copy",
    "meta",
    "undelete",
    "session",
];

async fn every_verb_against_every_permission(bed: &Bed) {
    let all: Vec<&str> = VERBS.to_vec();
    for (permissions, may) in [
        (vec!["*"], all.clone()),
        (vec!["*", "admin"], all),
        (
            vec!["upload"],
            vec!["create", "overwrite", "meta", "undelete", "session"],
        ),
        (vec!["download"], vec!["stat", "open", "versions"]),
        (vec!["list"], vec!["stat", "list"]),
        (vec!["delete"], vec!["delete"]),
        (vec!["mkdir"], vec!["mkdir"]),
        (vec!["create"], vec!["create", "undelete", "session"]),
        (vec!["overwrite"], vec!["overwrite", "meta"]),
        (vec!["move"], vec![]),
        (
            vec!["move", "create"],
            vec!["create", "undelete", "session", "move"],
        ),
        (
            vec!["move", "overwrite"],
            vec!["overwrite", "meta", "move over"],
        ),
        (
            vec!["download", "create"],
            vec![
                "stat", "open", "versions", "create", "copy", "undelete", "session",
            ],
        ),
        (vec!["admin"], vec![]),
        (vec!["admin", "metrics", "share"], vec![]),
        (vec![], vec![]),
        (vec![" download", "unknown"], vec![]),
    ] {
        for verb in VERBS {
            bed.put("f", b"file").await;
            bed.put("g", b"other").await;
            bed.put("gone", b"gone").await;
            bed.delete("gone").await.unwrap();
            let who = caller("me", "", &permissions);
            let done = try_verb(bed, &who, verb).await;
            match done {
                Ok(()) => assert!(may.contains(&verb), "{permissions:?} may {verb}"),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Forbidden, "{permissions:?} {verb}");
                    assert!(!may.contains(&verb), "{permissions:?} may not {verb}");
                }
            }
            for at in ["new", "dir", "gone"] {
                let _ = bed.delete(at).await;
            }
            bed.clock.advance_ms(1);
        }
    }
}

async fn deny_below_a_folder_holds(bed: &Bed) {
    bed.put("d/secret/f", b"x").await;
    bed.put("d/open/f", b"x").await;
    let rule = |prefix: &str, allow, permissions: &[&str]| Rule {
        prefix: path(prefix),
        allow,
        permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
    };
    let rules = vec![rule("", true, &["*"]), rule("d/secret", false, &["*"])];
    let who = Caller::new("u", None, "", None, rules);
    let app = bed.app();
    let how = Delete {
        recursive: true,
        ..Delete::default()
    };
    let forbidden = |e: Error| assert_eq!(e.kind(), Kind::Forbidden);
    forbidden(app.delete(&who, &path("d"), &how).await.unwrap_err());
    forbidden(
        app.rename(&who, &path("d"), &path("e"), &Relocate::default())
            .await
            .unwrap_err(),
    );
    forbidden(
        app.open_file(&who, &path("d/secret/f"), None)
            .await
            .map(drop)
            .unwrap_err(),
    );
    let query = ListQuery {
        dir: path(""),
        after: None,
        limit: 99,
        recursive: true,
    };
    let listed = app.list(&who, &query).await.unwrap();
    let names: Vec<String> = listed.entries.iter().map(|e| e.path.to_string()).collect();
    assert_eq!(names, ["d", "d/open", "d/open/f", "d/secret"]);
    app.delete(&who, &path("d/open"), &how).await.unwrap();
    bed.has("d/secret/f", b"x").await;
}

async fn without_tokens_everybody_is_anonymous(bed: &Bed) {
    let app = bed.app();
    assert!(!app.auth_enabled());
    let who = app.authenticate(&Credential::None, "10.1.2.3").unwrap();
    assert_eq!(
        (who.user(), who.peer(), who.token()),
        ("anonymous", "10.1.2.3", None)
    );
    assert!(who.may(Verb::Delete, &path("x")).is_ok());
    assert!(who.may(Verb::Admin, &path("x")).is_err());
    assert!(who.may(Verb::Metrics, &path("")).is_err());
}
