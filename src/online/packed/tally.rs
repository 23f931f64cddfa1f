//! What many rows of one view hold in sum, for statistics: how old they are, and how many have a value of each feature.

use std::sync::Arc;

use super::schema::{RowSchema, Slot};
use super::{HEADER_BYTES, Header};
use crate::online::{OnlineView, ViewStatistics};

/// Counts rows of one view. Tombstones, rows of other entities and damaged rows do not count.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    view: &'a OnlineView,
    /// One for each schema met so far.
    plans: Vec<Plan>,
    sums: ViewStatistics,
}

#[derive(Debug)]
struct Plan {
    schema: Arc<RowSchema>,
    /// Where each of the view's features stands in these rows.
    slots: Vec<Option<Slot>>,
    describes_entities: bool,
}

impl<'a> Tally<'a> {
    pub fn new(view: &'a OnlineView) -> Self {
        let values = view.features.iter().map(|feature| (feature.name.clone(), 0)).collect();
        let sums = ViewStatistics { view: view.name.clone(), values, ..ViewStatistics::default() };
        Self { view, plans: Vec::new(), sums }
    }

    /// The id of the row's schema, when the tally needs it and has not learned it yet.
    pub fn unknown_schema(&self, row: &[u8]) -> Option<u64> {
        let header = Header::read(row).ok().filter(|header| !header.deleted)?;
        self.plan(header.schema_id).is_none().then_some(header.schema_id)
    }

    pub fn learn(&mut self, schema: &Arc<RowSchema>) {
        let features = self.view.features.iter().enumerate();
        let slots = features.map(|(guess, feature)| schema.slot_of(feature, guess)).collect();
        let describes_entities = schema.describes_entities_of(self.view);
        self.plans.push(Plan { schema: Arc::clone(schema), slots, describes_entities });
    }

    /// Whether the row counts, by its header alone.
    pub fn counts(&self, row: &[u8]) -> bool {
        self.live(row).is_some()
    }

    /// Adds a row that takes `bytes` in its store, its key included; false where it does not count.
    pub fn add(&mut self, row: &[u8], bytes: u64) -> bool {
        let Some((header, plan)) = self.live(row) else { return false };
        let plan = &self.plans[plan];
        if plan.schema.layout().check(header.without_origin(row)).is_err() {
            return false;
        }
        for ((_, count), slot) in self.sums.values.iter_mut().zip(&plan.slots) {
            let has_value = |slot: &Slot| row[HEADER_BYTES + slot.bit / 8] & (1 << (slot.bit % 8)) != 0;
            *count += u64::from(slot.as_ref().is_some_and(has_value));
        }
        let time = header.version.event_time;
        self.sums.sampled += 1;
        self.sums.bytes += bytes;
        self.sums.oldest_event_time = Some(self.sums.oldest_event_time.map_or(time, |oldest| oldest.min(time)));
        self.sums.newest_event_time = Some(self.sums.newest_event_time.map_or(time, |newest| newest.max(time)));
        true
    }

    /// The sums, of `keys` rows in all.
    pub fn finish(self, keys: u64) -> ViewStatistics {
        ViewStatistics { keys, ..self.sums }
    }

    fn live(&self, row: &[u8]) -> Option<(Header, usize)> {
        let header = Header::read(row).ok().filter(|header| !header.deleted)?;
        let plan = self.plan(header.schema_id)?;
        self.plans[plan].describes_entities.then_some((header, plan))
    }

    fn plan(&self, schema_id: u64) -> Option<usize> {
        self.plans.iter().position(|plan| plan.schema.id == schema_id)
    }
}
