//! Which folders of a walk must be made by name: those that no file and no other folder brings along.
//!
//! Pure. Holds the folders the walk stands in and nothing more.

use gfl_api::FilePath;

/// The folders on the way down to where the walk is.
pub(super) struct Bare(Vec<Level>);

struct Level {
    dir: FilePath,
    /// It is on the server, or comes with what is in it.
    is_held: bool,
}

impl Bare {
    /// Begins in a folder.
    pub(super) fn new(dir: FilePath, is_there: bool) -> Self {
        Self(vec![Level {
            dir,
            is_held: is_there,
        }])
    }

    /// Leaves the folders that `path` is not in. Returns those that must be made.
    pub(super) fn pass(&mut self, path: &FilePath) -> Vec<FilePath> {
        self.leave(|dir| !path.starts_with(dir))
    }

    /// Enters a folder.
    pub(super) fn enter(&mut self, dir: FilePath, is_there: bool) {
        self.0.push(Level {
            dir,
            is_held: is_there,
        });
    }

    /// A file is in the innermost folder.
    pub(super) fn fill(&mut self) {
        if let Some(level) = self.0.last_mut() {
            level.is_held = true;
        }
    }

    /// Leaves all folders.
    pub(super) fn end(mut self) -> Vec<FilePath> {
        self.leave(|_| true)
    }

    fn leave(&mut self, is_left: impl Fn(&FilePath) -> bool) -> Vec<FilePath> {
        let mut made = Vec::new();
        while let Some(level) = self.0.pop_if(|level| is_left(&level.dir)) {
            if !level.is_held {
                made.push(level.dir);
            }
            // Held or made now, it brings the one it is in along.
            self.fill();
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FilePath {
        FilePath::parse(text).unwrap()
    }

    #[test]
    fn only_what_nothing_brings_along() {
        assert_eq!(Bare::new(path("r"), false).end(), [path("r")]);
        assert!(Bare::new(path("r"), true).end().is_empty());
        let mut bare = Bare::new(path("r"), false);
        bare.enter(path("r/a"), false);
        bare.enter(path("r/a/b"), false);
        assert!(bare.pass(&path("r/a/b/f")).is_empty());
        bare.fill();
        assert!(bare.pass(&path("r/ab")).is_empty());
        bare.enter(path("r/ab"), false);
        assert_eq!(bare.pass(&path("r/c")), [path("r/ab")]);
        assert!(bare.end().is_empty());
    }
}
