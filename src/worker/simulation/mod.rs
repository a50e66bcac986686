//! The worker as it ships, over a model of Kafka and of disks, with every fault that the model can express: what one seed
//! leads to is always the same. `ARCHITECTURE.md` says what is modelled and what is not.

mod broker;
mod check;
mod disk;
mod group;
mod host;
mod member;
mod net;
mod partition;
mod random;
mod ranked;
mod reference;
mod registry;
mod ruin;
mod rules;
mod run;
mod scene;
mod schedule;
mod sender;
mod site;
mod tests;
mod traffic;
