//! Chance, from a seed: the same traffic for the same seed.

/// `SplitMix64`: small, and good enough for a shop.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A position among `length` things; 0 among none.
    pub(super) fn index(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % length).unwrap_or_default()
    }

    /// `0 <= x < bound`.
    pub(super) fn below(&mut self, bound: i64) -> i64 {
        i64::try_from(self.next() % bound.max(1).unsigned_abs()).unwrap_or_default()
    }

    /// True so many times in a hundred.
    pub(super) fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    /// One of several; there must be one.
    pub(super) fn one_of<T: Copy>(&mut self, things: &'static [T]) -> T {
        things[self.index(things.len())]
    }
}
