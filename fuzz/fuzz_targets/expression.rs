//! Expressions, whatever they hold.

#![no_main]

#[path = "../../tests/hostile/doors.rs"]
#[allow(dead_code)]
mod doors;

use doors::Doors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| Doors::expression(data));
