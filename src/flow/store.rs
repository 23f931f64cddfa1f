//! The common end of sync and ingest: rows of a feature view go online, and with them the derived views placed at sync.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::BooleanBuffer;

use super::Error;
use super::derive::{Working, derive};
use crate::batch::{FeatureRows, StoredRows};
use crate::clock::Deadline;
use crate::gateway::Gateway;
use crate::online::Written;
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

async fn compute_derived(
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
