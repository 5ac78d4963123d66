//! Several requests at once on the same names.

use crate::bed::{Bed, fails, path};
use crate::bodies::{MIB, body, bytes};
use gfl_api::http::EtagList;
use gfl_core::Kind;
use gfl_core::files::{Begin, Delete, Expected, FileMeta, Part, Preconditions, Put, Relocate};
use std::collections::BTreeSet;

crate::cases! {
    of_many_creators_one_wins
    both_of_two_writers_survive
    one_of_two_conditional_writers_wins
    parallel_parts_make_one_file
    one_of_many_completions_commits
    of_many_beginners_with_one_fingerprint_all_share_one_session
    a_session_that_ends_while_it_is_found_is_begun_anew
    a_folder_moves_under_writers
    restore_twice_at_once
    readers_see_one_content_or_the_other
}

async fn of_many_creators_one_wins(bed: &Bed) {
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..12u8 {
        let (app, me) = (bed.app(), bed.me.clone());
        let mut put = bed.put_of("f", &[i; 10]);
        put.pre.if_none_match = Some(EtagList::Any);
        tasks.spawn(async move { app.put(&me, put, body(&[i; 10])).await.map(|_| i) });
    }
    let mut won = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            Ok(i) => won.push(i),
            Err(error) => assert_eq!(error.kind(), Kind::PreconditionFailed),
        }
    }
    assert_eq!(won.len(), 1);
    bed.has("f", &[won[0]; 10]).await;
    assert!(bed.kept("f").await.is_empty());
    assert_eq!(bed.drafts().await, 0);
    assert_eq!(bed.events().await, ["Created f"]);
}

async fn both_of_two_writers_survive(bed: &Bed) {
    let mut tasks = tokio::task::JoinSet::new();
    let sizes = [5, 300_000, MIB + 7, 6];
    for (i, size) in sizes.into_iter().enumerate() {
        let (app, me) = (bed.app(), bed.me.clone());
        let data = bytes(i as u8, size);
        let put = bed.put_of("d/f", &data);
        tasks.spawn(async move { app.put(&me, put, body(&data)).await.unwrap() });
    }
    let mut created = 0;
    while let Some(done) = tasks.join_next().await {
        created += u8::from(done.unwrap().created);
    }
    assert_eq!(created, 1);
    let mut all: BTreeSet<Vec<u8>> = bed
        .kept("d/f")
        .await
        .into_iter()
        .map(|(_, data)| data)
        .collect();
    all.insert(bed.get("d/f").await.unwrap());
    let want: BTreeSet<Vec<u8>> = sizes
        .iter()
        .enumerate()
        .map(|(i, n)| bytes(i as u8, *n))
        .collect();
    assert!(all == want, "every version is current or kept");
}

async fn one_of_two_conditional_writers_wins(bed: &Bed) {
    bed.put("f", b"start").await;
    let etag = bed.stat("f").await.unwrap().etag().unwrap().to_owned();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..8u8 {
        let (app, me) = (bed.app(), bed.me.clone());
        let mut put = bed.put_of("f", &[i; 10]);
        put.pre.if_match = EtagList::parse(&etag);
        tasks.spawn(async move { app.put(&me, put, body(&[i; 10])).await });
    }
    let mut won = 0;
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind(), Kind::PreconditionFailed),
        }
    }
    assert_eq!(won, 1);
}

async fn parallel_parts_make_one_file(bed: &Bed) {
    let data = bytes(1, 3 * MIB + 5);
    let id = bed.begin("f", Some(data.len() as u64)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (i, piece) in data.chunks(200_001).enumerate() {
        let (app, me, id) = (bed.app(), bed.me.clone(), id.clone());
        let (start, piece) = ((i * 200_001) as u64, piece.to_vec());
        tasks.spawn(async move {
            let part = Part {
                start,
                end: start + piece.len() as u64,
                total: None,
                expected: Expected::default(),
            };
            app.upload_part(&me, &id, part, crate::bodies::framed(&piece, 9_999))
                .await
                .unwrap();
            app.checkpoint().await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    bed.complete(&id).await.unwrap();
    bed.has("f", &data).await;
}

async fn one_of_many_completions_commits(bed: &Bed) {
    for restart in [false, true] {
        let id = bed.begin("f", Some(3)).await;
        bed.part(&id, 0, b"abc").await.unwrap();
        bed.jobs().await;
        if restart {
            bed.restart().await;
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (app, me, id2) = (bed.app(), bed.me.clone(), id.clone());
            tasks.spawn(async move {
                app.upload_complete(&me, &id2, Expected::default())
                    .await
                    .unwrap()
                    .stat
                    .etag()
                    .unwrap()
                    .to_owned()
            });
            let (app, me, id) = (bed.app(), bed.me.clone(), id.clone());
            tasks.spawn(async move { app.upload_status(&me, &id).await.unwrap().path.to_string() });
        }
        let mut answers = BTreeSet::new();
        while let Some(done) = tasks.join_next().await {
            answers.insert(done.unwrap());
        }
        assert_eq!(answers.len(), 2, "one etag, one path");
        assert_eq!(bed.drafts().await, 0, "no session was opened again");
        bed.delete("f").await.unwrap();
    }
    assert_eq!(
        bed.events().await,
        ["Created f", "Deleted f", "Created f", "Deleted f"]
    );
}

/// A session's start, as several requests of one client send it.
fn begin(at: &str, fingerprint: Option<&str>) -> Begin {
    Begin {
        path: path(at),
        len: Some(4),
        fingerprint: fingerprint.map(str::to_owned),
        meta: FileMeta::default(),
        expected: Expected::default(),
        pre: Preconditions::default(),
    }
}

async fn of_many_beginners_with_one_fingerprint_all_share_one_session(bed: &Bed) {
    for round in 0..5 {
        let at = format!("f{round}");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (app, me, begin) = (bed.app(), bed.me.clone(), begin(&at, Some("4-mark")));
            tasks.spawn(async move {
                let (status, new) = app.upload_begin(&me, begin).await.unwrap();
                // At once, while others may still be beginning: nothing sent to it may get lost.
                let part = Part {
                    start: 0,
                    end: 4,
                    total: None,
                    expected: Expected::default(),
                };
                app.upload_part(&me, &status.id, part, body(b"data"))
                    .await
                    .unwrap();
                (status.id, new)
            });
        }
        let mut ids = BTreeSet::new();
        let mut begun = 0;
        while let Some(done) = tasks.join_next().await {
            let (id, new) = done.unwrap();
            begun += u8::from(new);
            ids.insert(id);
        }
        assert_eq!((ids.len(), begun), (1, 1), "one session, begun once");
        assert_eq!(bed.drafts().await, 1, "and one draft");
        bed.complete(ids.first().unwrap()).await.unwrap();
        bed.has(&at, b"data").await;
    }
    // Another length, another fingerprint or none: other sessions.
    let mut ids = BTreeSet::new();
    for fingerprint in [None, None, Some("4-mark"), Some("5-mark"), Some("4-mark")] {
        let begin = begin("g", fingerprint);
        ids.insert(bed.app().upload_begin(&bed.me, begin).await.unwrap().0.id);
    }
    for len in [None, None, Some(5)] {
        let begin = Begin {
            len,
            ..begin("g", Some("4-mark"))
        };
        ids.insert(bed.app().upload_begin(&bed.me, begin).await.unwrap().0.id);
    }
    assert_eq!(ids.len(), 6);
}

async fn a_session_that_ends_while_it_is_found_is_begun_anew(bed: &Bed) {
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..8 {
        let (app, me) = (bed.app(), bed.me.clone());
        tasks.spawn(async move {
            for _ in 0..6 {
                match app.upload_begin(&me, begin("f", Some("4-mark"))).await {
                    Ok((status, _)) if i % 2 == 0 => {
                        // Another may have cancelled it already.
                        let _ = app.upload_cancel(&me, &status.id).await;
                    }
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), Kind::Busy, "{error}"),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let open = bed.app().upload_list(&bed.me, None, 100).await.unwrap();
    assert!(open.len() <= 1, "{open:?}");
    assert_eq!(bed.drafts().await, open.len());
}

async fn a_folder_moves_under_writers(bed: &Bed) {
    bed.mkdir("d").await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..20u8 {
        let (app, me) = (bed.app(), bed.me.clone());
        let put: Put = bed.put_of(&format!("d/{i}"), &[i; 5]);
        tasks.spawn(async move {
            app.put(&me, put, body(&[i; 5])).await.unwrap();
        });
        if i % 5 == 4 {
            let (app, me) = (bed.app(), bed.me.clone());
            let to = path(&format!("moved/{i}"));
            tasks.spawn(async move {
                // Whether there is something to move depends on who comes first.
                let _ = app.rename(&me, &path("d"), &to, &Relocate::default()).await;
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut found = BTreeSet::new();
    for dir in ["d", "moved/4", "moved/9", "moved/14", "moved/19"] {
        for i in 0..20u8 {
            if let Ok(data) = bed.get(&format!("{dir}/{i}")).await {
                assert_eq!(data, [i; 5]);
                found.insert(i);
            }
        }
    }
    assert_eq!(found.len(), 20, "no acknowledged file is lost");
    bed.restart().await;
}

async fn restore_twice_at_once(bed: &Bed) {
    bed.put("f", b"x").await;
    bed.delete("f").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (app, me) = (bed.app(), bed.me.clone());
        tasks.spawn(async move { app.restore(&me, &path("f"), None).await.is_ok() });
    }
    let mut won = 0;
    while let Some(done) = tasks.join_next().await {
        won += u8::from(done.unwrap());
    }
    assert_eq!(won, 1);
    bed.has("f", b"x").await;
}

async fn readers_see_one_content_or_the_other(bed: &Bed) {
    let (a, b) = (bytes(1, 100_000), bytes(2, 150_000));
    bed.put("f", &a).await;
    let (app, me) = (bed.app(), bed.me.clone());
    let (first, second) = (a.clone(), b.clone());
    let put = |data: &[u8]| bed.put_of("f", data);
    let (put_a, put_b) = (put(&a), put(&b));
    let writer = tokio::spawn(async move {
        for _ in 0..20 {
            app.put(&me, put_b.clone(), body(&second)).await.unwrap();
            app.put(&me, put_a.clone(), body(&first)).await.unwrap();
        }
        app.delete(&me, &path("f"), &Delete::default())
            .await
            .unwrap();
    });
    loop {
        match bed.get("f").await {
            Ok(data) => assert!(data == a || data == b),
            Err(error) => {
                assert_eq!(error.kind(), Kind::NotFound);
                break;
            }
        }
    }
    writer.await.unwrap();
    fails(bed.get("f").await, Kind::NotFound);
    assert_eq!(bed.events().await.len(), 42);
}
