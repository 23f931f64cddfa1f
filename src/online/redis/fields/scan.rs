//! Walking through all hashes of one server, page by page.

use std::sync::Arc;

use super::super::Page;
use super::super::link::Primary;
use super::{FieldRows, ViewFields};
use crate::batch::KeyColumns;
use crate::clock::Deadline;
use crate::online::{Error, OnlineView};

impl FieldRows {
    pub(super) async fn page(
        &self,
        primary: &Primary,
        views: &[Arc<OnlineView>],
        cursor: u64,
        deadline: Deadline,
    ) -> Result<Page, Error> {
        let fields = views.iter().map(|view| self.fields(view)).collect::<Result<Vec<_>, Error>>()?;
        let scanned = primary.scan(&self.format.pattern(), cursor, deadline).await;
        let (next, redis_keys) = scanned.map_err(|failure| failure.into_error("listing keys"))?;
        let mut keys = Vec::new();
        let mut is_ours = vec![false; redis_keys.len()];
        for group in by_entity(&fields) {
            let first = &fields[group[0]];
            let mut columns = KeyColumns::new(&first.view.join_keys);
            let mut found = 0;
            for (key, is_ours) in redis_keys.iter().zip(&mut is_ours) {
                let is_key = first.keys.read(key, &mut columns);
                found += usize::from(is_key);
                *is_ours |= is_key;
            }
            if found > 0 {
                let columns = columns.finish();
                keys.extend(group.into_iter().map(|view| (view, columns.clone())));
            }
        }
        let of_no_view = is_ours.iter().filter(|is_ours| !**is_ours).count() as u64;
        Ok(Page { keys, scanned: redis_keys.len() as u64, of_no_view, next: (next != 0).then_some(next) })
    }
}

/// The positions of views that stand in one hash and have the same join keys in the same order.
pub(super) fn by_entity(fields: &[Arc<ViewFields>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (position, view) in fields.iter().enumerate() {
        let is_alike = |group: &&mut Vec<usize>| {
            let other = &fields[group[0]];
            other.view.join_keys == view.view.join_keys && other.keys.entity() == view.keys.entity()
        };
        match groups.iter_mut().find(is_alike) {
            Some(group) => group.push(position),
            None => groups.push(vec![position]),
        }
    }
    groups
}
