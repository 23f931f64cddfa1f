//! How far this process has come in each partition of a stream, so that no watermark can pass over lost rows.
//!
//! A watermark says that everything before it is there. Redis may lose what it has acknowledged: a replica that takes
//! over has the beginning of what its primary had, watermarks included. A writer that went on from where it is would
//! move the watermarks past the rows that are gone, and no one would ever write them again. So each batch names the
//! watermark that must be there before it: the end of the batch before. Where it is not there the rows are written, the
//! watermark stays behind, `progress` says so, and the stream's reader goes back to it.
//!
//! # What a reader of a stream has to do
//! Ask `progress`, go on behind it (or begin anywhere where there is none), and write the batches of one partition one
//! after another; repeat a batch that failed, or ask `progress` again and go back. A reader that has gone on without
//! doing so is safe too: its rows are written and its progress stands still until it asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::Origin;

/// What the watermarks must have reached before a batch may move them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing is known of what was before.
    Anything,
    Offset(u64),
    /// A batch before is missing: they stay where they are.
    Never,
}

/// What this process knows of the partitions that it writes.
#[derive(Debug, Default)]
pub(super) struct Positions {
    partitions: Mutex<HashMap<Partition, Place>>,
}

type Partition = (String, Arc<str>, u32);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Where the last batch that was written ended.
    done: Option<u64>,
    /// The first offset of a batch that began and has not ended, and what was to be before it.
    torn: Option<(u64, After)>,
    /// What `progress` has said since the last batch: `Some(None)` where it said that there is none.
    told: Option<Option<u64>>,
}

impl Positions {
    /// What `progress` has told the reader of a stream.
    pub fn told(&self, view: &str, stream: &str, partition: u32, progress: Option<u64>) {
        self.change((view.to_owned(), stream.into(), partition), |place| place.told = Some(progress));
    }

    /// A batch begins; it counts as torn until [`Positions::end`], whatever becomes of its writer.
    pub fn begin(&self, view: &str, origin: &Origin) -> After {
        let Some(&first) = origin.offsets.first() else { return After::Anything };
        self.change(key(view, origin), |place| {
            let after = place.after(first);
            if after != After::Never {
                place.torn = Some((first, after));
            }
            after
        })
    }

    /// The batch that began is written.
    pub fn end(&self, view: &str, origin: &Origin, after: After) {
        if after == After::Never {
            return;
        }
        self.change(key(view, origin), |place| {
            place.done = origin.offsets.last().copied();
            place.torn = None;
        });
    }

    fn change<T>(&self, partition: Partition, change: impl FnOnce(&mut Place) -> T) -> T {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        change(partitions.entry(partition).or_default())
    }
}

impl Place {
    fn after(&mut self, first: u64) -> After {
        match (self.torn, self.done, self.told.take()) {
            // The torn batch comes again.
            (Some((torn, after)), _, None) if first == torn => after,
            // What comes behind a torn batch has left it out, unless the reader was told that it may go on there.
            (Some((torn, _)), _, Some(Some(told))) if torn <= told && told < first => After::Offset(told),
            (Some((torn, _)), _, None | Some(Some(_))) if torn < first => After::Never,
            (None, Some(done), _) if done < first => After::Offset(done),
            // The reader begins, or has gone back.
            (_, _, Some(None)) | (None, None, None) => After::Anything,
            (_, _, Some(Some(told))) if told < first => After::Offset(told),
            _ => first.checked_sub(1).map_or(After::Anything, After::Offset),
        }
    }
}

fn key(view: &str, origin: &Origin) -> Partition {
    (view.to_owned(), Arc::clone(&origin.stream), origin.partition)
}

#[cfg(test)]
mod tests {
    use super::After::{Anything, Never, Offset};
    use super::*;

    #[derive(Clone, Copy)]
    enum Step {
        /// `progress` says so.
        Told(Option<u64>),
        /// A batch from the first to the last offset is written after what is expected.
        Written(u64, u64, After),
        /// The same, but it is not finished.
        Torn(u64, After),
    }
    use Step::{Told, Torn, Written};

    fn check(steps: &[Step]) {
        let positions = Positions::default();
        let origin = |offsets: Vec<u64>| Origin { stream: "clicks".into(), partition: 0, offsets };
        for (number, step) in steps.iter().enumerate() {
            match *step {
                Told(progress) => positions.told("view", "clicks", 0, progress),
                Written(first, last, expected) => {
                    let origin = origin(vec![first, last]);
                    let after = positions.begin("view", &origin);
                    assert_eq!(after, expected, "step {number}");
                    positions.end("view", &origin, after);
                }
                Torn(first, expected) => {
                    assert_eq!(positions.begin("view", &origin(vec![first])), expected, "step {number}");
                }
            }
        }
    }

    #[test]
    fn a_batch_comes_after_the_one_before() {
        check(&[Written(0, 9, Anything), Written(10, 19, Offset(9)), Written(30, 39, Offset(19))]);
        check(&[Told(None), Written(7, 9, Anything), Told(Some(9)), Written(10, 19, Offset(9))]);
        check(&[Told(Some(9)), Written(12, 19, Offset(9)), Written(20, 29, Offset(19))]);
    }

    #[test]
    fn a_reader_that_is_told_of_a_loss_and_goes_on_moves_nothing() {
        check(&[Written(0, 9, Anything), Told(Some(4)), Written(10, 19, Offset(9)), Written(20, 29, Offset(19))]);
    }

    #[test]
    fn a_reader_that_goes_back_moves_on_from_there() {
        check(&[Written(0, 9, Anything), Told(Some(4)), Written(6, 9, Offset(4)), Written(10, 19, Offset(9))]);
        check(&[Written(5, 9, Anything), Told(None), Written(5, 9, Anything)]);
        check(&[Written(5, 9, Anything), Written(7, 9, Offset(6))]);
        check(&[Written(5, 9, Anything), Written(0, 9, Anything)]);
    }

    #[test]
    fn a_batch_that_was_torn_comes_again_or_holds_up_what_follows() {
        check(&[Told(Some(3)), Torn(5, Offset(3)), Torn(5, Offset(3)), Written(5, 9, Offset(3))]);
        check(&[Written(0, 4, Anything), Torn(5, Offset(4)), Written(10, 19, Never), Written(20, 29, Never)]);
        check(&[Written(0, 4, Anything), Torn(5, Offset(4)), Written(10, 19, Never), Written(5, 19, Offset(4))]);
        check(&[Written(0, 4, Anything), Torn(5, Offset(4)), Told(Some(9)), Written(10, 19, Offset(9))]);
        check(&[Told(None), Torn(5, Anything), Written(10, 19, Never), Told(None), Written(10, 19, Anything)]);
        check(&[Written(0, 4, Anything), Torn(5, Offset(4)), Told(Some(4)), Written(10, 19, Never)]);
    }
}
