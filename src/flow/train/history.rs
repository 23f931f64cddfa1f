//! Where the rows of each read of a plan come from, and in which state.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::Sources;
use super::frame::Frame;
use crate::catalog::{Catalog, DType, FeatureView, Field, Source, arrow_schema};
use crate::clock::Micros;
use crate::flow::{Error, history};
use crate::gateway::Gateway;
use crate::offline::{CREATED_TIME, EVENT_TIME, KeyFilter, KnownBy, OfflineStore, Scan, Snapshot};
use crate::pit::{BoxError, History, Open, Ties, ViewJoin, Wanted};
use crate::plan::{FeaturePlan, PlanRead};

/// The state of every source that the plan reads; nothing where nobody wants to know.
pub(super) async fn snapshots(
    gateway: &Gateway,
    catalog: &Catalog,
    plan: &FeaturePlan,
    wanted: &Sources,
) -> Result<Vec<(String, Snapshot)>, Error> {
    match wanted {
        Sources::Now => return Ok(Vec::new()),
        Sources::At(snapshots) => return Ok(snapshots.clone()),
        Sources::Recorded => {}
    }
    let names: BTreeSet<&String> = plan.reads.iter().map(|read| &read.view.source).collect();
    let mut snapshots = Vec::with_capacity(names.len());
    for name in names {
        snapshots.push((name.clone(), gateway.offline.snapshot(&catalog.sources[name], KnownBy::Content).await?));
    }
    Ok(snapshots)
}

/// How each read of the plan is joined, and where its rows come from.
pub(super) fn histories(
    gateway: &Gateway,
    catalog: &Catalog,
    plan: &FeaturePlan,
    frame: &Frame,
    known_at: Option<Micros>,
    sources: &[(String, Snapshot)],
) -> Vec<(ViewJoin, History)> {
    let history = |read: &PlanRead| {
        let source = catalog.sources[&read.view.source].clone();
        let (features, ties) = features_and_ties(read, catalog, &source);
        let columns: Vec<Field> = read.view.join_keys.iter().chain(&features).cloned().collect();
        let at = sources.iter().find(|(name, _)| *name == source.name).map(|(_, snapshot)| snapshot.clone());
        let scan = Scan { known_at, at, ..Scan::of(columns.clone()) };
        let times = [EVENT_TIME, CREATED_TIME].map(|name| Field::new(name, DType::TIMESTAMP));
        let view = ViewJoin {
            name: read.view.name.clone(),
            join_keys: read.view.join_keys.clone(),
            label_keys: read.keys.iter().map(|input| frame.inputs() + input).collect(),
            features,
            ttl: read.ttl,
            ties,
        };
        let schema = arrow_schema(&columns.into_iter().chain(times).collect::<Vec<_>>());
        (view, History { schema, open: open(Arc::clone(&gateway.offline), source, Arc::clone(&read.view), scan) })
    };
    plan.reads.iter().map(history).collect()
}

/// The features that are asked for, and what breaks ties. Without an order of rows it is all features of the view, in the
/// view's order, whatever is asked for: else two questions could find two different rows, and a sync a third.
fn features_and_ties(read: &PlanRead, catalog: &Catalog, source: &Source) -> (Vec<Field>, Ties) {
    let all = &read.view.features;
    let mut features: Vec<Field> = read.columns.iter().map(|column| read.online.features[*column].clone()).collect();
    if catalog.keeps_order(source) {
        return (features, Ties::LaterRow);
    }
    features.extend(all.iter().filter(|feature| !features.contains(feature)).cloned().collect::<Vec<_>>());
    let place = |feature: &Field| features.iter().position(|known| known == feature);
    let ties = history::ties(catalog, source, all.iter().filter_map(place));
    (features, ties)
}

/// Scans the source, within the times and for the keys that the labels want.
fn open(offline: Arc<dyn OfflineStore>, source: Source, view: Arc<FeatureView>, scan: Scan) -> Open {
    Arc::new(move |wanted: Wanted| {
        let (offline, source, view) = (Arc::clone(&offline), source.clone(), Arc::clone(&view));
        let keys = wanted.keys.map(|values| KeyFilter { join_keys: view.join_keys.clone(), values });
        let scan = Scan { from: wanted.from, until: wanted.until, keys, ..scan.clone() };
        let rows = async move { history::scan(offline.as_ref(), &source, &view, &scan).await };
        stream::once(rows).try_flatten().map_err(|error| Box::new(error) as BoxError).boxed()
    })
}
