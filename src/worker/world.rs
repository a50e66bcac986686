//! The world that the workers are in: Kafka, disks and threads; or, in tests, the simulation of all three.

use std::thread::JoinHandle;

use crate::kafka::Clients;
use crate::kafka::log::{Log, LogConsumer, Schemas};
use crate::kafka::registry::Registry;
use crate::store::durable::Stores;
use crate::store::rocks::Shared;

/// What is outside of the workers.
pub trait World: Clone + Send + Sync + 'static {
    /// Kafka.
    type Log: Log;
    /// The schema registry.
    type Registry: Schemas;
    /// Disks.
    type Stores: Stores;
    /// A thread beside the worker's own.
    type Thread;

    /// Starts a thread.
    fn spawn(work: impl FnOnce() + Send + 'static) -> Self::Thread;

    /// Waits until a thread has ended.
    fn join(thread: Self::Thread);
}

/// The world as it is.
#[derive(Debug, Clone, Copy)]
pub struct Live;

impl World for Live {
    type Log = Clients;
    type Registry = Registry;
    type Stores = Shared;
    type Thread = JoinHandle<()>;

    fn spawn(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        std::thread::spawn(work)
    }

    fn join(thread: JoinHandle<()>) {
        // A panic there was reported when it happened, and nothing of its work is used.
        let _ = thread.join();
    }
}

pub(super) type StoreOf<W> = <<W as World>::Stores as Stores>::Store;
pub(super) type ConsumerOf<W> = <<W as World>::Log as Log>::Consumer;
pub(super) type ProducerOf<W> = <<W as World>::Log as Log>::Producer;
pub(super) type MessageOf<'c, W> = <ConsumerOf<W> as LogConsumer>::Message<'c>;
