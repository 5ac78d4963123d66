//! The access log and the daily sums: nothing counted twice or lost, nobody sees others' numbers, and neither time
//! nor a catalog that is away makes them grow without an end.

use crate::bed::{Bed, DAY_MS, START_MS, caller, fails};
use gfl_core::access::limits::{ACCESS_DENIED_ROWS_MAX, ACCESS_QUEUE_BYTES_MAX};
use gfl_core::access::{Access, AccessQuery, Action, StatsQuery, Usage, UsageRow, day_of};
use gfl_core::auth::Caller;
use gfl_core::{Error, Kind};

crate::cases! {
    sums_are_those_of_the_requests_and_survive_a_restart
    pages_have_neither_gaps_nor_repeats
    others_numbers_take_admin
    rows_go_after_their_days_and_sums_much_later
    a_catalog_that_is_away_loses_rows_and_no_sums
    strangers_cannot_fill_the_log
    hostile_texts_are_kept_whole_enough
    no_rows_are_kept_when_none_are_wanted
}

const DAY: i64 = START_MS / DAY_MS;

fn access(who: &str, action: Action, bytes: u64) -> Access {
    Access {
        at_ms: START_MS,
        who: who.to_owned(),
        token: Some("tok_1".to_owned()),
        peer: "10.0.0.1".to_owned(),
        action,
        path: Some("d/f".to_owned()),
        status: 200,
        complete: true,
        files: 1,
        failed: 0,
        bytes,
        size: None,
        ms: 5,
        request: "r".to_owned(),
    }
}

fn admin() -> Caller {
    caller("root", "10.0.0.9", &["admin"])
}

fn everything() -> StatsQuery {
    StatsQuery {
        from_day: 0,
        to_day: i64::MAX,
        who: None,
        after: None,
        limit: 1000,
    }
}

fn all_rows() -> AccessQuery {
    AccessQuery {
        from_ms: 0,
        to_ms: i64::MAX,
        who: None,
        before: None,
        limit: 10_000,
    }
}

/// `day user action requests files bytes errors`, the day counted from the first.
async fn sums(bed: &Bed, who: &Caller, query: &StatsQuery) -> Vec<String> {
    let rows = bed.app().stats(who, query).await.unwrap();
    let line = |row: UsageRow| {
        let u = row.usage;
        format!(
            "{} {} {} {} {} {} {}",
            row.day - DAY,
            row.who,
            row.action.name(),
            u.requests,
            u.files,
            u.bytes,
            u.errors
        )
    };
    rows.into_iter().map(line).collect()
}

async fn rows(bed: &Bed) -> Vec<Access> {
    let rows = bed.app().access(&admin(), &all_rows()).await.unwrap();
    rows.into_iter().map(|(_, row)| row).collect()
}

async fn sums_are_those_of_the_requests_and_survive_a_restart(bed: &Bed) {
    let app = bed.app();
    app.record(access("alice", Action::Upload, 10));
    app.record(access("alice", Action::Upload, 5));
    app.record(Access {
        complete: false,
        files: 0,
        ..access("alice", Action::Download, 7)
    });
    app.record(Access {
        files: 8,
        failed: 2,
        ..access("bob", Action::Upload, 100)
    });
    app.record(Access {
        at_ms: START_MS + DAY_MS,
        status: 507,
        files: 0,
        ..access("bob", Action::Upload, 1)
    });
    let want = [
        "0 alice download 1 0 7 1",
        "0 alice upload 2 2 15 0",
        "0 bob upload 1 8 100 2",
        "1 bob upload 1 0 1 1",
    ];
    assert_eq!(sums(bed, &admin(), &everything()).await, want);
    bed.restart().await;
    assert_eq!(sums(bed, &admin(), &everything()).await, want);
    // More of the same day adds to the rows that are there.
    bed.app().record(access("alice", Action::Upload, 1));
    bed.app().flush_access().await.unwrap();
    let now = sums(bed, &admin(), &everything()).await;
    assert_eq!((now[1].as_str(), now.len()), ("0 alice upload 3 3 16 0", 4));

    let newest = &rows(bed).await[0];
    assert_eq!(*newest, access("alice", Action::Upload, 1));
    let second_day = StatsQuery {
        from_day: DAY + 1,
        to_day: DAY + 1,
        ..everything()
    };
    assert_eq!(sums(bed, &admin(), &second_day).await, want[3..]);
}

async fn pages_have_neither_gaps_nor_repeats(bed: &Bed) {
    for n in 0..7 {
        let who = ["zoe", "Abe", "ünal"][n % 3];
        bed.app().record(Access {
            at_ms: START_MS + DAY_MS * (n as i64 / 2),
            request: n.to_string(),
            ..access(who, Action::ALL[n % 2], 1)
        });
    }
    let whole = sums(bed, &admin(), &everything()).await;
    assert_eq!(whole.len(), 7);
    let mut query = StatsQuery {
        limit: 2,
        ..everything()
    };
    let mut paged = Vec::new();
    loop {
        paged.extend(sums(bed, &admin(), &query).await);
        match bed.app().stats(&admin(), &query).await.unwrap().pop() {
            Some(last) => query.after = Some(last),
            None => break,
        }
    }
    assert_eq!(paged, whole);

    let mut query = AccessQuery {
        limit: 3,
        ..all_rows()
    };
    let mut ids = Vec::new();
    loop {
        let page = bed.app().access(&admin(), &query).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        query.before = Some(*last);
        ids.extend(page.into_iter().map(|(_, row)| row.request));
    }
    assert_eq!(ids.join(""), "6543210");
    let one = AccessQuery {
        from_ms: START_MS + DAY_MS,
        to_ms: START_MS + DAY_MS + 1,
        who: Some("zoe".into()),
        ..all_rows()
    };
    assert_eq!(bed.app().access(&admin(), &one).await.unwrap().len(), 1);
}

async fn others_numbers_take_admin(bed: &Bed) {
    bed.app().record(access("alice", Action::Upload, 1));
    bed.app().record(access("bob", Action::Upload, 2));
    let alice = caller("alice", "10.0.0.1", &["*"]);
    let own = ["0 alice upload 1 1 1 0"];
    assert_eq!(sums(bed, &alice, &everything()).await, own);
    let of = |who: &str| StatsQuery {
        who: Some(who.into()),
        ..everything()
    };
    assert_eq!(sums(bed, &alice, &of("alice")).await, own);
    fails(bed.app().stats(&alice, &of("bob")).await, Kind::Forbidden);
    assert_eq!(
        sums(bed, &admin(), &of("bob")).await,
        ["0 bob upload 1 1 2 0"]
    );
    let rows = bed.app().access(&alice, &all_rows()).await.unwrap();
    assert!(rows.len() == 1 && rows[0].1.who == "alice", "{rows:?}");
    let bobs = AccessQuery {
        who: Some("bob".into()),
        ..all_rows()
    };
    fails(bed.app().access(&alice, &bobs).await, Kind::Forbidden);
}

async fn rows_go_after_their_days_and_sums_much_later(bed: &Bed) {
    let at = |at_ms| Access {
        at_ms,
        ..access("alice", Action::Upload, 1)
    };
    // A clock gone wrong keeps nothing for ever.
    bed.app().record(at(START_MS + 5000 * DAY_MS));
    for _ in 0..2_500 {
        bed.app().record(at(START_MS));
    }
    bed.jobs().await;
    assert_eq!(rows(bed).await.len(), 2_501);
    bed.clock.advance_ms(30 * DAY_MS);
    bed.app().record(at(START_MS + 30 * DAY_MS));
    bed.jobs().await;
    assert_eq!(rows(bed).await.len(), 2_502, "not yet: exactly at the age");
    bed.clock.advance_ms(1);
    bed.jobs().await;
    assert_eq!(rows(bed).await.len(), 1);
    assert_eq!(sums(bed, &admin(), &everything()).await.len(), 3);
    bed.clock.advance_ms(3 * 366 * DAY_MS);
    bed.jobs().await;
    let left = sums(bed, &admin(), &everything()).await;
    assert_eq!(left[0], "30 alice upload 1 1 1 0");
    bed.clock.advance_ms(DAY_MS);
    bed.jobs().await;
    assert_eq!(sums(bed, &admin(), &everything()).await.len(), 1);

    for _ in 0..9 {
        bed.app().record(at(START_MS + 1200 * DAY_MS));
    }
    bed.app().flush_access().await.unwrap();
    let mut settings = bed.settings.clone();
    settings.access_rows_max = 4;
    let few = bed.reopened_with(settings).await;
    few.app.run_jobs().await.unwrap();
    assert_eq!(rows(bed).await.len(), 4);
}

/// Renames the table away, or back.
async fn rename(bed: &Bed, sql: &'static str) {
    let db = bed.database().await;
    let renamed = db.write("rename", sql, |tx, sql| {
        Box::pin(async move { Ok::<_, Error>(tx.exec(sql, &[]).await?) })
    });
    renamed.await.unwrap();
    db.close().await;
}

async fn a_catalog_that_is_away_loses_rows_and_no_sums(bed: &Bed) {
    rename(bed, "ALTER TABLE access_log RENAME TO away").await;
    let app = bed.app();
    let long = Access {
        path: Some("x".repeat(1000)),
        ..access("alice", Action::Upload, 1)
    };
    let count = 2 * (ACCESS_QUEUE_BYTES_MAX / 1000) as u64;
    for n in 0..count {
        app.record(long.clone());
        if n == 3 {
            assert!(app.flush_access().await.is_err());
            assert_eq!(app.gauges().access_waiting, 4, "in the queue again");
        }
    }
    assert!(app.flush_access().await.is_err());
    let gauges = app.gauges();
    let waiting = gauges.access_waiting as u64;
    assert_eq!(waiting + gauges.access_dropped, count);
    assert!(
        gauges.access_dropped > count / 2 && waiting > 100,
        "{gauges:?}"
    );
    rename(bed, "ALTER TABLE away RENAME TO access_log").await;
    app.flush_access().await.unwrap();
    assert_eq!(app.gauges().access_waiting, 0);
    assert_eq!(rows(bed).await.len() as u64, waiting);
    let all = sums(bed, &admin(), &everything()).await;
    assert_eq!(all, [format!("0 alice upload {count} {count} {count} 0")]);
}

async fn strangers_cannot_fill_the_log(bed: &Bed) {
    let refused = |who| Access {
        token: None,
        status: 401,
        files: 0,
        ..access(who, Action::Look, 0)
    };
    for _ in 0..1000 {
        bed.app().record(refused(""));
    }
    // Whose name is known is always kept.
    bed.app().record(Access {
        status: 403,
        ..refused("alice")
    });
    bed.app().record(access("alice", Action::Look, 0));
    bed.app().flush_access().await.unwrap();
    assert_eq!(rows(bed).await.len(), ACCESS_DENIED_ROWS_MAX + 1);
    assert_eq!(
        sums(bed, &admin(), &everything()).await,
        ["0  look 1000 0 0 1000", "0 alice look 2 1 0 1"]
    );
    bed.app().record(refused(""));
    assert_eq!(rows(bed).await.len(), ACCESS_DENIED_ROWS_MAX + 2);
}

async fn hostile_texts_are_kept_whole_enough(bed: &Bed) {
    bed.app().record(Access {
        path: Some("a\0b\n".to_owned() + &"ü".repeat(9999)),
        who: "e\0vil".to_owned(),
        ..access("", Action::Upload, 1)
    });
    let rows = rows(bed).await;
    let path = rows[0].path.clone().unwrap();
    assert!(path.starts_with("a\u{fffd}b\nü") && path.len() <= 1026);
    assert_eq!(rows[0].who, "e\u{fffd}vil");
    assert_eq!(day_of(START_MS), DAY);
}

async fn no_rows_are_kept_when_none_are_wanted(bed: &Bed) {
    let mut settings = bed.settings.clone();
    settings.access_log_ms = 0;
    let other = bed.reopened_with(settings).await;
    other.app.record(access("alice", Action::Upload, 1));
    let sums = other.app.stats(&admin(), &everything()).await.unwrap();
    assert_eq!(
        sums[0].usage,
        Usage {
            requests: 1,
            files: 1,
            bytes: 1,
            errors: 0
        }
    );
    assert!(rows(bed).await.is_empty());
}
