//! Ids, and the lock that keeps a second server out.

use gfl_core::clock::{ManualClock, SystemClock};
use gfl_core::id::{Key, upload_id};
use gfl_core::lock::DirLock;
use gfl_core::settings::Settings;
use gfl_core::{App, Kind};
use std::collections::HashSet;
use std::sync::Arc;

#[test]
fn ids_are_unique_ordered_and_nothing_else() {
    let clock = ManualClock::new(1_800_000_000_000, 1);
    let mut all = HashSet::new();
    let mut last = String::new();
    for _ in 0..5_000 {
        clock.advance_ms(1);
        let key = Key::new(&clock);
        assert!(key.as_str() > last.as_str(), "in order of creation");
        assert_eq!(Key::parse(key.as_str()), Some(key.clone()));
        last = key.as_str().to_owned();
        assert!(all.insert(key.as_str().to_owned()) && all.insert(upload_id(&clock)));
    }
    for _ in 0..5_000 {
        assert!(all.insert(Key::new(&SystemClock).as_str().to_owned()));
    }
    for bad in [
        "",
        "..",
        "../../../../../../etc/pass",
        "0",
        "ABCDEFGHJKMNPQRSTVWXYZ0123",
        "ilou0000000000000000000000",
    ] {
        assert!(Key::parse(bad).is_none(), "{bad}");
    }
    assert!(Key::parse(&"0".repeat(27)).is_none() && Key::parse(&"é".repeat(13)).is_none());
}

#[tokio::test]
async fn a_second_server_is_kept_out() {
    let temp = tempfile::tempdir().unwrap();
    let settings = |storage: &str, meta: &str| {
        Settings::new(temp.path().join(storage), temp.path().join(meta))
    };
    let clock = Arc::new(SystemClock);
    let first = App::open(settings("s", "m"), clock.clone()).await.unwrap();
    let busy = async |storage: &str, meta: &str| {
        let error = App::open(settings(storage, meta), clock.clone())
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), Kind::Busy);
        assert!(
            error.message().contains(&std::process::id().to_string()),
            "{error}"
        );
    };
    busy("s", "m").await;
    busy("other", "m").await;
    busy("s", "other").await;
    first.close().await;
    drop(first);
    let second = App::open(settings("s", "m"), clock).await.unwrap();
    second.ready().await.unwrap();
    second.close().await;
    let lock = temp.path().join("x/y/lock");
    let held = DirLock::take(&lock).unwrap();
    assert_eq!(DirLock::take(&lock).unwrap_err().kind(), Kind::Busy);
    drop(held);
    DirLock::take(&lock).unwrap();
}
