//! What the application says of the past.

use crate::bed::{Bed, path};
use gfl_core::files::{KeptReason, VersionInfo, VersionMark, VersionPage, VersionsQuery};

impl Bed {
    pub(crate) async fn versions(&self, at: &str) -> Vec<VersionInfo> {
        self.version_page(at, None, 100).await.versions
    }

    /// A page of the versions of a path; of what was deleted in it when it ends in a slash.
    pub(crate) async fn version_page(
        &self,
        at: &str,
        after: Option<VersionMark>,
        limit: usize,
    ) -> VersionPage {
        let query = VersionsQuery {
            path: path(at.trim_end_matches('/')),
            of_directory: at.ends_with('/'),
            after,
            limit,
        };
        self.app().versions(&self.me, &query).await.unwrap()
    }

    /// Kept versions of a path as (reason, content), newest first.
    pub(crate) async fn kept(&self, at: &str) -> Vec<(KeptReason, Vec<u8>)> {
        let mut out = Vec::new();
        for info in self.versions(at).await {
            if let Some(reason) = info.kept.filter(|_| !info.is_dir) {
                out.push((reason, self.get_version(at, Some(&info.id)).await.unwrap()));
            }
        }
        out
    }
}
