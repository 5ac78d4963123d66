//! Every limit of the core, with its unit in its name.

/// Body bytes that may be in memory at once, over all transfers of one direction.
pub const BODY_BUDGET_BYTES: usize = 6 * 1024 * 1024;
/// Room held in the catalog's folder for the time when its disk is full. The catalog's log grows to as much
/// between two checkpoints.
pub const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// … taken (again) when so much is free: it is to leave more than it takes.
pub const BALLAST_FREE_BYTES_MIN: u64 = 3 * BALLAST_BYTES;
/// Largest piece read from or written to a store in one step.
pub const IO_BYTES_MAX: usize = 256 * 1024;
/// Smallest piece a download reads when many share the budget.
pub const IO_BYTES_MIN: usize = 16 * 1024;
/// A body that comes in drops is gathered up to so many bytes …
pub const GATHER_BYTES: usize = 2 * 1024;
/// … for at most so long, before anything is done with it.
pub const GATHER_MS: u64 = 250;
/// A running upload is checkpointed at least this often while it receives.
pub const CHECKPOINT_MS: i64 = 1_000;
/// … and after this many bytes.
pub const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;
/// Separate received ranges of one upload session.
pub const UPLOAD_RANGES_MAX: usize = 10_000;
/// Open upload sessions of one user.
pub const UPLOADS_PER_OWNER_MAX: i64 = 10_000;
/// Characters of a client's fingerprint.
pub const FINGERPRINT_CHARS_MAX: usize = 256;
/// Largest file. Offsets are signed 64-bit in the catalog and in the kernel.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;
/// Finished and failed sessions are remembered this long, so that a lost answer can be asked for again.
pub const UPLOAD_DONE_MS: i64 = 24 * 3_600_000;
/// Hand-changed files waiting to be hashed. More are noticed again when they are next touched.
pub const ADOPTION_QUEUE_MAX: usize = 10_000;
/// Entries removed by one pruning step.
pub const PRUNE_BATCH: i64 = 256;
/// … while space is short.
pub const PRUNE_BATCH_SHORT: i64 = 16;
/// How often one piece of a body makes history give way for it. A step gives up [`PRUNE_BATCH_SHORT`] entries.
pub const ROOM_TRIES_MAX: u32 = 8;
/// Events forgotten by one transaction.
pub const EVENTS_BATCH: i64 = 1_000;
/// Transactions in one round of forgetting, so that a large backlog holds up nothing else for long.
pub const EVENTS_BATCHES_PER_ROUND: usize = 100;
/// Kept content stays at least this long while space is short; for a write that finds none at all it goes
/// sooner.
pub const KEPT_MS_MIN: i64 = 60_000;
/// Names held in memory by one step over a large directory.
pub const LIST_CHUNK_NAMES: usize = 16_384;
/// Unanswered challenges (v0 `Challenge` scheme); older ones are dropped first.
pub const CHALLENGES_MAX: usize = 10_000;
/// Life of a challenge.
pub const CHALLENGE_MS: i64 = 5 * 60_000;
/// Versions in one page of a list.
pub const VERSIONS_PAGE_MAX: usize = 1_000;
/// Sessions in one page of a list.
pub const UPLOADS_PAGE_MAX: usize = 1_000;
