//! The content of a catalog as one number: equal for equal definitions, however they are spread over files.

use serde_json::{Value, json};

use super::{
    Catalog, DerivedView, Digest, Expectation, FeatureRef, FeatureView, Field, InputSource, Partition, Placement,
    Source, SourceKind, Stored, View,
};

/// Changes when the canonical form does, so that an old hash is never taken for a new one.
const FORM: &str = "lockstep catalog 2";

impl Catalog {
    /// SHA-256 over a canonical form of everything that is defined, transform digests included. The order of files and
    /// of definitions in them does not matter, nor do comments.
    pub fn hash(&self) -> Digest {
        let entities =
            self.entities.values().map(|entity| json!([entity.name, fields(&entity.join_keys), entity.description]));
        let views = self.views.values().map(|view| match view {
            View::Feature(view) => feature_view(view),
            View::Derived(view) => derived_view(view),
        });
        let services = self.services.values().map(|service| {
            let features: Vec<String> = service.features.iter().map(|feature| self.spelled_out(feature)).collect();
            let mut form = vec![
                json!(service.name),
                json!(features),
                json!(service.full_feature_names),
                json!(service.description),
            ];
            // Left out where there is none, so that definitions from before it could be written keep their hash.
            form.extend(service.split.as_ref().map(|split| json!([split.by, split.other, split.share.to_string()])));
            Value::Array(form)
        });
        let descriptions = self.feature_descriptions.iter().map(|(feature, text)| json!([feature.to_string(), text]));
        let deprecations = self.deprecations.iter().map(|(thing, deprecation)| {
            let last = deprecation.remove_after.map(|day| day.to_string());
            json!([thing.noun(), thing.name(), deprecation.since.to_string(), last, deprecation.instead])
        });
        // Arrays only: an object's order of keys is a matter of how serde_json is built.
        let mut canonical = vec![
            json!(FORM),
            json!(self.project),
            entities.collect(),
            self.sources.values().map(source).collect(),
            views.collect(),
            services.collect(),
            descriptions.collect(),
        ];
        // Left out where there are none, so that definitions from before they could be written keep their hash.
        if !self.deprecations.is_empty() {
            canonical.push(deprecations.collect());
        }
        if !self.sensitive.is_empty() {
            canonical.push(json!(["sensitive", self.sensitive]));
        }
        Digest::of(Value::Array(canonical).to_string().as_bytes())
    }

    /// A feature of a service; of an alias with what it stands for.
    fn spelled_out(&self, feature: &FeatureRef) -> String {
        match self.aliases.get(&feature.view) {
            None => feature.to_string(),
            Some(alias) => {
                let join_keys: Vec<_> = alias.join_keys.iter().collect();
                format!("{feature}={}", json!([alias.view, join_keys]))
            }
        }
    }
}

fn source(source: &Source) -> Value {
    let content = match &source.kind {
        SourceKind::Sql { query } => json!(query),
        SourceKind::Long(long) => {
            let values: Vec<_> =
                long.value_columns.iter().map(|(of, column)| json!([of.to_string(), column])).collect();
            json!([
                long.source,
                long.entity_type,
                long.entity,
                long.join_key,
                long.name_column,
                long.value_column,
                values
            ])
        }
        SourceKind::Stored(stored) | SourceKind::Push { into: stored } => stored_table(stored),
    };
    json!([source.name, source.kind.name(), content, source.event_time, source.created_time, source.description])
}

fn stored_table(stored: &Stored) -> Value {
    match stored {
        Stored::Parquet { path, partitions } => {
            json!(["parquet", path, partitions.iter().map(partition).collect::<Vec<_>>()])
        }
        Stored::Delta { path, as_of } => json!(["delta", path, as_of.map(|version| version.to_string())]),
        Stored::Postgres { connection, schema, table } => json!(["postgres", connection, schema, table]),
    }
}

fn partition(partition: &Partition) -> Value {
    json!([partition.field.name, partition.field.dtype.to_string(), partition.day_of])
}

fn feature_view(view: &FeatureView) -> Value {
    let mut form = json!([
        "feature view",
        view.name,
        view.entities,
        fields(&view.join_keys),
        view.source,
        fields(&view.features),
        view.ttl.map(|ttl| ttl.as_millis().to_string()),
        view.online,
        view.sync_every.map(|every| every.as_millis().to_string()),
        view.description,
    ]);
    if let Value::Array(form) = &mut form
        && !view.expectations.is_empty()
    {
        let expectation = |expectation: &Expectation| {
            json!([expectation.name(), format!("{:?}", expectation.check), expectation.on_failure.name()])
        };
        form.push(view.expectations.iter().map(expectation).collect());
        form.push(json!(view.quarantine));
    }
    form
}

fn derived_view(view: &DerivedView) -> Value {
    let inputs = view.inputs.iter().map(|input| match &input.from {
        InputSource::Feature { view, feature } => json!([input.column.name, "feature", view, feature]),
        InputSource::Request { field } => json!([input.column.name, "request", field]),
    });
    let outputs: Vec<&str> = view.transform.outputs.iter().map(|output| output.name.as_str()).collect();
    json!([
        "derived view",
        view.name,
        view.transform.plugin,
        view.transform.digest.to_string(),
        outputs,
        inputs.collect::<Vec<_>>(),
        match view.placement {
            Placement::Request => "request",
            Placement::Sync => "sync",
        },
        view.freeze_at_event_time,
        fields(&view.features),
        view.description,
    ])
}

fn fields(fields: &[Field]) -> Value {
    fields.iter().map(|field| json!([field.name, field.dtype.to_string(), field.nullable])).collect()
}
