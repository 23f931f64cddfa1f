//! A training set is made again from its manifest, and compared with what it was.

use futures::TryStreamExt;
use serde::Serialize;

use super::train::{Labels, Options, Sources, train};
use super::{Error, Selection};
use crate::gateway::Gateway;
use crate::manifest::{Content, Manifest, watched};
use crate::offline;

/// What the comparison of a training set with its manifest found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verified {
    /// Whether the set was made again and is the same, row for row and bit for bit.
    pub equal: bool,
    pub rows: u64,
    pub rows_were: u64,
    /// What it is made of and is no longer as it was.
    pub changed: Vec<Changed>,
    /// The stretches of rows that differ.
    pub row_groups: Vec<RowGroup>,
}

/// Something that a training set is made of, and that is no longer as it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Changed {
    /// Another version of the definitions is compared than the set was made with.
    Definitions {
        was: String,
        is: String,
    },
    Transform {
        view: String,
        was: String,
        is: String,
    },
    Labels {
        rows_were: u64,
        rows: u64,
        row_groups: Vec<RowGroup>,
    },
    /// The source's rows of that time cannot be read any more, so the set cannot be made again.
    SourceGone {
        source: String,
        detail: String,
    },
    Columns {
        were: Vec<String>,
        are: Vec<String>,
    },
}

/// A stretch of rows of which something differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowGroup {
    pub number: usize,
    /// The first row and how many there are.
    pub from: usize,
    pub rows: usize,
    pub columns: Vec<String>,
}

/// Makes the set of `manifest` again of `labels` and of the sources as they were recorded, and compares. `gateway` has
/// the definitions of the manifest's version, if they can still be had.
pub async fn verify(gateway: &Gateway, manifest: &Manifest, labels: Labels) -> Result<Verified, Error> {
    let group_rows = manifest.content.group_rows.max(1);
    let label_columns: Vec<String> = labels.schema.fields().iter().map(|field| field.name().clone()).collect();
    let (rows, label_watch) = watched(&labels.schema, labels.rows, manifest.labels.content.group_rows.max(1));
    let labels = Labels { rows, time_column: Some(manifest.labels.time_column.clone()), ..labels };
    let selection = Selection::Service { name: manifest.service.clone(), full_feature_names: None };
    let sources = manifest.sources.iter().map(|source| (source.name.clone(), source.state.clone())).collect();
    let options = Options {
        digest_column: manifest.options.digest_column,
        known_at: manifest.options.known_at,
        known_at_column: manifest.options.known_at_column.clone(),
        sources: Sources::At(sources),
    };
    let mut verified = Verified { rows_were: manifest.content.rows, ..Verified::default() };
    let set = match train(gateway, &selection, labels, options).await {
        Ok(set) => set,
        Err(error) => return gone(verified, error),
    };
    compare_definitions(manifest, &set.made_of, &mut verified);
    let columns: Vec<(String, String)> =
        set.schema.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect();
    let (mut batches, watch) = watched(&set.schema, set.batches, group_rows);
    loop {
        match batches.try_next().await {
            Ok(Some(batch)) => verified.rows += batch.num_rows() as u64,
            Ok(None) => break,
            Err(error) => return gone(verified, error),
        }
    }
    let unknown = || Error::Stopped("the content of the set is not known".to_owned());
    compare_labels(
        &manifest.labels.content,
        &label_watch.content().ok_or_else(unknown)?,
        &label_columns,
        &mut verified,
    );
    if columns != manifest.columns {
        let texts =
            |columns: &[(String, String)]| columns.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
        verified.changed.push(Changed::Columns { were: texts(&manifest.columns), are: texts(&columns) });
    }
    let content = watch.content().ok_or_else(unknown)?;
    let names: Vec<String> = columns.into_iter().map(|(name, _)| name).collect();
    verified.row_groups = row_groups(&manifest.content, &content, &names);
    verified.equal = content == manifest.content;
    Ok(verified)
}

/// A source whose past is gone is a finding; everything else is an error.
fn gone(mut verified: Verified, error: Error) -> Result<Verified, Error> {
    match error {
        Error::Offline(offline::Error::Changed { source_name, detail }) => {
            verified.changed.push(Changed::SourceGone { source: source_name, detail });
            Ok(verified)
        }
        other => Err(other),
    }
}

fn compare_definitions(manifest: &Manifest, made_of: &super::train::MadeOf, verified: &mut Verified) {
    let (was, is) = (manifest.definitions.hash.clone(), made_of.catalog.to_string());
    if was != is {
        verified.changed.push(Changed::Definitions { was, is });
    }
    for (view, is) in &made_of.digests {
        if let Some(was) = manifest.transforms.get(view)
            && was != is
        {
            verified.changed.push(Changed::Transform { view: view.clone(), was: was.clone(), is: is.clone() });
        }
    }
}

fn compare_labels(were: &Content, are: &Content, columns: &[String], verified: &mut Verified) {
    if were != are {
        let row_groups = row_groups(were, are, columns);
        verified.changed.push(Changed::Labels { rows_were: were.rows, rows: are.rows, row_groups });
    }
}

fn row_groups(were: &Content, are: &Content, names: &[String]) -> Vec<RowGroup> {
    let group = |(number, columns): (usize, Vec<usize>)| {
        let rows = were.groups.get(number).or(are.groups.get(number)).map_or(0, |group| group.rows);
        let columns = columns.into_iter().filter_map(|column| names.get(column).cloned()).collect();
        RowGroup { number, from: number * were.group_rows, rows, columns }
    };
    were.differences(are).into_iter().map(group).collect()
}
