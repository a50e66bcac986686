//! What customers who leave memory must not take with them.

use super::*;
use crate::store::memory::MemoryStore;

/// Customers of whom none stays in memory longer than to the next commit.
fn customers() -> Customers<MemoryStore> {
    let mut customers = Customers::new(MemoryStore::default(), ErasureKey::default());
    customers.limit_memory(0);
    customers
}

fn set(customers: &mut Customers<MemoryStore>, customer_id: &str, deadline: i64) {
    let slot = customers.load(customer_id).unwrap();
    customers.touch(slot).unwrap().deadline = Some(deadline);
    customers.settle(slot);
}

fn commit(customers: &mut Customers<MemoryStore>) {
    let told: Result<(), ()> = customers.changed(|_, _| Ok(()));
    told.unwrap();
    customers.sent();
    customers.committed(None).unwrap();
}

/// The next who is due before an instant: deadline and customer.
fn due(customers: &mut Customers<MemoryStore>, now: i64) -> Option<(i64, String)> {
    let (instant, slot) = customers.next_due(now).unwrap()?;
    Some((instant, customer_id_of(customers.key(slot)).unwrap().to_owned()))
}

#[test]
fn a_deadline_behind_those_that_are_done_is_found_once_it_is_stored() {
    let mut customers = customers();
    for (customer_id, deadline) in [("a", 10), ("b", 20), ("c", 1_000)] {
        set(&mut customers, customer_id, deadline);
    }
    commit(&mut customers);
    for (customer_id, instant) in [("a", 10), ("b", 20)] {
        assert_eq!(due(&mut customers, 30), Some((instant, customer_id.to_owned())));
        set(&mut customers, customer_id, instant + 100);
    }
    assert_eq!(due(&mut customers, 30), None);
    // New cut-offs are looked at as of an instant that the clock has passed, and so may be what comes of it.
    set(&mut customers, "a", 15);
    commit(&mut customers);
    assert_eq!(due(&mut customers, 30), Some((15, "a".to_owned())));
}

/// It moves on before it comes up, so that it comes up in vain, and then back: as of an instant that the clock has passed.
#[test]
fn a_deadline_that_comes_back_is_found_in_memory_and_in_the_store() {
    for leaves_memory in [false, true] {
        let mut customers = customers();
        set(&mut customers, "a", 10);
        commit(&mut customers);
        set(&mut customers, "a", 50);
        assert_eq!(due(&mut customers, 30), None);
        set(&mut customers, "a", 10);
        if leaves_memory {
            commit(&mut customers);
        }
        assert_eq!(due(&mut customers, 30), Some((10, "a".to_owned())), "leaves memory: {leaves_memory}");
    }
}

/// Whoever changes once is packed at once; who changes again, or is large, with the commit.
#[test]
fn a_commit_tells_what_customers_are_by_then() {
    for (n_changes, n_ids) in [(1, 1), (3, 1), (1, 200), (3, 200)] {
        let mut customers = Customers::new(MemoryStore::default(), ErasureKey::default());
        for n_commits in 1..4 {
            for _ in 0..n_changes {
                let slot = customers.load("a").unwrap();
                let customer = customers.touch(slot).unwrap();
                customer.arrivals += 1;
                customer.recent_ids = (0..n_ids).map(|id| (id, 0)).collect();
                customers.settle(slot);
            }
            let mut told = Vec::new();
            let tell = |key: &[u8], value: Option<&[u8]>| -> Result<(), ()> {
                told.push((key.to_vec(), decode(value.unwrap()).unwrap().arrivals));
                Ok(())
            };
            customers.changed(tell).unwrap();
            assert_eq!(told, [(key_of("a"), n_commits * n_changes)], "{n_changes} changes, {n_ids} ids");
            customers.sent();
            customers.committed(None).unwrap();
            assert_eq!(customers.peek("a").unwrap().unwrap().arrivals, n_commits * n_changes);
        }
    }
}

/// What a changed customer would have been without a change to what is stored is no change, but what is derived is kept.
#[test]
fn what_is_only_derived_is_kept_and_not_told() {
    let mut customers = customers();
    set(&mut customers, "a", 10);
    commit(&mut customers);
    let mut customer = customers.peek("a").unwrap().unwrap().into_owned();
    customer.schedule.begin().push((7, 10));
    customers.replace("a", customer).unwrap();
    let slot = customers.load("a").unwrap();
    assert_eq!(customers.get(slot).unwrap().schedule.untils(), Some(&[(7, 10)][..]));
    let told: Result<(), ()> = customers.changed(|_, _| Err(()));
    assert_eq!(told, Ok(()));
}

/// There may be room behind a packed customer, which is nothing of them.
#[test]
fn customers_that_grow_and_shrink_in_place_are_what_they_are() {
    let mut customers = Customers::new(MemoryStore::default(), ErasureKey::default());
    for n_ids in [3, 4, 5, 6, 5, 3, 40, 39, 2, 0, 1] {
        let slot = customers.load("a").unwrap();
        let ids: VecDeque<_> = (0..n_ids).map(|id| (id, 0)).collect();
        customers.touch(slot).unwrap().recent_ids.clone_from(&ids);
        customers.settle(slot);
        let customer = customers.get(slot).unwrap();
        assert_eq!((&customer.recent_ids, customer.schedule.untils()), (&ids, None));
        customers.close(slot);
        let mut told = None;
        let tell = |_: &[u8], value: Option<&[u8]>| -> Result<(), ()> {
            told = value.map(decode);
            Ok(())
        };
        customers.changed(tell).unwrap();
        assert_eq!(told.unwrap().unwrap().recent_ids, ids);
        customers.sent();
    }
}

/// Their lists have the memory of somebody who was packed, and nothing else of them.
#[test]
fn newcomers_have_nothing_of_who_was_there_before() {
    let mut customers = Customers::new(MemoryStore::default(), ErasureKey::default());
    let slot = customers.load("a").unwrap();
    let customer = customers.touch(slot).unwrap();
    (customer.own_time, customer.deadline, customer.erased_at) = (Some(1), Some(2), Some(3));
    (customer.arrivals, customer.sequence) = (4, 5);
    customer.recent_ids.push_back((6, 7));
    customer.consents.push((8, crate::engine::customer::Dated { value: true, at: 9 }));
    customer.holds.push((10, 11));
    customer.set_standing(12, crate::engine::customer::Standing { member: true, ..Default::default() });
    customer.schedule.begin().push((13, 14));
    customers.settle(slot);
    let slot = customers.load("b").unwrap();
    let newcomer = customers.get(slot).unwrap();
    assert_eq!(*newcomer, Customer::default());
    assert_eq!(newcomer.schedule.untils(), None);
    assert!(newcomer.recent_ids.capacity() > 0, "the memory is used again");
}
