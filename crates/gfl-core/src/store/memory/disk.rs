//! A recorded fake disk: names and bodies as they are, and what of them a power cut would leave. Knows
//! nothing of the store's contract.
//!
//! The model is a journaling file system at its least helpful: bytes are durable only when synced; changes of
//! names become durable in their order, some prefix of them at any moment, for certain only when asked for.
//! Names are texts: `v/<path>` visible, `d/<key>` drafts, `k/<key>` kept, `p/<inode>` passing.

use crate::store::Stamp;
use gfl_api::tree::Cv;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE_BYTES: u64 = 64 * 1024;

/// The bytes and attributes of a file; sparse.
#[derive(Debug, Clone, Default)]
pub(super) struct Body {
    pages: BTreeMap<u64, Arc<Vec<u8>>>,
    pub(super) size: u64,
    pub(super) mtime_ns: i64,
    pub(super) mode: u32,
}

impl Body {
    pub(super) fn write(&mut self, mut offset: u64, mut data: &[u8]) {
        self.size = self.size.max(offset + data.len() as u64);
        while !data.is_empty() {
            let (page, start) = (offset / PAGE_BYTES, (offset % PAGE_BYTES) as usize);
            let len = data.len().min(PAGE_BYTES as usize - start);
            let empty = || Arc::new(vec![0; PAGE_BYTES as usize]);
            let bytes = Arc::make_mut(self.pages.entry(page).or_insert_with(empty));
            bytes[start..start + len].copy_from_slice(&data[..len]);
            offset += len as u64;
            data = &data[len..];
        }
    }

    /// Exactly `len` bytes, zeros past the end.
    pub(super) fn read(&self, mut offset: u64, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let (page, start) = (offset / PAGE_BYTES, (offset % PAGE_BYTES) as usize);
            let step = (len - out.len()).min(PAGE_BYTES as usize - start);
            match self.pages.get(&page) {
                Some(bytes) => out.extend_from_slice(&bytes[start..start + step]),
                None => out.resize(out.len() + step, 0),
            }
            offset += step as u64;
        }
        out
    }

    pub(super) fn resize(&mut self, size: u64) {
        self.pages.split_off(&size.div_ceil(PAGE_BYTES));
        if let Some(last) = self.pages.get_mut(&(size / PAGE_BYTES)) {
            Arc::make_mut(last)[(size % PAGE_BYTES) as usize..].fill(0);
        }
        self.size = size;
    }
}

/// What an inode is.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Dir {
        mtime_ns: i64,
        mode: u32,
    },
    File(Arc<Mutex<Body>>),
    /// With its text.
    Link(String),
}

/// A change of names.
#[derive(Debug, Clone)]
enum Op {
    Add(String, u64),
    Move(String, String),
    Exchange(String, String),
    Remove(String),
}

type NameMap = BTreeMap<String, u64>;
type GroupMap = BTreeMap<String, BTreeMap<u64, Cv>>;

/// The disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) names: NameMap,
    pub(super) groups: GroupMap,
    nodes: BTreeMap<u64, (Node, i64)>,
    last_ino: u64,
    time: i64,
    /// What a power cut leaves: names, then the changes that may or may not be on it, then bodies.
    durable_names: NameMap,
    pending: Vec<Op>,
    durable_bodies: BTreeMap<u64, Body>,
    durable_groups: GroupMap,
}

/// `name` with everything below it.
fn below(names: &NameMap, name: &str) -> Vec<(String, u64)> {
    let prefix = format!("{name}/");
    let own = names.get_key_value(name);
    let inner = names
        .range(prefix.clone()..)
        .take_while(|(k, _)| k.starts_with(&prefix));
    own.into_iter()
        .chain(inner)
        .map(|(k, v)| (k.clone(), *v))
        .collect()
}

fn take(names: &mut NameMap, name: &str) -> Vec<(String, u64)> {
    let all = below(names, name);
    for (k, _) in &all {
        names.remove(k);
    }
    all
}

fn put(names: &mut NameMap, all: Vec<(String, u64)>, from: &str, to: &str) {
    names.extend(
        all.into_iter()
            .map(|(k, v)| (format!("{to}{}", &k[from.len()..]), v)),
    );
}

fn apply(names: &mut NameMap, op: &Op) {
    match op {
        Op::Add(name, ino) => {
            names.insert(name.clone(), *ino);
        }
        Op::Move(from, to) => {
            let all = take(names, from);
            if !all.is_empty() {
                take(names, to);
                put(names, all, from, to);
            }
        }
        Op::Exchange(a, b) => {
            let (at_a, at_b) = (take(names, a), take(names, b));
            put(names, at_a, a, b);
            put(names, at_b, b, a);
        }
        Op::Remove(name) => {
            take(names, name);
        }
    }
}

impl Op {
    /// The visible names it touches.
    fn touches(&self) -> impl Iterator<Item = &str> {
        let (a, b) = match self {
            Op::Move(a, b) | Op::Exchange(a, b) => (a, Some(b)),
            Op::Add(a, _) | Op::Remove(a) => (a, None),
        };
        [Some(a), b]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .filter(|n| n.starts_with("v/"))
    }
}

impl Disk {
    /// A time later than all before.
    pub(super) fn tick(&mut self) -> i64 {
        self.time += 1;
        self.time
    }

    pub(super) fn node(&self, name: &str) -> Option<(u64, &Node)> {
        let ino = *self.names.get(name)?;
        self.nodes.get(&ino).map(|(node, _)| (ino, node))
    }

    pub(super) fn stamp(&self, name: &str) -> Option<Stamp> {
        let ino = *self.names.get(name)?;
        let (node, ctime_ns) = self.nodes.get(&ino)?;
        let (size, mtime_ns) = match node {
            Node::Dir { mtime_ns, .. } => (0, *mtime_ns),
            Node::Link(text) => (text.len() as u64, 0),
            Node::File(body) => {
                let body = body.lock();
                (body.size, body.mtime_ns)
            }
        };
        Some(Stamp {
            size,
            mtime_ns,
            ino,
            ctime_ns: *ctime_ns,
        })
    }

    /// A change of attributes.
    pub(super) fn touch(&mut self, ino: u64, change: impl FnOnce(&mut Node)) {
        let now = self.tick();
        if let Some((node, ctime)) = self.nodes.get_mut(&ino) {
            change(node);
            *ctime = now;
        }
    }

    /// Makes a file's attributes durable, as [`crate::store::Store::set_meta`] does.
    pub(super) fn sync_attributes(&mut self, ino: u64) {
        if let (Some((Node::File(body), _)), Some(durable)) =
            (self.nodes.get(&ino), self.durable_bodies.get_mut(&ino))
        {
            let body = body.lock();
            (durable.mtime_ns, durable.mode) = (body.mtime_ns, body.mode);
        }
    }

    /// A new file whose name is not durable before its body is synced.
    pub(super) fn add_draft(&mut self, name: &str) -> (u64, Arc<Mutex<Body>>) {
        let body = Arc::new(Mutex::new(Body::default()));
        let ino = self.add_node(Node::File(Arc::clone(&body)));
        self.names.insert(name.to_owned(), ino);
        (ino, body)
    }

    /// A new folder.
    pub(super) fn add_dir(&mut self, name: &str) {
        let now = self.tick();
        let ino = self.add_node(Node::Dir {
            mtime_ns: now,
            mode: 0o755,
        });
        self.change(Op::Add(name.to_owned(), ino));
    }

    /// A person's file, durable at once.
    pub(super) fn add_durable_file(&mut self, name: &str, data: &[u8]) {
        self.change(Op::Remove(name.to_owned()));
        let (ino, body) = self.add_draft(name);
        let now = self.tick();
        let mut body = body.lock();
        body.write(0, data);
        (body.mtime_ns, body.mode) = (now, 0o644);
        self.durable_bodies.insert(ino, body.clone());
        self.pending.push(Op::Add(name.to_owned(), ino));
    }

    /// A person's link, durable at once as far as its name is.
    pub(super) fn add_durable_link(&mut self, name: &str, text: &str) {
        self.change(Op::Remove(name.to_owned()));
        let ino = self.add_node(Node::Link(text.to_owned()));
        self.change(Op::Add(name.to_owned(), ino));
    }

    fn add_node(&mut self, node: Node) -> u64 {
        self.last_ino += 1;
        let now = self.tick();
        self.nodes.insert(self.last_ino, (node, now));
        self.last_ino
    }

    fn change(&mut self, op: Op) {
        apply(&mut self.names, &op);
        self.pending.push(op);
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(ino) = self.names.get(from).copied() {
            self.change(Op::Move(from.to_owned(), to.to_owned()));
            self.touch(ino, |_| {});
        }
    }

    pub(super) fn exchange(&mut self, a: &str, b: &str) {
        self.change(Op::Exchange(a.to_owned(), b.to_owned()));
    }

    pub(super) fn link(&mut self, from: &str, to: &str) {
        if let Some(ino) = self.names.get(from).copied() {
            self.change(Op::Add(to.to_owned(), ino));
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if self.names.contains_key(name) {
            self.change(Op::Remove(name.to_owned()));
        }
    }

    /// Makes a draft's bytes, outboard and name durable.
    pub(super) fn sync_file(&mut self, name: &str, key: &str) -> bool {
        let Some((ino, Node::File(body))) = self.node(name) else {
            return false;
        };
        let body = body.lock().clone();
        self.durable_bodies.insert(ino, body);
        self.durable_names.insert(name.to_owned(), ino);
        if let Some(groups) = self.groups.get(key) {
            self.durable_groups.insert(key.to_owned(), groups.clone());
        }
        true
    }

    pub(super) fn remove_groups(&mut self, key: &str) {
        self.groups.remove(key);
        self.durable_groups.remove(key);
    }

    /// Makes the changes in folders that `synced` accepts durable, and all before them.
    pub(super) fn sync_names(&mut self, synced: impl Fn(&str) -> bool) {
        let parent = |name: &str| name.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
        let covered = |op: &Op| op.touches().all(|name| synced(&parent(name)));
        let upto = self.pending.iter().rposition(covered).map_or(0, |i| i + 1);
        for op in self.pending.drain(..upto) {
            apply(&mut self.durable_names, &op);
        }
    }

    /// Changes of names that a power cut may still take back.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// A power cut after which the first `survivors` pending changes are on the disk.
    pub(super) fn crash(&mut self, survivors: usize) {
        for op in self.pending.drain(..).take(survivors) {
            apply(&mut self.durable_names, &op);
        }
        self.names = self.durable_names.clone();
        self.groups = self.durable_groups.clone();
        for (ino, (node, _)) in &mut self.nodes {
            if let Node::File(body) = node {
                // A new allocation: handles from before the cut must not reach the disk any more.
                let left = self.durable_bodies.get(ino).cloned().unwrap_or_default();
                *body = Arc::new(Mutex::new(left));
            }
        }
    }
}
