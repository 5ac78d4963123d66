//! Pure functions over values: who may, what fits. No I/O, no state.

pub mod permissions;
