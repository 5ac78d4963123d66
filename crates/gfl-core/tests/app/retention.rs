//! Events are kept for their time and up to their number, and go from the oldest on.

use crate::bed::{Bed, DAY_MS};
use gfl_core::catalog::events::{Outdated, forget};

crate::cases! {
    events_go_by_age
    events_go_by_number
    a_backlog_goes_in_batches
    what_a_follower_has_to_read_stays
    a_clock_gone_wrong_keeps_nothing_for_ever
}

async fn events_go_by_age(bed: &Bed) {
    bed.put("f", b"one").await;
    bed.clock.advance_ms(40 * DAY_MS);
    bed.put("f", b"two!").await;
    bed.clock.advance_ms(50 * DAY_MS);
    bed.jobs().await;
    assert_eq!(
        bed.events().await,
        ["Created f", "Replaced f"],
        "not yet: exactly at the age"
    );
    bed.clock.advance_ms(1);
    bed.jobs().await;
    assert_eq!(bed.events().await, ["Replaced f"]);
    bed.clock.advance_ms(90 * DAY_MS);
    bed.jobs().await;
    assert!(bed.events().await.is_empty());
    bed.has("f", b"two!").await;
    bed.put("f", b"three").await;
    assert_eq!(bed.events().await, ["Replaced f"]);
}

async fn events_go_by_number(bed: &Bed) {
    for i in 0..7 {
        bed.put(&format!("f{i}"), b"x").await;
    }
    let mut settings = bed.settings.clone();
    settings.events_rows_max = 3;
    let few = bed.reopened_with(settings).await;
    few.app.run_jobs().await.unwrap();
    assert_eq!(
        bed.events().await,
        ["Created f4", "Created f5", "Created f6"]
    );
    few.try_put("f7", b"x").await.unwrap();
    few.app.run_jobs().await.unwrap();
    assert_eq!(
        bed.events().await,
        ["Created f5", "Created f6", "Created f7"]
    );
}

async fn a_backlog_goes_in_batches(bed: &Bed) {
    let db = bed.database().await;
    let count: i64 = 2_500;
    db.write("many events", count, |tx, count| {
        Box::pin(async move {
            for _ in 0..*count {
                let sql = "INSERT INTO event (at_ms, kind, path, who) VALUES (1, 1, 'old', '')";
                tx.exec(sql, &[]).await?;
            }
            Ok::<_, gfl_core::Error>(())
        })
    })
    .await
    .unwrap();
    bed.put("f", b"new").await;
    bed.jobs().await;
    assert_eq!(bed.events().await, ["Created f"]);
    db.close().await;
}

async fn what_a_follower_has_to_read_stays(bed: &Bed) {
    for i in 0..4 {
        bed.put(&format!("f{i}"), b"x").await;
    }
    let db = bed.database().await;
    let ids = async || {
        db.read("ids", (), |tx, ()| {
            Box::pin(async move {
                let rows = tx
                    .rows("SELECT id FROM event ORDER BY id LIMIT 10", &[])
                    .await?;
                let ids: Result<Vec<i64>, _> = rows.iter().map(|row| row.int(0)).collect();
                Ok::<_, gfl_core::Error>(ids?)
            })
        })
        .await
        .unwrap()
    };
    let all = ids().await;
    let outdated = Outdated {
        before_ms: i64::MAX,
        rows_max: 0,
        keep_from: all[2],
    };
    for (limit, gone, left) in [(1, 1, &all[1..]), (10, 1, &all[2..]), (10, 0, &all[2..])] {
        let done = db
            .write("forget", (outdated.clone(), limit), |tx, (outdated, n)| {
                Box::pin(forget(tx, outdated, *n))
            })
            .await
            .unwrap();
        assert_eq!((done, ids().await.as_slice()), (gone, left));
    }
    db.close().await;
}

async fn a_clock_gone_wrong_keeps_nothing_for_ever(bed: &Bed) {
    bed.clock.advance_ms(1_000 * DAY_MS);
    bed.put("from the future", b"x").await;
    bed.clock.advance_ms(-1_000 * DAY_MS);
    bed.put("f", b"x").await;
    bed.clock.advance_ms(91 * DAY_MS);
    bed.put("g", b"x").await;
    bed.jobs().await;
    assert_eq!(bed.events().await, ["Created g"]);
}
