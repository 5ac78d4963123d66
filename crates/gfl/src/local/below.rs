//! The path of a remote file below the folder that is fetched or sent. The rules for whole paths do not hold for it:
//! `.gfl` is reserved at the top of a server and nowhere else.

use gfl_api::FilePath;

/// Names below a folder, at least one, each a valid segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below(String);

impl Below {
    /// What `path` is below `folder`; none if it is not below it.
    pub(crate) fn of(path: &FilePath, folder: &FilePath) -> Option<Self> {
        let is_below = path.starts_with(folder) && path != folder;
        let rest = path.as_str().strip_prefix(folder.as_str())?;
        is_below.then(|| Self(rest.trim_start_matches('/').to_owned()))
    }

    /// The names from the top down.
    pub(crate) fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below() {
        let path = |text| FilePath::parse(text).unwrap();
        let below = |path_, folder| Below::of(&path(path_), &path(folder));
        let names = |below: Option<Below>| below.unwrap().names().collect::<Vec<_>>().join("|");
        assert_eq!(names(below("a/b/c", "a")), "b|c");
        assert_eq!(names(below("a/b", "")), "a|b");
        assert_eq!(names(below("a/.gfl/x", "a")), ".gfl|x");
        assert!(below("a", "a").is_none() && below("ab", "a").is_none());
    }
}
