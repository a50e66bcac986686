//! Which instants of a window become one bucket, once they are too many to be kept apart. `segments.md` section 4, bounded
//! state.

/// A window is exact while it holds at most this many different instants.
pub(super) const INSTANTS_MAX: usize = 128;
/// Past that, instants are merged until at most this many buckets are left.
const BUCKETS_MAX: usize = 64;
/// What several windows share is merged whenever so many instants more may have come.
const MERGED_AT_ONCE: usize = 32;

/// The youngest of the bucket of each of these instants, which are different and the oldest first, now that there is one more;
/// `None` while they are to stay as they are.
pub(super) fn buckets(instants: impl ExactSizeIterator<Item = i64>, is_shared: bool) -> Option<Vec<i64>> {
    if instants.len() <= INSTANTS_MAX || is_shared && !instants.len().is_multiple_of(MERGED_AT_ONCE) {
        return None;
    }
    let instants: Vec<i64> = instants.collect();
    Some(if is_shared { aging_buckets(&instants) } else { equal_buckets(&instants) })
}

/// Equal buckets of the smallest power-of-two number of milliseconds that leaves few enough.
fn equal_buckets(instants: &[i64]) -> Vec<i64> {
    let n_buckets = |shift: u32| 1 + instants.windows(2).filter(|pair| pair[0] >> shift != pair[1] >> shift).count();
    let shift = (1..i64::BITS).find(|shift| n_buckets(*shift) <= BUCKETS_MAX).unwrap_or(i64::BITS - 1);
    let buckets = instants.chunk_by(|one, other| one >> shift == other >> shift);
    buckets.flat_map(|bucket| bucket.iter().map(|_| bucket[bucket.len() - 1])).collect()
}

/// The same where windows of several lengths look at one state. None of them sees wider buckets than it would have of its
/// own, so they get wider with age; and as many of the youngest instants as a window is exact with stay by themselves.
fn aging_buckets(instants: &[i64]) -> Vec<i64> {
    let mut shift = 0;
    // Of how many neighbours, from the youngest on, each bit is the highest they differ in.
    let mut highest_bits = [0_usize; u64::BITS as usize];
    let mut n_buckets = 1;
    let mut youngest = Vec::with_capacity(instants.len());
    let mut bucket_shift = 0;
    let mut bucket: Option<i64> = None;
    let mut younger: Option<i64> = None;
    for (n_younger, instant) in instants.iter().rev().enumerate() {
        let highest_bit = |other: i64| (other ^ instant).cast_unsigned().checked_ilog2();
        if let Some(bit) = younger.replace(*instant).and_then(highest_bit) {
            highest_bits[bit as usize] += 1;
            n_buckets += usize::from(bit >= shift);
        }
        while n_buckets > BUCKETS_MAX {
            n_buckets -= highest_bits[shift as usize];
            shift += 1;
        }
        let joins = |bucket: &i64| highest_bit(*bucket).is_none_or(|bit| bit < bucket_shift);
        let joined = bucket.filter(|_| n_younger > INSTANTS_MAX).filter(joins);
        if joined.is_none() {
            (bucket, bucket_shift) = (Some(*instant), shift);
        }
        youngest.push(joined.unwrap_or(*instant));
    }
    youngest.reverse();
    youngest
}
