//! The conformance suite, on every store and in every mode.

use crate::{MemoryPerson, Wood, memory_bed};
use gfl_core::settings::Durability;
use gfl_core::store::conformance::{self, Bed};
use gfl_core::store::fault::Faulty;
use gfl_core::store::memory::Memory;

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::all(memory_bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_without_exchange_conforms() {
    conformance::all(|| {
        let memory = Memory::new();
        memory.set_refuses_exchange(true);
        Bed::new(
            memory.clone(),
            Some(std::sync::Arc::new(MemoryPerson(memory))),
            (),
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tree_conforms_with_every_durability() {
    for durability in [Durability::Batch, Durability::Strict, Durability::None] {
        conformance::all(|| Wood::with(durability).bed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tree_without_openat2_conforms() {
    conformance::all(|| {
        let wood = Wood::with(Durability::None);
        wood.tree.pretend_no_openat2();
        wood.bed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tree_without_rename_flags_conforms() {
    conformance::all(|| {
        let wood = Wood::with(Durability::None);
        wood.tree.pretend_no_rename_flags();
        wood.bed
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fault_wrapper_changes_nothing_when_silent() {
    conformance::all(|| {
        let bed = memory_bed();
        Bed {
            store: Faulty::new(bed.store),
            ..bed
        }
    })
    .await;
    conformance::all(|| {
        let bed = Wood::with(Durability::None).bed;
        Bed {
            store: Faulty::new(bed.store),
            ..bed
        }
    })
    .await;
}
