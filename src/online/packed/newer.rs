//! Which of two rows of one entity stays: the one rule of every store of packed rows, without IO.
//!
//! The embedded store calls it; the script in Redis is the same rule in Lua and is tested against this one.

use std::cmp::Ordering;

/// Stands for "no created time"; sorts before every time, as it should.
pub(crate) const NO_CREATED_TIME: i64 = i64::MIN;

/// What decides which row of an entity is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub event_time: i64,
    pub created_time: i64,
    /// Where in a stream the row stood. None: it came from no stream.
    pub position: Option<Position>,
}

/// A place in a stream; the later one of a tie wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub partition: u32,
    pub offset: u64,
}

impl Version {
    pub fn new(event_time: i64, created_time: Option<i64>, position: Option<Position>) -> Self {
        Self { event_time, created_time: created_time.unwrap_or(NO_CREATED_TIME), position }
    }

    /// Whether a stored row of this version stays when a row of version `arriving` comes.
    ///
    /// Rows that came from a stream are totally ordered, so any order and repetition of them ends with the same one.
    /// Where only one of two rows with equal times came from a stream nothing tells which is newer: the later arrival
    /// wins, as it does between two rows that came from none. The same event again wins too, so that a replay under a
    /// new transform replaces what the old one made.
    pub fn stays_before(&self, arriving: &Self) -> bool {
        let times = (self.event_time, self.created_time).cmp(&(arriving.event_time, arriving.created_time));
        match (times, self.position, arriving.position) {
            (Ordering::Equal, Some(ours), Some(theirs)) => ours > theirs,
            (order, _, _) => order == Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(event_time: i64, created_time: Option<i64>, position: Option<(u32, u64)>) -> Version {
        let position = position.map(|(partition, offset)| Position { partition, offset });
        Version::new(event_time, created_time, position)
    }

    #[test]
    fn the_later_version_stays() {
        let ascending = [
            at(i64::MIN, None, None),
            at(-1, Some(7), None),
            at(0, None, Some((0, 9))),
            at(0, Some(-1), Some((0, 8))),
            at(0, Some(0), Some((0, u64::MAX))),
            at(0, Some(0), Some((1, 0))),
            at(0, Some(0), Some((u32::MAX, 0))),
            at(i64::MAX, None, None),
        ];
        for (place, older) in ascending.iter().enumerate() {
            for newer in &ascending[place + 1..] {
                assert!(newer.stays_before(older) && !older.stays_before(newer), "{older:?} {newer:?}");
            }
        }
    }

    #[test]
    fn of_other_ties_the_later_arrival_wins() {
        let (streamed, synced) = (at(0, None, Some((1, 1))), at(0, None, None));
        for (stored, arriving) in [(streamed, synced), (synced, streamed), (synced, synced), (streamed, streamed)] {
            assert!(!stored.stays_before(&arriving));
        }
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_of_a_stream_ends_with_the_same_row(
            (order, newest) in prop::collection::btree_map((0..3_u32, 0..9_u64), (0..3_i64, prop::option::of(0..3_i64)), 1..12)
                .prop_flat_map(|events| {
                    let events: Vec<Version> =
                        events.into_iter().map(|(place, (event, created))| at(event, created, Some(place))).collect();
                    let newest = events.iter().copied().max_by_key(|event| {
                        (event.event_time, event.created_time, event.position)
                    });
                    let again = prop::sample::subsequence(events.clone(), 0..=events.len());
                    let order = again.prop_flat_map(move |again| Just([events.clone(), again].concat()).prop_shuffle());
                    (order, Just(newest))
                })
        ) {
            let mut stored: Option<Version> = None;
            for event in order {
                if !stored.is_some_and(|stored| stored.stays_before(&event)) {
                    stored = Some(event);
                }
            }
            prop_assert_eq!(stored, newest);
        }
    }
}
