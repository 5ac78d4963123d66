//! Symlinks on the recorded disk, as a person makes them. Resolves names as the tree does: inside the visible
//! root, and no further.

use super::disk::{Disk, Node};
use super::{Memory, ROOT, kept_name, visible};
use crate::store::{Found, Link, Place};
use gfl_api::path::FilePath;
use std::collections::VecDeque;

/// Links followed while resolving one name.
const LINKS_MAX: usize = 40;

/// The name of what `name` leads to when every link is followed; `None` when that is outside, or a circle. What is
/// missing has the name it would have.
pub(super) fn followed(disk: &Disk, name: &str) -> Option<String> {
    let mut todo: VecDeque<String> = name.split('/').skip(1).map(str::to_owned).collect();
    let mut at = ROOT.to_owned();
    let mut links = 0;
    while let Some(part) = todo.pop_front() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                at.truncate(at.rfind('/')?);
                continue;
            }
            _ => {}
        }
        let next = format!("{at}/{part}");
        match disk.node(&next) {
            Some((_, Node::Link(text))) => {
                links += 1;
                if links > LINKS_MAX || text.starts_with('/') {
                    return None;
                }
                for part in text.rsplit('/') {
                    todo.push_front(part.to_owned());
                }
            }
            _ => at = next,
        }
    }
    Some(at)
}

fn is_link(disk: &Disk, name: &str) -> bool {
    matches!(disk.node(name), Some((_, Node::Link(_))))
}

impl Memory {
    /// Whether a symlink stands at a path.
    pub fn is_link(&self, path: &FilePath) -> bool {
        is_link(&self.disk.lock(), &visible(path))
    }

    /// Whether links lead from `path` to below the folder `top`.
    pub(super) fn is_inside(&self, path: &FilePath, top: &FilePath) -> bool {
        let disk = self.disk.lock();
        if is_link(&disk, &visible(top)) {
            return false;
        }
        let real = |path: &FilePath| followed(&disk, &visible(path));
        match (real(path), real(top)) {
            (Some(path), Some(top)) => path.starts_with(&format!("{top}/")),
            _ => false,
        }
    }

    /// A person makes a symlink, and the folders above it. What was there is replaced.
    pub fn person_links(&self, path: &FilePath, text: &str) {
        let mut disk = self.disk.lock();
        for dir in path.ancestors() {
            if disk.node(&visible(&dir)).is_none() {
                disk.add_dir(&visible(&dir));
            }
        }
        disk.add_durable_link(&visible(path), text);
    }

    /// What a visible name names, links followed; one that leads to nothing is none of what is served.
    pub(super) fn found_followed(&self, name: &str) -> Found {
        let (real, linked) = {
            let disk = self.disk.lock();
            let real = followed(&disk, name);
            let linked = is_link(&disk, name);
            (real, linked)
        };
        match real.map(|real| self.found(&real)) {
            Some(Found::Nothing) if linked => Found::Other,
            Some(found) => found,
            None => Found::Other,
        }
    }

    /// The names in a visible directory and what they name.
    pub(super) fn named_in(&self, dir: &str) -> Vec<(String, Found)> {
        let names: Vec<String> = {
            let disk = self.disk.lock();
            let prefix = format!("{}/", followed(&disk, dir).unwrap_or_default());
            disk.names
                .range(prefix.clone()..)
                .map_while(|(name, _)| name.strip_prefix(&prefix))
                .filter(|name| !name.contains('/'))
                .map(str::to_owned)
                .collect()
        };
        let found = |name: String| {
            let found = self.found_followed(&format!("{dir}/{name}"));
            (name, found)
        };
        names.into_iter().map(found).collect()
    }

    /// See [`crate::store::Store::link`].
    pub(super) fn link_at(&self, place: &Place, at: &FilePath) -> Option<Link> {
        let disk = self.disk.lock();
        let name = match place {
            Place::Visible(path) => visible(path),
            Place::Kept(key) => kept_name(key),
        };
        let name = match name.rsplit_once('/') {
            Some((dir, last)) if dir.starts_with(ROOT) => {
                format!("{}/{last}", followed(&disk, dir)?)
            }
            _ => name,
        };
        let Some((_, Node::Link(text))) = disk.node(&name) else {
            return None;
        };
        let dir = visible(&at.parent().unwrap_or_else(FilePath::root));
        let real = (!text.starts_with('/'))
            .then(|| followed(&disk, &format!("{dir}/{text}")))
            .flatten();
        let stamp = disk.stamp(&name)?;
        drop(disk);
        let leads_to = real.map_or(Found::Other, |real| self.found(&real));
        Some(Link { stamp, leads_to })
    }
}
