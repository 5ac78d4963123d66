//! Who may read `/metrics`.

/// The value of `server.metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// This machine without asking; others with the permission `metrics` (`local`).
    #[default]
    Local,
    /// Everybody (`public`).
    Public,
    /// Whoever has the permission `metrics`, this machine as well (`permission`).
    Permission,
}

impl MetricsAccess {
    pub(super) const CHOICES: &'static [(&'static str, MetricsAccess)] = &[
        ("local", MetricsAccess::Local),
        ("public", MetricsAccess::Public),
        ("permission", MetricsAccess::Permission),
    ];
}
