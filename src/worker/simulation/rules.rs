//! The rules that exactly-once rests on, each broken on purpose: in the simulated world, never in what ships.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// After an abort, input goes on where it had got to.
    NoRewind,
    /// Offsets are sent with the generation of the first assignment.
    CachedGeneration,
    /// The changelog is read up to the last stable offset instead of its end.
    RestoreToStable,
    /// What is sent to the changelog is in the store at once.
    StoreFirst,
    /// Partitions that are taken away are worked on.
    NoTeardown,
    /// The broker takes what a producer sends that was replaced.
    NoFencing,
    /// The broker takes offsets from whoever is no member any more.
    NoGeneration,
    /// The producer goes on after a transaction in doubt.
    NotRenewed,
    /// A transaction in doubt is taken for an aborted one.
    DoubtIsAbort,
    /// The broker takes records that come so late that their producer was replaced.
    LateRecords,
    /// Who was looked at under new definitions is not finished with, and nobody knows.
    UnfinishedUnnoticed,
    /// A store is trusted however old it is.
    AgeUnnoticed,
    /// A store is dated by when it is written, instead of by when what it holds was sent.
    DatedLate,
    /// A changelog without its beginning passes for whole.
    RemovalUnnoticed,
    /// What was sent and is not going to be committed is not thrown away.
    NotThrownAway,
    /// Distributions of values do not come back with the customers.
    DistributionsForgotten,
    /// The broker takes records again that it has.
    RepetitionsTaken,
    /// The group is taken to be where the changelog is.
    DisagreementUnnoticed,
    /// The state passes for one that was made for as many partitions as there are.
    PartitionsUnnoticed,
    /// A schema that the registry does not answer for is taken for one that there is not.
    OutageIsUnknown,
}

impl Break {
    pub(super) const ALL: [Self; 20] = [
        Self::NoRewind,
        Self::CachedGeneration,
        Self::RestoreToStable,
        Self::StoreFirst,
        Self::NoTeardown,
        Self::NoFencing,
        Self::NoGeneration,
        Self::NotRenewed,
        Self::DoubtIsAbort,
        Self::LateRecords,
        Self::UnfinishedUnnoticed,
        Self::AgeUnnoticed,
        Self::DatedLate,
        Self::RemovalUnnoticed,
        Self::NotThrownAway,
        Self::DistributionsForgotten,
        Self::RepetitionsTaken,
        Self::DisagreementUnnoticed,
        Self::PartitionsUnnoticed,
        Self::OutageIsUnknown,
    ];
}
