//! What all requests share, and one request as handlers see it. Knows no route and no socket.

use crate::budget::Budget;
use crate::facts::Facts;
use crate::incoming::RequestBody;
use crate::limits::Limits;
use crate::listen::Slots;
use crate::readiness::Readiness;
use crate::readiness::report::{Parts, Report};
use crate::standing::Standing;
use crate::tell::classify::{Direction, purpose};
use crate::tell::meters::Meters;
use crate::tokens_watch::TokenWatch;
use gfl_api::config::MetricsAccess;
use gfl_api::path::FilePath;
use gfl_core::App;
use gfl_core::limits::BODY_BUDGET_BYTES;
use http::{HeaderMap, Method, Uri};
use parking_lot::RwLock;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Bytes of bulk files that wait in memory to be stored, over all bulk requests.
const BULK_BUDGET_BYTES: usize = BODY_BUDGET_BYTES / 2;

/// The server: the application, and what its protocols share.
pub struct Server {
    /// The application.
    pub app: Arc<App>,
    /// Memory of downloads.
    pub budget: Arc<Budget>,
    /// Memory of small files in bulk uploads.
    pub bulk_bytes: Arc<Semaphore>,
    /// What everybody is told.
    pub about: About,
    /// The state of `tokens.json`.
    pub tokens: Arc<TokenWatch>,
    /// Whether requests can be served.
    pub readiness: Readiness<Arc<Report>>,
    /// Who is connected.
    pub slots: Arc<Slots>,
    limits: RwLock<Arc<Limits>>,
    /// Counters.
    pub meters: Arc<Meters>,
    metrics_access: RwLock<MetricsAccess>,
    draining: AtomicBool,
}

/// What this server tells everybody about itself: v0's `/config`, and the release it offers.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// `server.address` of the configuration.
    pub address: String,
    /// `server.storage_dir`; blank unless configured to be shown.
    pub storage_dir: String,
    /// `server.meta_dir`; blank unless configured to be shown.
    pub meta_dir: String,
    /// `server.tokens_file`; blank unless configured to be shown.
    pub tokens_file: String,
    /// `server.updates_file`; its content is told, never its path.
    pub updates_file: Option<PathBuf>,
}

impl Server {
    /// A server of `app`.
    pub fn new(app: Arc<App>, about: About) -> Arc<Server> {
        let tokens = Arc::new(TokenWatch::new(app.settings().tokens_file.clone()));
        let parts = Arc::new(Parts::new(Arc::clone(&app), Arc::clone(&tokens)));
        let readiness = Readiness::new(Box::new(move || {
            let parts = Arc::clone(&parts);
            Box::pin(async move { parts.look().await })
        }));
        Arc::new(Server {
            tokens,
            readiness,
            slots: Arc::default(),
            limits: RwLock::default(),
            app,
            budget: Budget::new(BODY_BUDGET_BYTES),
            bulk_bytes: Arc::new(Semaphore::new(BULK_BUDGET_BYTES)),
            meters: Meters::new(),
            metrics_access: RwLock::default(),
            about,
            draining: AtomicBool::new(false),
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.read())
    }

    /// From now on these limits hold. What runs goes on.
    pub fn set_limits(&self, limits: Limits) {
        self.slots.set_limits(limits.connections.clone());
        *self.limits.write() = Arc::new(limits);
    }

    /// Who may read `/metrics`.
    pub fn metrics_access(&self) -> MetricsAccess {
        *self.metrics_access.read()
    }

    /// From now on these may read `/metrics`.
    pub fn set_metrics_access(&self, access: MetricsAccess) {
        *self.metrics_access.write() = access;
    }

    /// From now on the server is not ready, and finishes what runs.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.readiness.stop();
    }

    /// Whether the server is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// One request. A pointer, because it is handed from function to function, each of which keeps a place for it.
pub struct Call(Box<Asked>);

impl std::ops::Deref for Call {
    type Target = Asked;

    fn deref(&self) -> &Asked {
        &self.0
    }
}

impl std::ops::DerefMut for Call {
    fn deref_mut(&mut self) -> &mut Asked {
        &mut self.0
    }
}

/// What is known of a request.
pub struct Asked {
    /// The server.
    pub server: Arc<Server>,
    /// Who sent it, without port.
    pub peer: IpAddr,
    /// It comes from this machine itself, not by way of a proxy.
    pub is_local: bool,
    /// It comes from the administrator's socket.
    pub is_admin: bool,
    /// The method.
    pub method: Method,
    /// The rest of the head.
    pub head: Head,
    /// The body.
    pub body: RequestBody,
    /// For the log line.
    pub facts: Arc<Facts>,
}

/// Target and header fields of a request. They lie in the buffer that they came in.
#[derive(Default)]
pub struct Head {
    uri: Uri,
    headers: HeaderMap,
    is_gone: bool,
}

impl Head {
    /// What came.
    pub fn new(uri: Uri, headers: HeaderMap) -> Head {
        Head {
            uri,
            headers,
            is_gone: false,
        }
    }
}

impl Call {
    /// A request to be answered.
    pub fn new(asked: Asked) -> Call {
        Call(Box::new(asked))
    }

    /// The target as it came.
    pub fn uri(&self) -> &Uri {
        debug_assert!(!self.head.is_gone, "asked for after the body was taken");
        &self.head.uri
    }

    /// The header fields.
    pub fn headers(&self) -> &HeaderMap {
        debug_assert!(!self.head.is_gone, "asked for after the body was taken");
        &self.head.headers
    }

    /// The application.
    pub fn app(&self) -> &App {
        &self.server.app
    }

    /// Names the route in the log.
    pub fn route(&self, route: &'static str) {
        let _ = self.facts.route.set(route);
    }

    /// Names the file or folder in the log.
    pub fn names(&self, path: &FilePath) {
        self.facts.names(path.as_str());
    }

    /// Takes the body out, and drops the head, which must have been understood by then: it may take much more memory
    /// than what it says, for as long as the body takes. Content is counted from here on.
    pub fn take_body(&mut self) -> RequestBody {
        let route = self.facts.route_or_none();
        let transfer = purpose(route, &self.method, self.uri().path()).transfer;
        if let Some(transfer) = transfer.filter(|t| t.direction == Direction::Up) {
            let meters = &self.server.meters;
            self.facts.moves(meters, transfer);
            self.body.count_into(meters.bytes(transfer));
        }
        self.body
            .only_while(Standing::of(&self.server, &self.facts));
        self.head = Head {
            is_gone: true,
            ..Head::default()
        };
        std::mem::replace(&mut self.body, RequestBody::empty())
    }

    /// A header field, several lines joined as HTTP says.
    pub fn header(&self, name: &str) -> Option<String> {
        header(self.headers(), name)
    }
}

/// A header field, several lines joined as HTTP says. Bytes that are not UTF-8 cannot match anything afterwards.
pub fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut lines = headers.get_all(name).iter();
    let mut joined = String::from_utf8_lossy(lines.next()?.as_bytes()).into_owned();
    for line in lines {
        joined.push_str(", ");
        joined.push_str(&String::from_utf8_lossy(line.as_bytes()));
    }
    Some(joined)
}
