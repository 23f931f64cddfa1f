//! The JSON of tickets and of `CMD` descriptors: one shape for what a person can type, and what it means.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::transform::WrittenTransform;
use crate::catalog::{FeatureRef, Selection};
use crate::clock::Micros;
use crate::flow::Error;
use crate::flow::ingest::PushTo;
use crate::flow::serve::WhenUnreachable;
use crate::flow::train::Options;
use crate::flow::transform::Asked;
use crate::limits::SERVE_ROWS_MAX;
use crate::plan::FeaturePlan;
use crate::server::columns::complete;
use crate::server::http::values::{Refused, Times, json_column, json_instant, json_length};

/// What a ticket or a descriptor asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// Features for entities that are written down, or that follow as batches.
    Read(Question),
    /// A training set for labels that follow as batches, or that are a source.
    Train(Training),
    /// The training set for labels that were uploaded before.
    Fetch { upload: String },
    /// Rows for a push source.
    Push { source: String, to: PushTo },
    /// Rows for the online table of a feature view.
    Set { view: String, event_time: Option<Micros> },
    /// A transform for rows that follow as batches.
    Transform(Asked),
}

#[derive(Debug)]
pub(super) struct Question {
    pub(super) selection: Selection,
    /// Columns by name, as written.
    pub(super) entities: BTreeMap<String, Box<RawValue>>,
    pub(super) as_of: Option<Micros>,
    /// Adds the column `<feature>__status` for each feature.
    pub(super) statuses: bool,
    pub(super) unreachable: WhenUnreachable,
    /// The fingerprint of the schema that the answers must have.
    pub(super) fingerprint: Option<String>,
}

#[derive(Debug)]
pub(super) struct Training {
    pub(super) selection: Selection,
    pub(super) time_column: Option<String>,
    pub(super) options: Options,
    /// The source whose rows are the labels; nothing when they are sent.
    pub(super) labels: Option<String>,
}

impl Command {
    /// Reads the JSON of a ticket or of a `CMD` descriptor.
    pub(super) fn parse(json: &[u8]) -> Result<Self, Error> {
        let written: Written = serde_json::from_slice(json).map_err(|error| {
            Error::Invalid(format!(
                "the ticket is not one ({error}); write for example {{\"service\": \"my_model\", \"entities\": {{\"user_id\": [1, 2]}}}}"
            ))
        })?;
        written.command()
    }

    /// What a descriptor asks for: `CMD` holds JSON, `PATH` is `services/<name>`, `views/<name>`, `push/<source>` or
    /// `online/<view>`.
    pub(super) fn of_descriptor(
        descriptor: &FlightDescriptor,
        view_features: impl FnOnce(&str) -> Option<Vec<FeatureRef>>,
    ) -> Result<Self, Error> {
        if descriptor.r#type() == DescriptorType::Cmd {
            return Self::parse(&descriptor.cmd);
        }
        let path: Vec<&str> = descriptor.path.iter().map(String::as_str).collect();
        match path[..] {
            ["services", name] => {
                Ok(Self::Read(Question::all(Selection::Service { name: name.to_owned(), full_feature_names: None })))
            }
            ["views", name] => {
                // A view that is not there has one feature nobody asked for, so that planning names the view.
                let refs = view_features(name).unwrap_or_else(|| vec![FeatureRef::new(name, "*")]);
                Ok(Self::Read(Question::all(Selection::Features { refs, full_feature_names: false })))
            }
            ["push", source] => Ok(Self::Push { source: source.to_owned(), to: PushTo::OnlineAndOffline }),
            ["online", view] => Ok(Self::Set { view: view.to_owned(), event_time: None }),
            _ => Err(Error::Invalid(format!(
                "the path {path:?} leads nowhere; it is [\"services\", name], [\"views\", name], [\"push\", source] or [\"online\", view]"
            ))),
        }
    }
}

impl Question {
    /// The question without its entities.
    pub(super) fn all(selection: Selection) -> Self {
        let unreachable = WhenUnreachable::Fail;
        Self { selection, entities: BTreeMap::new(), as_of: None, statuses: false, unreachable, fingerprint: None }
    }

    /// The entities as the inputs of `plan`, and the number of rows. Columns that the plan does not need are left aside.
    pub(super) fn inputs(&self, plan: &FeaturePlan) -> Result<(Vec<ArrayRef>, usize), Error> {
        let mut rows: Option<(usize, &str)> = None;
        let mut written = Vec::with_capacity(plan.inputs.len());
        for input in &plan.inputs {
            let raw = self.entities.get_key_value(&input.field.name);
            let column = raw.map(|(name, raw)| {
                let column = json_column(raw.get(), input.field.dtype, Times::Micros, SERVE_ROWS_MAX);
                column.map_err(|refused| refuse(name, &refused))
            });
            let column = column.transpose()?;
            if let (Some((name, _)), Some(column)) = (raw, &column) {
                let (expected, first) = *rows.get_or_insert((column.len(), name.as_str()));
                if expected != column.len() {
                    return Err(Error::Invalid(format!(
                        "column {name} has {} rows, column {first} has {expected}; every column needs as many",
                        column.len()
                    )));
                }
            }
            written.push(column);
        }
        // A plan without inputs answers as many equal rows as any column has.
        let rows =
            rows.map(|(rows, _)| rows).or_else(|| self.entities.values().find_map(|raw| json_length(raw.get()).ok()));
        let Some(rows) = rows else {
            let names: Vec<_> = plan.inputs.iter().map(|input| input.field.name.as_str()).collect();
            return Err(Error::Invalid(format!("entities has none of the columns it must have: {}", names.join(", "))));
        };
        let inputs = plan.inputs.iter().zip(written).map(|(input, column)| complete(input, column, rows));
        Ok((inputs.collect::<Result<_, _>>()?, rows))
    }
}

fn refuse(name: &str, refused: &Refused) -> Error {
    match refused {
        Refused::TooLong { max } => Error::TooManyRows { rows: max + 1, max: *max },
        Refused::NotAnArray | Refused::Value { .. } => Error::Invalid(format!("column {name}: {refused}")),
    }
}

/// The JSON as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    service: Option<String>,
    features: Option<Vec<String>>,
    full_feature_names: Option<bool>,
    entities: Option<BTreeMap<String, Box<RawValue>>>,
    as_of: Option<Box<RawValue>>,
    statuses: Option<bool>,
    partial: Option<bool>,
    schema_fingerprint: Option<String>,
    train: Option<WrittenTraining>,
    training: Option<String>,
    push: Option<String>,
    to: Option<WrittenTo>,
    set: Option<String>,
    event_time: Option<Box<RawValue>>,
    transform: Option<WrittenTransform>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTraining {
    service: Option<String>,
    features: Option<Vec<String>>,
    full_feature_names: Option<bool>,
    time_column: Option<String>,
    #[serde(default)]
    digest_column: bool,
    known_at: Option<Box<RawValue>>,
    known_at_column: Option<String>,
    labels: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenTo {
    Online,
    Offline,
    OnlineAndOffline,
}

impl Written {
    fn command(self) -> Result<Command, Error> {
        let asks = [
            self.train.is_some(),
            self.training.is_some(),
            self.push.is_some(),
            self.set.is_some(),
            self.transform.is_some(),
        ];
        let reads = self.service.is_some() || self.features.is_some();
        if asks.iter().filter(|asked| **asked).count() + usize::from(reads) > 1 {
            return Err(Error::Invalid(
                "one ticket asks for one thing: a service or features, train, training, push, set, or transform"
                    .to_owned(),
            ));
        }
        if let Some(training) = self.train {
            return training.command();
        }
        if let Some(transform) = self.transform {
            return Ok(Command::Transform(transform.asked()?));
        }
        if let Some(upload) = self.training {
            return Ok(Command::Fetch { upload });
        }
        if let Some(source) = self.push {
            let to = match self.to {
                Some(WrittenTo::Online) => PushTo::Online,
                Some(WrittenTo::Offline) => PushTo::Offline,
                Some(WrittenTo::OnlineAndOffline) | None => PushTo::OnlineAndOffline,
            };
            return Ok(Command::Push { source, to });
        }
        if let Some(view) = self.set {
            return Ok(Command::Set { view, event_time: time("event_time", self.event_time.as_deref())? });
        }
        Ok(Command::Read(Question {
            selection: selection(self.service, self.features, self.full_feature_names)?,
            entities: self.entities.unwrap_or_default(),
            as_of: time("as_of", self.as_of.as_deref())?,
            statuses: self.statuses.unwrap_or(false),
            unreachable: match self.partial {
                Some(true) => WhenUnreachable::AnswerRest,
                Some(false) | None => WhenUnreachable::Fail,
            },
            fingerprint: self.schema_fingerprint,
        }))
    }
}

/// A time as it is written under `name`.
pub(super) fn time(name: &str, written: Option<&RawValue>) -> Result<Option<Micros>, Error> {
    let time = |written: &RawValue| {
        let not_a_time = || Error::Invalid(format!("{name} {written} is not a time such as 2016-12-31T00:00:00Z"));
        json_instant(written.get(), Times::Micros).ok_or_else(not_a_time)
    };
    written.map(time).transpose()
}

impl WrittenTraining {
    fn command(self) -> Result<Command, Error> {
        Ok(Command::Train(Training {
            selection: selection(self.service, self.features, self.full_feature_names)?,
            time_column: self.time_column,
            options: Options {
                digest_column: self.digest_column,
                known_at: time("known_at", self.known_at.as_deref())?,
                known_at_column: self.known_at_column,
                ..Options::default()
            },
            labels: self.labels,
        }))
    }
}

fn selection(
    service: Option<String>,
    features: Option<Vec<String>>,
    full_feature_names: Option<bool>,
) -> Result<Selection, Error> {
    match (service, features) {
        (Some(name), None) => Ok(Selection::Service { name, full_feature_names }),
        (None, Some(features)) => {
            let refs = features.iter().map(|text| feature_ref(text)).collect::<Result<_, _>>()?;
            Ok(Selection::Features { refs, full_feature_names: full_feature_names.unwrap_or(false) })
        }
        (Some(_), Some(_)) => Err(Error::Invalid("ask for a service or for features, not for both".to_owned())),
        (None, None) => {
            Err(Error::Invalid("nothing is asked for; name a service, or features as [\"view:feature\", …]".to_owned()))
        }
    }
}

fn feature_ref(text: &str) -> Result<FeatureRef, Error> {
    match text.split_once(':') {
        Some((view, feature)) => Ok(FeatureRef::new(view, feature)),
        None => Err(Error::Invalid(format!("{text:?} is not a feature; write view:feature"))),
    }
}
