//! The common end of sync, ingest and changes by hand: rows of a feature view go online or away, and with them the
//! derived views placed at sync.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::BooleanBuffer;

use super::Error;
use super::derive::{Working, derive};
use crate::batch::{FeatureRows, StoredRows, timestamps};
use crate::clock::{Deadline, Micros};
use crate::gateway::Gateway;
use crate::online::{OnlineView, Written};
use crate::plan::StorePlan;

/// Computes and writes. The derived views go first: whoever sees the new row of the feature view finds them there.
pub(super) async fn store(
    gateway: &Gateway,
    plan: &StorePlan,
    rows: FeatureRows,
    deadline: Deadline,
) -> Result<Written, Error> {
    let derived = compute_derived(gateway, plan, &rows, deadline).await?;
    for (view, features) in plan.derived.iter().zip(derived) {
        let rows = FeatureRows { features, ..rows.clone() };
        gateway.online.write(view, &rows, deadline).await?;
    }
    Ok(gateway.online.write(&plan.online, &rows, deadline).await?)
}

/// Writes tombstones of the event time and created time in `at`; those of the derived views first, as rows are.
pub(super) async fn remove(
    gateway: &Gateway,
    plan: &StorePlan,
    keys: &[ArrayRef],
    at: (Micros, Micros),
    deadline: Deadline,
) -> Result<Written, Error> {
    let rows = keys.first().map_or(1, |key| key.len());
    let times = |time| timestamps(vec![Some(time); rows]);
    let tombstones = |view: &OnlineView| {
        let nulls = view.features.iter().map(|feature| new_null_array(&feature.dtype.arrow(), rows)).collect();
        let deleted = Some(BooleanBuffer::new_set(rows));
        FeatureRows { deleted, ..FeatureRows::new(keys.to_vec(), nulls, times(at.0), times(at.1)) }
    };
    for view in &plan.derived {
        gateway.online.write(view, &tombstones(view), deadline).await?;
    }
    Ok(gateway.online.write(&plan.online, &tombstones(&plan.online), deadline).await?)
}

/// The features of the derived views of `plan`, in its order, for rows of its feature view.
pub(super) async fn compute_derived(
    gateway: &Gateway,
    plan: &StorePlan,
    rows: &FeatureRows,
    deadline: Deadline,
) -> Result<Vec<Vec<ArrayRef>>, Error> {
    let stored = StoredRows {
        present: BooleanBuffer::new_set(rows.rows()),
        event_time: rows.event_time.clone(),
        columns: rows.features.clone(),
        unreachable: None,
    };
    let as_of: ArrayRef = Arc::new(rows.event_time.clone());
    let working = Working {
        rows: rows.rows(),
        as_of,
        inputs: Vec::new(),
        stored: vec![stored],
        derived: Vec::new(),
        unreachable: Vec::new(),
    };
    Ok(derive(gateway, &plan.derivations, working, deadline).await?.derived)
}
