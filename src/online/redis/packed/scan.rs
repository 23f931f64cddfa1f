//! Walking through all rows of one server, page by page.

use std::sync::Arc;

use super::super::Page;
use super::super::key::{row_of, rows_pattern};
use super::super::link::Primary;
use super::Packed;
use crate::batch::{KeyColumns, key_values};
use crate::clock::Deadline;
use crate::online::{Error, OnlineView};

impl Packed {
    pub(super) async fn page(
        &self,
        primary: &Primary,
        views: &[Arc<OnlineView>],
        cursor: u64,
        deadline: Deadline,
    ) -> Result<Page, Error> {
        let scanned = primary.scan(&rows_pattern(&self.prefix), cursor, deadline).await;
        let (next, redis_keys) = scanned.map_err(|failure| failure.into_error("listing keys"))?;
        let mut found: Vec<Option<KeyColumns>> = views.iter().map(|_| None).collect();
        let mut values = Vec::new();
        let scanned = redis_keys.len() as u64;
        let mut of_no_view = 0;
        for redis_key in &redis_keys {
            let row = row_of(&self.prefix, redis_key);
            let of_view = |(name, key)| Some((views.iter().position(|view| view.name == name)?, key));
            let Some((view, key)) = row.and_then(of_view) else {
                of_no_view += 1;
                continue;
            };
            let join_keys = &views[view].join_keys;
            values.clear();
            // A row of other join keys is not there for anybody.
            if key_values(join_keys, key, &mut values) {
                found[view].get_or_insert_with(|| KeyColumns::new(join_keys)).push(&values);
            } else {
                of_no_view += 1;
            }
        }
        let keys = found.into_iter().enumerate().filter_map(|(view, keys)| Some((view, keys?.finish()))).collect();
        Ok(Page { keys, scanned, of_no_view, next: (next != 0).then_some(next) })
    }
}
