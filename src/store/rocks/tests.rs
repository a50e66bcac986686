//! The two stores are twins: whatever is done to both, they answer the same, also after the disk one was closed and
//! opened again; and what a crash leaves on disk is one commit, whole.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::store::Update;
use crate::store::memory::MemoryStore;

#[derive(Debug, Clone)]
enum Step {
    Write(Batch),
    Flush,
    Reopen,
}

fn shared() -> Shared {
    Shared::new(Budget { cache_bytes: 8 << 20, write_buffer_bytes: 4 << 20, background_jobs: 1 })
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
    assert!(RocksStore::open(&path, &shared).is_err(), "opened twice");
    assert!(RocksStore::destroy(&path).is_err(), "destroyed while open");
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
