//! What follows from what happened. Pure: a catalog, a customer and an input give effects. No IO, no clock, no thread,
//! no log; time is an argument.

pub mod catalog;
pub mod effects;
pub mod projection;
pub mod record;
pub mod schema;
pub mod value;
