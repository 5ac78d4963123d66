//! What the tests know: per path the last acknowledged content, and the changes that were in flight
//! when the process died. After a restart each of those must have happened whole or not at all.

use crate::data;
use std::collections::BTreeMap;
use std::time::Instant;

/// Path to content id (see [`data::mark`]).
pub type Files = BTreeMap<String, u64>;

/// Paths and their new content (`None`: gone) that must change together.
pub type Change = Vec<(String, Option<u64>)>;

/// The truth about one folder that only one worker writes to.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// As acknowledged.
    pub files: Files,
    /// Sent and not answered. Each entry stands for itself; they touch different paths.
    pub in_flight: Vec<Change>,
}

impl Model {
    /// A request with these changes is about to be sent.
    pub fn begin(&mut self, changes: Vec<Change>) {
        self.in_flight = changes;
    }

    /// It was answered with success.
    pub fn acknowledge(&mut self) {
        for change in std::mem::take(&mut self.in_flight) {
            self.apply(&change);
        }
    }

    /// It was refused: nothing may have changed.
    pub fn refuse(&mut self) {
        self.in_flight.clear();
    }

    fn apply(&mut self, change: &Change) {
        for (path, content) in change {
            match content {
                Some(id) => self.files.insert(path.clone(), *id),
                None => self.files.remove(path),
            };
        }
    }

    /// Compares with what is there after a restart and takes that over.
    pub fn settle(&mut self, seen: &Files) -> Result<(), String> {
        for change in std::mem::take(&mut self.in_flight) {
            let new = change.iter().all(|(p, c)| seen.get(p) == c.as_ref());
            let old = change.iter().all(|(p, _)| seen.get(p) == self.files.get(p));
            match (new, old) {
                (true, _) => self.apply(&change),
                (false, true) => {}
                (false, false) => {
                    return Err(format!("half done: {}", self.explain(&change, seen)));
                }
            }
        }
        self.compare(seen)
    }

    /// Compares without anything in flight.
    pub fn compare(&self, seen: &Files) -> Result<(), String> {
        for (path, id) in &self.files {
            match seen.get(path) {
                Some(got) if got == id => {}
                Some(got) => return Err(format!("{path}: holds {got:x}, acknowledged {id:x}")),
                None => return Err(format!("{path}: lost, acknowledged {id:x}")),
            }
        }
        match seen.iter().find(|(p, _)| !self.files.contains_key(*p)) {
            Some((path, id)) => Err(format!("{path}: holds {id:x}, must not exist")),
            None => Ok(()),
        }
    }

    fn explain(&self, change: &Change, seen: &Files) -> String {
        let line = |(path, new): &(String, Option<u64>)| {
            let (old, got) = (self.files.get(path), seen.get(path));
            format!("{path}: was {old:x?}, asked for {new:x?}, is {got:x?}")
        };
        change.iter().map(line).collect::<Vec<_>>().join("; ")
    }
}

/// One write to a path that everybody writes to.
#[derive(Debug, Clone, Copy)]
struct Write {
    id: u64,
    began: Instant,
    acknowledged: Option<Instant>,
}

/// A path with many writers: any write that may have been the last one may be there.
#[derive(Debug, Default)]
pub struct Contended {
    settled: Option<u64>,
    writes: Vec<Write>,
}

impl Contended {
    /// A write begins; the number identifies it.
    pub fn begin(&mut self, id: u64) -> usize {
        self.writes.push(Write {
            id,
            began: Instant::now(),
            acknowledged: None,
        });
        self.writes.len() - 1
    }

    /// It was acknowledged.
    pub fn acknowledge(&mut self, number: usize) {
        self.writes[number].acknowledged = Some(Instant::now());
    }

    /// Whether `seen` may be there now; then it is taken over.
    pub fn settle(&mut self, seen: Option<u64>) -> Result<(), String> {
        let acknowledged = |w: &&Write| w.acknowledged.is_some();
        // A write is certainly overwritten when an acknowledged one began after its own end.
        let last_start = self
            .writes
            .iter()
            .filter(acknowledged)
            .map(|w| w.began)
            .max();
        let may_be_last = |w: &Write| match (w.acknowledged, last_start) {
            (Some(end), Some(start)) => end >= start,
            _ => true,
        };
        let untouched = last_start.is_none() && seen == self.settled;
        let explained = self
            .writes
            .iter()
            .any(|w| Some(w.id) == seen && may_be_last(w));
        if !untouched && !explained {
            return Err(format!(
                "contended path holds {seen:x?}: {:x?}",
                self.writes
            ));
        }
        self.settled = seen;
        self.writes.clear();
        Ok(())
    }
}

/// Whether `ranges` (sorted, half open) cover `part`.
pub fn covers(ranges: &[(u64, u64)], part: (u64, u64)) -> bool {
    part.0 >= part.1 || ranges.iter().any(|(a, b)| *a <= part.0 && part.1 <= *b)
}

/// What of `0 … len` is not in `ranges`.
pub fn gaps(ranges: &[(u64, u64)], len: u64) -> Vec<(u64, u64)> {
    let mut at = 0;
    let mut out = Vec::new();
    for (a, b) in ranges {
        if *a > at {
            out.push((at, *a));
        }
        at = at.max(*b);
    }
    if at < len {
        out.push((at, len));
    }
    out
}

/// Identifies content, with its path in the error.
pub fn identify(path: &str, content: &[u8]) -> Result<u64, String> {
    data::identify(content).map_err(|e| format!("{path}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, u64)]) -> Files {
        list.iter().map(|(p, id)| ((*p).to_owned(), *id)).collect()
    }

    #[test]
    fn a_move_happens_whole_or_not_at_all() {
        let moved = vec![("a".to_owned(), None), ("b".to_owned(), Some(1))];
        let check = |seen: &[(&str, u64)]| {
            let mut model = Model {
                files: files(&[("a", 1)]),
                in_flight: vec![moved.clone()],
            };
            model.settle(&files(seen))
        };
        assert_eq!(check(&[("a", 1)]), Ok(()));
        assert_eq!(check(&[("b", 1)]), Ok(()));
        assert!(check(&[("a", 1), ("b", 1)]).is_err());
        assert!(check(&[]).is_err());
    }

    #[test]
    fn loss_ghosts_and_old_content_are_noticed() {
        let model = Model {
            files: files(&[("a", 2)]),
            in_flight: Vec::new(),
        };
        assert!(model.compare(&files(&[])).is_err());
        assert!(model.compare(&files(&[("a", 1)])).is_err());
        assert!(model.compare(&files(&[("a", 2), ("x", 3)])).is_err());
        assert!(model.compare(&files(&[("a", 2)])).is_ok());
    }

    #[test]
    fn an_overwritten_write_may_not_come_back() {
        let mut path = Contended::default();
        let first = path.begin(1);
        path.acknowledge(first);
        let now = Instant::now();
        while Instant::now() == now {}
        let second = path.begin(2);
        path.acknowledge(second);
        let _in_flight = path.begin(3);
        assert!(path.settle(Some(1)).is_err());
        assert!(path.settle(None).is_err());
        assert!(path.settle(Some(3)).is_ok());
        assert!(path.settle(Some(2)).is_err());
    }

    #[test]
    fn gaps_are_what_ranges_do_not_cover() {
        assert_eq!(gaps(&[(2, 4), (6, 7)], 9), [(0, 2), (4, 6), (7, 9)]);
        assert_eq!(gaps(&[(0, 9)], 9), []);
        assert!(covers(&[(2, 4)], (2, 4)) && !covers(&[(2, 4)], (3, 5)));
    }
}
