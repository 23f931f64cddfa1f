//! The rows of a view, page by page: server after server in the order of their addresses, keys as SCAN gives them.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;

use super::Rows;
use super::link::Link;
use crate::clock::Deadline;
use crate::online::scan::only;
use crate::online::{Cursor, Error, OnlineView, RowPage};

const DOING: &str = "going through the rows of a view";

/// The page at `cursor`: the address of a server, a space, and the server's own cursor.
pub(super) async fn page(
    link: &Link,
    layout: &dyn Rows,
    view: &Arc<OnlineView>,
    cursor: Option<&Cursor>,
    deadline: Deadline,
) -> Result<RowPage, Error> {
    let primaries = link.primaries(deadline).await.map_err(|failure| failure.into_error(DOING))?;
    let mut primaries: Vec<_> = primaries.into_iter().map(|primary| (primary.address().to_string(), primary)).collect();
    primaries.sort_by(|one, other| one.0.cmp(&other.0));
    let (place, at) = match cursor {
        None => (0, 0),
        Some(cursor) => {
            let known = str::from_utf8(&cursor.0).ok().and_then(|text| text.rsplit_once(' '));
            let known = known.and_then(|(address, at)| {
                Some((primaries.iter().position(|(known, _)| known == address)?, at.parse().ok()?))
            });
            let gone = "its servers have changed since the last page; begin again".to_owned();
            known.ok_or(Error::Store { doing: DOING, detail: gone })?
        }
    };
    let Some((address, primary)) = primaries.get(place) else { return Ok(RowPage::default()) };
    let found = layout.scan(primary, std::slice::from_ref(view), at, deadline).await?;
    let mut page = RowPage::default();
    for (_, keys) in &found.keys {
        let whole = layout.take(link, view, keys, deadline).await?;
        for rows in whole.timed {
            let is_live = match &rows.deleted {
                Some(deleted) => !deleted,
                None => BooleanBuffer::new_set(rows.rows()),
            };
            page.rows.push(only(&view.name, &rows, &is_live)?);
        }
    }
    page.next = match found.next {
        Some(next) => Some(format!("{address} {next}")),
        None => primaries.get(place + 1).map(|(address, _)| format!("{address} 0")),
    }
    .map(|text| Cursor(text.into_bytes()));
    Ok(page)
}
