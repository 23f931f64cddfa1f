//! Plans of random catalogs: every step refers to something that is there, of the right type.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::catalog::{
    DType, Digest, Entity, FeatureRef, Input, InputSource, NullPolicy, Placement, Scalar, Signature, TimeUse, View,
};
use crate::plan::*;

const TYPES: [DType; 3] = [DType::One(Scalar::Float64), DType::One(Scalar::String), DType::TIMESTAMP];

/// A derived view to be, before it is known what there is to read.
#[derive(Clone, Debug)]
struct Wish {
    reads: Vec<Index>,
    request: Vec<usize>,
    uses_time: bool,
    freeze: bool,
    at_sync: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    let reads = prop::collection::vec(any::<Index>(), 0..4);
    let request = prop::collection::vec(0..TYPES.len(), 0..2);
    (reads, request, any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(reads, request, uses_time, freeze, at_sync)| Wish { reads, request, uses_time, freeze, at_sync })
}

/// Feature views of one or two entities, and derived views over whatever came before them.
fn catalog() -> impl Strategy<Value = Catalog> {
    let feature_views = prop::collection::vec((1..3_usize, prop::collection::vec(0..TYPES.len(), 1..4)), 1..4);
    (feature_views, prop::collection::vec(wish(), 0..8)).prop_map(|(feature_views, wishes)| {
        let mut catalog = Catalog::empty("random");
        for (index, (entities, types)) in feature_views.into_iter().enumerate() {
            let view = feature_view(index, entities, &types);
            for name in &view.entities {
                let join_keys = vec![Field::new(name, DType::One(Scalar::Int64))];
                let entity = Entity { name: name.clone(), join_keys, description: String::new() };
                catalog.entities.insert(name.clone(), entity);
            }
            catalog.views.insert(view.name.clone(), View::Feature(Arc::new(view)));
        }
        for (index, wish) in wishes.into_iter().enumerate() {
            // Names before and after those of what they read, so that no order is right by accident.
            let name = format!("{}_{index}", if index % 2 == 0 { "z" } else { "a" });
            let view = derived_view(&catalog, &name, &wish);
            catalog.views.insert(name, View::Derived(Arc::new(view)));
        }
        catalog
    })
}

fn feature_view(index: usize, entities: usize, types: &[usize]) -> FeatureView {
    let entities: Vec<String> = (index..index + entities).map(|entity| format!("key_{entity}")).collect();
    FeatureView {
        name: format!("m_{index}"),
        join_keys: entities.iter().map(|name| Field::new(name, DType::One(Scalar::Int64))).collect(),
        entities,
        source: "source".to_owned(),
        features: types.iter().enumerate().map(|(at, dtype)| Field::new(format!("f{at}"), TYPES[*dtype])).collect(),
        ttl: None,
        online: true,
        sync_every: None,
        expectations: Vec::new(),
        quarantine: None,
        description: String::new(),
    }
}

fn derived_view(catalog: &Catalog, name: &str, wish: &Wish) -> DerivedView {
    let known: Vec<(String, Field)> = catalog
        .views
        .values()
        .flat_map(|view| view.features().iter().map(|feature| (view.name().to_owned(), feature.clone())))
        .collect();
    let mut inputs = Vec::new();
    for (at, read) in wish.reads.iter().enumerate() {
        let (view, feature) = read.get(&known).clone();
        let column = Field::new(format!("in{at}"), feature.dtype);
        inputs.push(Input { column, from: InputSource::Feature { view, feature: feature.name } });
    }
    for (at, dtype) in wish.request.iter().enumerate() {
        let column = Field::new(format!("request{at}"), TYPES[*dtype]);
        // One name has one type.
        let from = InputSource::Request { field: format!("field_of_type_{dtype}") };
        inputs.push(Input { column, from });
    }
    let outputs = vec![Field::new("one", TYPES[0]), Field::new("other", TYPES[1])];
    let signature = Signature {
        name: name.to_owned(),
        version: semver::Version::new(1, 0, 0),
        doc: String::new(),
        features: inputs[..wish.reads.len()].iter().map(|input| input.column.clone()).collect(),
        request: inputs[wish.reads.len()..].iter().map(|input| input.column.clone()).collect(),
        outputs: outputs.clone(),
        parameters: Vec::new(),
        time: if wish.uses_time { TimeUse::AsOf } else { TimeUse::None },
        nulls: NullPolicy::Propagate,
        frame_version: 1,
    };
    let transform = Transform {
        plugin: name.to_owned(),
        component: Digest::of(name.as_bytes()),
        parameters: Vec::new(),
        signature,
        outputs: outputs.clone(),
        digest: Digest::of(name.as_bytes()),
    };
    let mut view = DerivedView {
        name: name.to_owned(),
        transform: Arc::new(transform),
        inputs,
        placement: Placement::Request,
        freeze_at_event_time: false,
        features: outputs
            .into_iter()
            .map(|output| Field { name: format!("{}_again", output.name), ..output })
            .collect(),
        description: String::new(),
    };
    // The rules of the catalog.
    let reach = catalog.reach_of(&view);
    view.freeze_at_event_time = wish.freeze && reach.feature_views.len() == 1;
    let is_synced = |input: &Input| match &input.from {
        InputSource::Request { .. } => false,
        InputSource::Feature { view, .. } => match &catalog.views[view] {
            View::Feature(_) => true,
            View::Derived(read) => read.placement == Placement::Sync,
        },
    };
    let keeps = !wish.uses_time || view.freeze_at_event_time;
    if wish.at_sync && keeps && reach.feature_views.len() == 1 && view.inputs.iter().all(is_synced) {
        view.placement = Placement::Sync;
    }
    view
}

fn selection(catalog: &Catalog, picks: &[Index]) -> Selection {
    let all: Vec<FeatureRef> = catalog
        .views
        .values()
        .flat_map(|view| view.features().iter().map(|feature| FeatureRef::new(view.name(), &feature.name)))
        .collect();
    let refs = picks.iter().map(|pick| pick.get(&all).clone()).collect();
    Selection::Features { refs, full_feature_names: true }
}

/// The type of a column that is there when derivation number `before` runs.
fn dtype(plan: &FeaturePlan, column: ColumnRef, before: usize) -> DType {
    match column {
        ColumnRef::Input(input) => plan.inputs[input].field.dtype,
        ColumnRef::Stored { read, column } => {
            let read = &plan.reads[read];
            read.online.features[read.columns[column]].dtype
        }
        ColumnRef::Derived { derivation, output } => {
            assert!(derivation < before, "a derivation reads one that has not run");
            plan.derivations[derivation].transform.outputs[output].dtype
        }
    }
}

fn check(catalog: &Catalog, plan: &FeaturePlan) {
    for (index, derivation) in plan.derivations.iter().enumerate() {
        assert_eq!(derivation.inputs.len(), derivation.view.inputs.len());
        for (column, input) in derivation.inputs.iter().zip(&derivation.view.inputs) {
            assert_eq!(dtype(plan, *column, index), input.column.dtype);
        }
        assert!(derivation.needs_any_of.iter().all(|read| *read < plan.reads.len()));
        let reach = catalog.reach_of(&derivation.view);
        match derivation.as_of {
            AsOf::EventTime { read } => {
                assert!(derivation.view.freeze_at_event_time);
                assert_eq!(plan.reads[read].view.name, reach.feature_views[0].name);
            }
            AsOf::Asked => assert!(!derivation.view.freeze_at_event_time),
            AsOf::Unused => assert_eq!(derivation.transform.signature.time, TimeUse::None),
        }
        let wants_rows = reach.request.is_empty() || derivation.view.freeze_at_event_time;
        assert_eq!(derivation.needs_any_of.is_empty(), !wants_rows || reach.feature_views.is_empty());
    }
    let mut names = BTreeMap::new();
    for read in &plan.reads {
        assert_eq!(names.insert(&read.online.name, ()), None, "a view is read twice");
        let mut columns = read.columns.clone();
        columns.sort_unstable();
        columns.dedup();
        assert_eq!(columns.len(), read.columns.len(), "a column is read twice");
        let keys: Vec<&Field> = read.keys.iter().map(|key| &plan.inputs[*key].field).collect();
        assert_eq!(keys, read.online.join_keys.iter().collect::<Vec<_>>());
    }
    for output in &plan.outputs {
        assert_eq!(dtype(plan, output.column, plan.derivations.len()), output.field.dtype);
    }
    let first_request = plan.inputs.iter().position(|input| input.kind == InputKind::Request);
    let after = first_request.map_or(&[][..], |first| &plan.inputs[first..]);
    assert!(after.iter().all(|input| input.kind == InputKind::Request), "join keys come first");
}

fn outline(plan: &FeaturePlan) -> Vec<(Field, String, String)> {
    plan.outputs.iter().map(|output| (output.field.clone(), output.view.clone(), output.feature.clone())).collect()
}

proptest! {
    #[test]
    fn every_plan_refers_to_what_is_there(catalog in catalog(), picks in prop::collection::vec(any::<Index>(), 1..6)) {
        let selection = selection(&catalog, &picks);
        let serving = serving(&catalog, &selection).unwrap();
        let training = training(&catalog, &selection).unwrap();
        check(&catalog, &serving);
        check(&catalog, &training);
        prop_assert_eq!(&serving.inputs, &training.inputs);
        prop_assert_eq!(outline(&serving), outline(&training));
        prop_assert_eq!(fingerprint(&serving), fingerprint(&training));
        prop_assert!(training.reads.iter().all(|read| read.online.digest.is_none()));
        prop_assert!(serving.derivations.iter().all(|derivation| derivation.view.placement == Placement::Request));
    }

    #[test]
    fn every_view_placed_at_sync_is_stored_with_exactly_one_feature_view(catalog in catalog()) {
        let mut stored = Vec::new();
        for view in catalog.views.values() {
            let View::Feature(view) = view else { continue };
            let plan = storing(&catalog, &view.name).unwrap();
            prop_assert_eq!(plan.derived.len(), plan.derivations.len());
            for (index, derivation) in plan.derivations.iter().enumerate() {
                for (column, input) in derivation.inputs.iter().zip(&derivation.view.inputs) {
                    let dtype = match *column {
                        ColumnRef::Stored { read: 0, column } => view.features[column].dtype,
                        ColumnRef::Derived { derivation, output } => {
                            prop_assert!(derivation < index);
                            plan.derivations[derivation].transform.outputs[output].dtype
                        }
                        other => panic!("{other:?} is not there when rows are stored"),
                    };
                    prop_assert_eq!(dtype, input.column.dtype);
                }
                prop_assert_ne!(derivation.as_of, AsOf::Asked);
            }
            stored.extend(plan.derived.iter().map(|derived| derived.name.clone()));
        }
        stored.sort();
        let mut at_sync: Vec<_> = catalog
            .derived_views()
            .filter(|view| view.placement == Placement::Sync)
            .map(|view| view.name.clone())
            .collect();
        at_sync.sort();
        prop_assert_eq!(stored, at_sync);
    }
}
