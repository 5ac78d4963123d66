//! Every store passes the suite; the tree also where its favourite system calls are missing. Then what only a
//! real folder can show: links, FIFOs, hand-made crash states, large folders, full disks.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod cuts;
mod faults;
mod links;
mod space;
mod states;
mod suite;

use gfl_api::path::FilePath;
use gfl_core::id::Key;
use gfl_core::settings::Durability;
use gfl_core::store::Publish;
use gfl_core::store::conformance::{Bed, Person};
use gfl_core::store::memory::Memory;
use gfl_core::store::tree::Tree;
use rustix::fs::{CWD, RenameFlags};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Somebody with a shell in the storage folder.
struct Shell(PathBuf);

impl Person for Shell {
    fn writes(&self, path: &FilePath, data: &[u8]) {
        let full = self.0.join(path.as_str());
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        let new = self.0.join(".new~");
        fs::write(&new, data).unwrap();
        fs::rename(new, full).unwrap();
    }

    fn removes(&self, path: &FilePath) {
        let full = self.0.join(path.as_str());
        if full.is_dir() {
            fs::remove_dir_all(full)
        } else {
            fs::remove_file(full)
        }
        .unwrap();
    }
}

struct MemoryPerson(Arc<Memory>);

impl Person for MemoryPerson {
    fn writes(&self, path: &FilePath, data: &[u8]) {
        self.0.person_writes(path, data);
    }

    fn removes(&self, path: &FilePath) {
        self.0.person_removes(path);
    }
}

fn memory_bed() -> Bed {
    let memory = Memory::new();
    Bed::new(memory.clone(), Some(Arc::new(MemoryPerson(memory))), ())
}

/// A tree in a temporary folder.
struct Wood {
    bed: Bed,
    tree: Arc<Tree>,
    dir: PathBuf,
}

impl Wood {
    fn new() -> Wood {
        Wood::with(Durability::Batch)
    }

    fn with(durability: Durability) -> Wood {
        let temp = TempDir::new().unwrap();
        let dir = temp.path().join("storage");
        Wood::at(dir, durability, temp)
    }

    fn at(dir: PathBuf, durability: Durability, guard: TempDir) -> Wood {
        let tree = Tree::open(&dir, durability).unwrap();
        let person: Arc<dyn Person> = Arc::new(Shell(dir.clone()));
        Wood {
            bed: Bed::new(tree.clone(), Some(person), guard),
            tree,
            dir,
        }
    }

    fn at_path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn draft(&self, p: &Publish) -> PathBuf {
        self.dir.join(".gfl/drafts").join(p.key.as_str())
    }

    fn kept(&self, key: &Key) -> PathBuf {
        self.dir.join(".gfl/kept").join(key.as_str())
    }
}

fn exchange(a: &Path, b: &Path) {
    rustix::fs::renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}
