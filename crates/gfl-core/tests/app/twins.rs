//! Two applications get the same random changes; one of them dies and loses its power all the time. Both
//! must show the same world, the same history and the same events.

use crate::bed::{Bed, path};
use crate::bodies::framed;
use crate::cuts::world;
use crate::hooks::{Dies, Step};
use gfl_core::auth::Caller;
use gfl_core::catalog::fault::Lost;
use gfl_core::files::{Delete, FileMeta, KeptReason, Put, Relocate};
use gfl_core::store::fault::{Fault, Op};
use gfl_core::{App, Kind};
use std::sync::Arc;

const PATHS: [&str; 8] = ["a", "b", "d", "d/x", "d/y", "e", "e/d", "e/d/x"];
const STEPS: [Step; 6] = [
    Step::Publish,
    Step::Retire,
    Step::Unretire,
    Step::Rename,
    Step::MakeDir,
    Step::SetMeta,
];

const OPS: [Op; 6] = [
    Op::Publish,
    Op::Retire,
    Op::Unretire,
    Op::Rename,
    Op::MakeDir,
    Op::SetMeta,
];

/// The transactions that record a change …
const RECORDS: [&str; 6] = [
    "commit file",
    "delete",
    "move",
    "restore",
    "make directory",
    "set metadata",
];

/// … and those that take it back.
const TAKES_BACK: [&str; 6] = [
    "take a commit back",
    "take a deletion back",
    "take a move back",
    "take a restore back",
    "take a directory back",
    "take metadata back",
];

const LOST: [Lost; 3] = [Lost::Done, Lost::NotDone, Lost::Late];

/// One change, as both get it.
#[derive(Debug, Clone)]
enum Change {
    Put(&'static str, Vec<u8>),
    Mkdir(&'static str),
    Delete(&'static str),
    Rename(&'static str, &'static str),
    Copy(&'static str, &'static str),
    Restore(&'static str),
    Meta(&'static str, i64),
}

/// More of them find more: hundreds were run when this was written.
const SEEDS: u64 = 15;
const CHANGES: usize = 30;

/// SplitMix64: enough to be different every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn path(&mut self) -> &'static str {
        PATHS[self.roll(PATHS.len() as u64) as usize]
    }

    fn change(&mut self) -> Change {
        let at = self.path();
        match self.roll(12) {
            0..=3 => Change::Put(at, vec![self.roll(256) as u8; 1 + self.roll(40) as usize]),
            4 => Change::Mkdir(at),
            5..=6 => Change::Delete(at),
            7..=8 => Change::Rename(at, self.path()),
            9 => Change::Copy(at, self.path()),
            10 => Change::Restore(at),
            _ => Change::Meta(at, self.roll(1_000) as i64 * 1_000),
        }
    }
}

/// How a change ended: fine, or why not.
async fn run(app: Arc<App>, me: Caller, put: Put, change: Change) -> Option<Kind> {
    let over = Relocate {
        overwrite: true,
        ..Relocate::default()
    };
    let all = Delete {
        recursive: true,
        ..Delete::default()
    };
    let done = match change {
        Change::Put(_, data) => app.put(&me, put, framed(&data, 7)).await.map(drop),
        Change::Mkdir(at) => app.mkdir(&me, &path(at)).await.map(drop),
        Change::Delete(at) => app.delete(&me, &path(at), &all).await,
        Change::Rename(at, to) => app.rename(&me, &path(at), &path(to), &over).await.map(drop),
        Change::Copy(at, to) => app.copy(&me, &path(at), &path(to), &over).await.map(drop),
        Change::Restore(at) => app.restore(&me, &path(at), None).await.map(drop),
        Change::Meta(at, mtime_ns) => {
            let meta = FileMeta {
                mtime_ns: Some(mtime_ns),
                mode: None,
            };
            app.set_meta(&me, &path(at), &meta).await.map(drop)
        }
    };
    done.err().map(|error| error.kind())
}

async fn apply(bed: &Bed, change: &Change) -> Option<Kind> {
    let put = match change {
        Change::Put(at, data) => bed.put_of(at, data),
        _ => bed.put_of("a", b""),
    };
    run(bed.app(), bed.me.clone(), put, change.clone()).await
}

/// The same, by a process that may die on the way and then lose its power.
async fn apply_and_die(bed: &Bed, change: &Change, dice: &mut Dice) -> Option<Option<Kind>> {
    // What an earlier fault left is finished first: the death is to meet this change and no other.
    bed.app().finish().await.unwrap();
    let when = [Dies::Before, Dies::After][dice.roll(2) as usize];
    for step in STEPS {
        bed.hooks.die(step, when);
    }
    let put = match change {
        Change::Put(at, data) => bed.put_of(at, data),
        _ => bed.put_of("a", b""),
    };
    let mut task = tokio::spawn(run(bed.app(), bed.me.clone(), put, change.clone()));
    let ended = tokio::select! {
        ended = &mut task => Some(ended.unwrap()),
        () = bed.hooks.dead() => None,
    };
    bed.hooks.clear();
    let pending = bed.memory_store().unwrap().pending() as u64;
    bed.power_cut(dice.roll(pending + 1) as usize).await;
    ended
}

/// The same, on a storage that fails once: what it did not do is done when it is asked again, and what it
/// did without saying so is done.
async fn apply_with_faults(bed: &Bed, change: &Change, dice: &mut Dice) -> Option<Kind> {
    let fault = [Fault::Lost, Fault::Io][dice.roll(2) as usize];
    let skip = dice.roll(2);
    for op in OPS {
        bed.faults.fail(op, fault, skip, 1);
    }
    let ended = apply(bed, change).await;
    bed.faults.clear();
    match ended {
        Some(Kind::Internal | Kind::Unavailable) => apply(bed, change).await,
        ended => ended,
    }
}

/// The same, with a catalog that does not say whether it recorded it. What it did not record is asked for again.
async fn apply_in_doubt(bed: &Bed, change: &Change, dice: &mut Dice) -> Option<Kind> {
    let lost = LOST[dice.roll(3) as usize];
    for tx in RECORDS {
        bed.app().commits().lose(tx, lost, dice.roll(2) as u32);
    }
    let ended = apply(bed, change).await;
    bed.app().commits().clear();
    if ended != Some(Kind::OutcomeUnknown) {
        return ended;
    }
    bed.app().finish().await.unwrap();
    match lost {
        Lost::Done | Lost::Late => None,
        Lost::NotDone => apply(bed, change).await,
    }
}

/// The same, on a storage that does not do it, and a catalog that does not say whether it is taken back.
async fn apply_and_take_back_in_doubt(bed: &Bed, change: &Change, dice: &mut Dice) -> Option<Kind> {
    // What an earlier fault left is finished first: these are to meet this change and no other.
    bed.app().finish().await.unwrap();
    let lost = LOST[dice.roll(3) as usize];
    for tx in TAKES_BACK {
        bed.app().commits().lose(tx, lost, dice.roll(2) as u32);
    }
    for op in OPS {
        bed.faults.fail(op, Fault::Io, 0, 1);
    }
    let ended = apply(bed, change).await;
    let in_doubt = bed.app().commits().armed() < TAKES_BACK.len();
    bed.faults.clear();
    bed.app().commits().clear();
    if ended != Some(Kind::Internal) {
        return ended;
    }
    bed.app().finish().await.unwrap();
    match lost {
        // What is not taken back is done, although the caller was told that it failed.
        Lost::NotDone if in_doubt => None,
        _ => apply(bed, change).await,
    }
}

/// Reasons and contents of everything kept.
async fn history(bed: &Bed) -> Vec<(&'static str, Vec<(KeptReason, Vec<u8>)>)> {
    let mut all = Vec::new();
    for at in PATHS {
        all.push((at, bed.kept(at).await));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_changes_survive_random_deaths() {
    for seed in 0..SEEDS {
        let (calm, wild) = (Bed::memory().await, Bed::memory().await);
        let mut dice = Dice(seed);
        let mut done = Vec::new();
        for _ in 0..CHANGES {
            let change = dice.change();
            done.push(change.clone());
            let wanted = apply(&calm, &change).await;
            let got = match dice.roll(7) {
                0 => apply_and_die(&wild, &change, &mut dice).await,
                1 => {
                    wild.jobs().await;
                    Some(apply(&wild, &change).await)
                }
                2 => Some(apply_with_faults(&wild, &change, &mut dice).await),
                3 => Some(apply_in_doubt(&wild, &change, &mut dice).await),
                4 => Some(apply_and_take_back_in_doubt(&wild, &change, &mut dice).await),
                _ => Some(apply(&wild, &change).await),
            };
            // Who died did it all the same.
            assert_eq!(got.unwrap_or(wanted), wanted, "seed {seed}: {done:#?}");
            for bed in [&calm, &wild] {
                bed.clock.advance_ms(1);
            }
            assert_eq!(
                world(&wild).await,
                world(&calm).await,
                "seed {seed}: {done:#?}"
            );
        }
        assert_eq!(
            history(&wild).await,
            history(&calm).await,
            "seed {seed}: {done:#?}"
        );
        assert_eq!(
            wild.events().await,
            calm.events().await,
            "seed {seed}: {done:#?}"
        );
        calm.leave().await;
        wild.leave().await;
    }
}
