//! Adapters around a body: taking it in pieces within the memory budget, hashing it in groups.
//! Knows nothing of paths, users or rows.

mod groups;
mod intake;

pub(crate) use groups::{GroupCollector, root_of_draft, write_values};
pub(crate) use intake::{Batch, Budget, Intake, Sink};
