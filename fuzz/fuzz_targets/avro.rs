//! Avro records, whatever they hold.

#![no_main]

#[path = "../../tests/hostile/doors.rs"]
#[allow(dead_code)]
mod doors;

use std::cell::RefCell;

use doors::Doors;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DOORS: RefCell<Doors> = RefCell::new(Doors::open());
}

fuzz_target!(|data: &[u8]| DOORS.with_borrow_mut(|doors| doors.avro(data)));
