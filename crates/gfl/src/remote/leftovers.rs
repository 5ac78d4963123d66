//! What must not stay on the server when the program is interrupted: an upload that nobody can continue.

use super::call::{Call, Http};
use super::v1::{V1, upload_target};
use http::Method;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Somebody waits for the program to end; what is not removed by then expires by itself.
const REMOVED_WITHIN: Duration = Duration::from_secs(2);

/// At most one such upload. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Leftovers(Arc<Mutex<Option<(Http, String)>>>);

impl Leftovers {
    /// This upload would be left over from now on.
    pub(crate) fn note(&self, v1: &V1, id: &str) {
        if let Ok(mut upload) = self.0.lock() {
            *upload = Some((v1.http.clone(), upload_target(id)));
        }
    }

    /// It became a file.
    pub(crate) fn forget(&self) {
        self.take();
    }

    /// Removes it, if the server can be reached.
    pub(crate) async fn remove(&self) {
        if let Some((http, target)) = self.take() {
            let removing = http.send(Call::new(Method::DELETE, target));
            let _ = tokio::time::timeout(REMOVED_WITHIN, removing).await;
        }
    }

    fn take(&self) -> Option<(Http, String)> {
        self.0.lock().ok().and_then(|mut upload| upload.take())
    }
}
