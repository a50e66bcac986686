//! The two stores are twins: whatever is done to both, they answer the same, also after the disk one was closed and
//! opened again; and what a crash leaves on disk is one commit, whole.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::store::Update;
use crate::store::durable::Fill as _;
use crate::store::memory::MemoryStore;

#[derive(Debug, Clone)]
enum Step {
    Write(Batch),
    Flush,
    Reopen,
}

fn shared() -> Shared {
    Shared::new(Budget { cache_bytes: 8 << 20, write_buffer_bytes: 4 << 20, n_stores: 2, background_jobs: 1 })
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop_oneof![Just(0), Just(b'c'), Just(b'd'), Just(b'm'), Just(255)], 0..3),
        (0..20_u8).prop_map(|n| format!("customer-{n}").into_bytes()),
    ]
}

fn instants() -> impl Strategy<Value = i64> {
    prop_oneof![-3..3_i64, Just(i64::MIN), Just(i64::MAX), Just(-1_000_000), 1_700_000_000_000..1_700_000_000_003_i64]
}

fn updates() -> impl Strategy<Value = Update> {
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    let deadline = || prop::option::of(instants());
    (keys(), value, deadline(), deadline()).prop_map(|(key, value, previous_deadline, deadline)| Update {
        key,
        value,
        previous_deadline,
        deadline,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let batch = (prop::collection::vec(updates(), 0..8), prop::option::of(prop::collection::vec(any::<u8>(), 0..9)));
    prop_oneof![
        8 => batch.prop_map(|(updates, marker)| Step::Write(Batch { updates, marker })),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// Everything a store can be asked, in one comparable value.
fn answers(store: &dyn Store, keys: &[Vec<u8>], instants: &[i64]) -> impl PartialEq + std::fmt::Debug + use<> {
    let got: Vec<_> = keys.iter().map(|key| store.get(key).unwrap()).collect();
    let scans: Vec<_> = keys.iter().map(|key| store.scan(Some(key), 3).unwrap()).collect();
    let mut due = Vec::new();
    for before in instants {
        due.push(store.due(*before, None, 4).unwrap());
        for (key, after) in keys.iter().zip(instants.iter().cycle()) {
            due.push(store.due(*before, Some((*after, key)), 4).unwrap());
        }
    }
    (
        got,
        scans,
        due,
        store.scan(None, 1000).unwrap(),
        store.due(i64::MAX, None, 1000).unwrap(),
        store.marker().unwrap(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn twins_answer_the_same(
        steps in prop::collection::vec(steps(), 1..24),
        keys in prop::collection::vec(keys(), 1..6),
        instants in prop::collection::vec(instants(), 1..4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0");
        let shared = shared();
        let mut memory = MemoryStore::default();
        let mut rocks = RocksStore::open(&path, &shared).unwrap();
        for step in steps {
            match step {
                Step::Write(batch) => {
                    memory.write(&batch).unwrap();
                    rocks.write(&batch).unwrap();
                }
                Step::Flush => rocks.flush().unwrap(),
                Step::Reopen => {
                    drop(rocks);
                    rocks = RocksStore::open(&path, &shared).unwrap();
                }
            }
            prop_assert_eq!(answers(&rocks, &keys, &instants), answers(&memory, &keys, &instants));
        }
    }
}

/// The disk as a crash at this moment would leave it.
fn crash(path: &Path, copy: &Path) {
    std::fs::create_dir_all(copy).unwrap();
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
}

/// Commit number `n`: every customer says `n`, and so does the marker.
fn commit(n: u32) -> Batch {
    let value = n.to_be_bytes().to_vec();
    let update = |customer: u8| Update {
        key: vec![customer],
        value: Some(value.clone()),
        previous_deadline: Some(i64::from(n) - 1),
        deadline: Some(i64::from(n)),
    };
    Batch { updates: (0..10).map(update).collect(), marker: Some(value.clone()) }
}

#[test]
fn a_crash_leaves_one_whole_commit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live");
    let shared = shared();
    let mut store = RocksStore::open(&path, &shared).unwrap();
    for n in 1..=40 {
        store.write(&commit(n)).unwrap();
        if n % 15 == 0 {
            store.flush().unwrap();
        }
        let copy = directory.path().join(format!("crash-{n}"));
        crash(&path, &copy);
        let survivor = RocksStore::open(&copy, &shared).unwrap();
        let flushed = n / 15 * 15;
        let expected = (flushed > 0).then(|| flushed.to_be_bytes().to_vec());
        assert_eq!(survivor.marker().unwrap(), expected, "after commit {n}");
        let customers = survivor.scan(None, 100).unwrap();
        assert!(customers.iter().all(|(_, value)| Some(value) == expected.as_ref()), "after commit {n}: {customers:?}");
        let due = survivor.due(i64::MAX, None, 100).unwrap();
        assert!(due.iter().all(|(instant, _)| *instant == i64::from(flushed)), "after commit {n}: {due:?}");
    }
}

#[test]
fn a_store_has_one_owner_and_is_destroyed_only_when_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0");
    let shared = shared();
    let mut store = RocksStore::open(&path, &shared).unwrap();
    store.write(&commit(1)).unwrap();
    assert!(matches!(RocksStore::open(&path, &shared), Err(StoreError::InUse { .. })), "opened twice");
    assert!(matches!(RocksStore::destroy(&path), Err(StoreError::InUse { .. })), "destroyed while open");
    assert_eq!(store.marker().unwrap(), commit(1).marker);
    drop(store);
    RocksStore::destroy(&path).unwrap();
    assert!(!path.exists());
    RocksStore::destroy(&path).unwrap();
    assert_eq!(RocksStore::open(&path, &shared).unwrap().marker().unwrap(), None);
}

#[test]
fn figures_tell_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = RocksStore::open(&directory.path().join("0"), &shared()).unwrap();
    store.write(&commit(1)).unwrap();
    assert!(store.figures().memtable_bytes > 0);
    store.flush().unwrap();
    let figures = store.figures();
    assert!(figures.files_bytes > 0 && figures.entries_count > 0, "{figures:?}");
}

/// Fills a store with entries, `n_rounds` times each, the last of which counts; memory for a part of them.
fn filled(path: &Path, n_customers: u32, n_rounds: u32) -> (RocksStore, MemoryStore) {
    let mut memory = MemoryStore::default();
    let store = RocksStore::open(path, &shared()).unwrap();
    let mut filling = store.start_filling().unwrap();
    for number in (0..n_rounds).flat_map(|round| (0..n_customers).map(move |customer| customer * n_rounds + round)) {
        let key = format!("customer-{}", number.wrapping_mul(2_654_435_761) % n_customers).into_bytes();
        let value = (number % 7 > 0).then(|| [number.to_be_bytes().as_slice(), &[7; 300]].concat());
        filling.take(&key, value.as_deref()).unwrap();
        let update = Update { key, value, previous_deadline: None, deadline: None };
        memory.write(&Batch { updates: vec![update], marker: None }).unwrap();
    }
    let deadline = |value: &[u8]| value[3].is_multiple_of(2).then_some(i64::from(value[3]));
    let finished: Result<(), StoreError> = filling.finish(|_, value| Ok(deadline(value)));
    finished.unwrap();
    for (key, value) in memory.scan(None, usize::MAX).unwrap() {
        let update = Update { deadline: deadline(&value), key, value: Some(value), previous_deadline: None };
        memory.write(&Batch { updates: vec![update], marker: None }).unwrap();
    }
    (store, memory)
}

#[test]
fn a_store_that_was_filled_is_as_if_it_had_been_written() {
    for (n_customers, n_rounds) in [(0, 1), (1, 1), (300, 3), (20_000, 2)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0");
        let (store, memory) = filled(&path, n_customers, n_rounds);
        let mut visited = Vec::new();
        let looked: Result<(), StoreError> = store.visit(|key, value| {
            visited.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        looked.unwrap();
        assert!(visited == memory.scan(None, usize::MAX).unwrap(), "{n_customers} customers");
        let due = |store: &dyn Store| store.due(i64::MAX, None, usize::MAX).unwrap();
        assert!(due(&store) == due(&memory), "{n_customers} customers");
        assert_eq!(store.figures().pending_compaction_bytes, 0);
        let mut names = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.any(|name| name == "filling"), "what was needed for it is left");
        // What is ingested outlives a crash.
        let copy = directory.path().join("crashed");
        crash(&path, &copy);
        assert!(due(&RocksStore::open(&copy, &shared()).unwrap()) == due(&memory), "{n_customers} customers");
    }
}
