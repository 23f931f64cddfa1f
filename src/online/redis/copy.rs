//! Moves the rows of a project to another layout, on the same Redis, while they are read and written.
//!
//! Every primary is scanned page by page. The rows of a page are taken from the one layout as they are, with times,
//! tombstones and places in streams as far as it has them, and written to the other, where the newer row stays and of
//! two equal ones the one that is there. So it does not matter who else writes to either place meanwhile, how often a
//! page is copied, or in which order: a copy only ever brings what is newer.
//!
//! [`place`] remembers how far the copy has come, so that one that was interrupted goes on there.
//!
//! # What is not copied
//! The progress of streams: a reader of a stream that finds none at the new place begins anew, and repeating events
//! changes nothing. Rows of an outdated transform or of other join keys, which nobody is answered with.

mod place;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;
use futures::stream::{StreamExt, TryStreamExt, iter, try_unfold};
use serde::Serialize;

use super::link::{Link, Primary};
use super::settings::{Layout, Settings};
use super::whole::WholeRows;
use super::{Page, Rows, marker, rows};
use crate::clock::Deadline;
use crate::limits;
use crate::online::{Error, OnlineView, Written};
use place::{Place, Places};

/// What one run of a copy has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// The run went on where another one was interrupted; what that one did is not counted here.
    pub resumed: bool,
    /// Keys of the source that were met, and how many of them are of no view.
    pub keys: u64,
    pub keys_of_no_view: u64,
    pub views: Vec<CopiedView>,
}

/// What was copied of one view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopiedView {
    pub view: String,
    pub read: u64,
    pub written: u64,
    /// Rows that were there already, or in a newer version.
    pub older: u64,
    /// Of the rows read, those that say that their entity is gone.
    pub tombstones: u64,
    /// Of the rows read, those of another program that say no time; they count as older than all others.
    pub without_time: u64,
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copying {
    pub keys: u64,
    pub rows: u64,
    pub written: u64,
}

/// Brings the rows of `views` from the one layout to the other, on the server of both. `tell` is called after each page.
///
/// An error leaves what is copied; the next call goes on from there.
pub async fn copy(
    from: &Settings,
    to: &Settings,
    views: &[Arc<OnlineView>],
    tell: &(dyn Fn(Copying) + Sync),
) -> Result<Copied, Error> {
    if (&from.layout, &from.prefix) == (&to.layout, &to.prefix) {
        let detail = "a copy goes to another layout or prefix than it comes from".to_owned();
        return Err(Error::Setup { detail });
    }
    let copy = Copy::new(from, to, views, tell)?;
    marker::check_source(&copy.link, from, deadline()).await?;
    // The database is full of keys, those that are copied among them.
    marker::check(&copy.link, &Settings { shared: true, ..to.clone() }, deadline()).await?;
    copy.run(from, to).await
}

/// A copy that runs.
struct Copy<'a> {
    link: Link,
    from: Box<dyn Rows>,
    to: Box<dyn Rows>,
    views: &'a [Arc<OnlineView>],
    /// How many rows of each view are read at once.
    rows_at_once: Vec<AtomicUsize>,
    done: Mutex<Copied>,
    tell: &'a (dyn Fn(Copying) + Sync),
}

/// A page whose rows are copied.
struct Done {
    next: Option<u64>,
    keys: u64,
    keys_of_no_view: u64,
    views: Vec<(usize, CopiedView)>,
}

impl<'a> Copy<'a> {
    fn new(
        from: &Settings,
        to: &Settings,
        views: &'a [Arc<OnlineView>],
        tell: &'a (dyn Fn(Copying) + Sync),
    ) -> Result<Self, Error> {
        let copy = Self {
            link: Link::new(to.server.clone())?,
            from: rows(from),
            to: rows(to),
            views,
            rows_at_once: views.iter().map(|_| AtomicUsize::new(limits::REDIS_COPY_ROWS_FIRST)).collect(),
            done: Mutex::new(Copied { views: views.iter().map(|view| nothing(view)).collect(), ..Copied::default() }),
            tell,
        };
        copy.from.check(views)?;
        copy.to.check(views)?;
        Ok(copy)
    }

    async fn run(self, from: &Settings, to: &Settings) -> Result<Copied, Error> {
        let places = Places::of(from, to, self.views);
        let mut known = places.open(&self.link, deadline()).await?;
        self.done().resumed = !known.is_empty();
        for _ in 0..limits::REDIS_COPY_ROUNDS_MAX {
            let mut open = Vec::new();
            for primary in place::primaries(&self.link, deadline()).await? {
                let identity = place::identity(&self.link, &primary, deadline()).await?;
                match known.get(&primary.address().to_string()) {
                    Some(place) if place.identity == identity && place.next.is_none() => {}
                    Some(place) if place.identity == identity => open.push((primary, place.clone())),
                    _ => open.push((primary, Place { identity, next: Some(0) })),
                }
            }
            if open.is_empty() {
                places.forget(&self.link, deadline()).await?;
                return Ok(self.done.into_inner().unwrap_or_else(PoisonError::into_inner));
            }
            let copied = open.into_iter().map(|(primary, place)| self.copy_primary(primary, place, &places));
            let copied: Vec<(String, Place)> =
                iter(copied).buffer_unordered(limits::REDIS_COPY_SERVERS).try_collect().await?;
            known.extend(copied);
        }
        let detail = "its servers restart or its slots move all the time; copy again when that is over";
        Err(Error::Store { doing: "copying features", detail: detail.to_owned() })
    }

    /// Copies what is left of one server; gives its place at the end.
    async fn copy_primary(&self, primary: Primary, place: Place, places: &Places) -> Result<(String, Place), Error> {
        let address = primary.address().to_string();
        let pages = try_unfold(place.next, |cursor| {
            let primary = &primary;
            async move {
                let Some(cursor) = cursor else { return Ok::<_, Error>(None) };
                let page = self.from.scan(primary, self.views, cursor, deadline()).await?;
                let next = page.next;
                Ok(Some((page, next)))
            }
        });
        let copied = pages.map_ok(|page| self.copy_page(page)).try_buffered(limits::REDIS_COPY_PAGES);
        let mut copied = std::pin::pin!(copied);
        let mut place = place;
        while let Some(page) = copied.try_next().await? {
            place.next = page.next;
            places.keep(&self.link, &address, &place, deadline()).await?;
            self.count(page);
        }
        Ok((address, place))
    }

    async fn copy_page(&self, page: Page) -> Result<Done, Error> {
        let mut views = Vec::with_capacity(page.keys.len());
        for (view, keys) in &page.keys {
            views.push((*view, self.copy_rows(*view, keys).await?));
        }
        Ok(Done { next: page.next, keys: page.scanned, keys_of_no_view: page.of_no_view, views })
    }

    /// Copies the rows of one view under these keys, a part at a time where they are long.
    async fn copy_rows(&self, view: usize, keys: &[ArrayRef]) -> Result<CopiedView, Error> {
        let mut copied = nothing(&self.views[view]);
        // A view without join keys has one row.
        let rows = keys.first().map_or(1, |keys| keys.len());
        let mut start = 0;
        while start < rows {
            let count = self.rows_at_once[view].load(Ordering::Relaxed).min(rows - start);
            let keys: Vec<ArrayRef> = keys.iter().map(|keys| keys.slice(start, count)).collect();
            let whole = self.from.take(&self.link, &self.views[view], &keys, deadline()).await?;
            let row_bytes = (whole.bytes() / whole.rows().max(1)).max(1);
            let fitting = (limits::REDIS_COPY_BYTES / row_bytes).clamp(1, limits::REDIS_COPY_ROWS_MAX);
            self.rows_at_once[view].store(fitting, Ordering::Relaxed);
            self.write(&self.views[view], &whole, &mut copied).await?;
            start += count;
        }
        Ok(copied)
    }

    async fn write(&self, view: &Arc<OnlineView>, whole: &WholeRows, copied: &mut CopiedView) -> Result<(), Error> {
        let timed = whole.timed.iter().map(|rows| self.to.write_newer(&self.link, view, rows, deadline()));
        let mut written: Vec<Written> = futures::future::try_join_all(timed).await?;
        if let Some(rows) = &whole.untimed {
            // Nothing tells which of two is newer, so what the other program has there now is taken.
            written.push(self.to.write(&self.link, view, rows, deadline()).await?);
            copied.without_time += rows.rows() as u64;
        }
        copied.read += whole.rows() as u64;
        copied.tombstones += whole.tombstones() as u64;
        copied.written += written.iter().map(|written| written.written).sum::<u64>();
        copied.older += written.iter().map(|written| written.older).sum::<u64>();
        Ok(())
    }

    fn count(&self, page: Done) {
        let copying = {
            let mut done = self.done();
            done.keys += page.keys;
            done.keys_of_no_view += page.keys_of_no_view;
            for (view, copied) in page.views {
                let sum = &mut done.views[view];
                sum.read += copied.read;
                sum.written += copied.written;
                sum.older += copied.older;
                sum.tombstones += copied.tombstones;
                sum.without_time += copied.without_time;
            }
            let sum = |of: fn(&CopiedView) -> u64| done.views.iter().map(of).sum();
            Copying { keys: done.keys, rows: sum(|view| view.read), written: sum(|view| view.written) }
        };
        (self.tell)(copying);
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Copied> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layout {
    /// The layout in a few words that tell it from others on the same server.
    fn text(&self) -> String {
        match self {
            Self::Packed => "packed".to_owned(),
            Self::Hash => "hash".to_owned(),
            Self::Feast { project, key_version } => format!("feast({project},{key_version})"),
        }
    }
}

fn nothing(view: &OnlineView) -> CopiedView {
    CopiedView { view: view.name.clone(), ..CopiedView::default() }
}

fn deadline() -> Deadline {
    Deadline::after(limits::REDIS_COPY_DEADLINE)
}
