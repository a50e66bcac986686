//! The worker as it ships, over a model of Kafka and of disks, with every fault that the model can express: what one seed
//! leads to is always the same. `ARCHITECTURE.md` says what is modelled and what is not.

mod broker;
mod check;
mod disk;
mod net;
mod random;
mod rules;
mod run;
mod scene;
mod schedule;
mod tests;
mod traffic;
