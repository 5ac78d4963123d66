//! Paths in errors: which one an error is about, named once and said to be the server's.

use super::{Error, Kind};
use gfl_api::FilePath;

/// Errors in which a path is named once, and said to be the server's. The server begins its messages with the path;
/// the caller's own words often name it too.
pub(crate) trait Naming {
    /// The error for callers whose own words name the path: without it.
    fn naming(self, path: &FilePath) -> Self;
    /// The error for callers who name something else, a local file say: `PATH on the server: why`.
    fn placing(self, path: &FilePath) -> Self;
}

impl Naming for Error {
    fn naming(mut self, path: &FilePath) -> Self {
        if let Some(why) = self.why(path) {
            self.message = why.to_owned();
        }
        self.at(path)
    }

    fn placing(mut self, path: &FilePath) -> Self {
        // A folder on the way may be what is wrong.
        let mut at = Some(path.clone());
        while let Some(path) = at.filter(|path| !path.is_root()) {
            if let Some(why) = self.why(&path) {
                self.message = format!("{path} on the server: {why}");
                return self.at(&path);
            }
            at = path.parent();
        }
        self.at(path)
    }
}

impl Naming for anyhow::Error {
    fn naming(mut self, path: &FilePath) -> Self {
        if let Some(error) = self.downcast_mut::<Error>() {
            *error = std::mem::replace(error, Error::new(Kind::Refused, "")).naming(path);
        }
        self
    }

    fn placing(mut self, path: &FilePath) -> Self {
        if let Some(error) = self.downcast_mut::<Error>() {
            *error = std::mem::replace(error, Error::new(Kind::Refused, "")).placing(path);
        }
        self
    }
}

/// Puts words around failures on the server.
pub(crate) trait OnServer<T> {
    /// `cannot VERB PATH on the server: why`.
    fn on_server(self, verb: &str, path: &FilePath) -> anyhow::Result<T>;
}

impl<T, E: Naming + Into<anyhow::Error>> OnServer<T> for std::result::Result<T, E> {
    fn on_server(self, verb: &str, path: &FilePath) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error: anyhow::Error = error.naming(path).into();
            error.context(format!("cannot {verb} {path} on the server"))
        })
    }
}
