//! `lockstep plugin lock` and `lockstep plugin update`: which bytes of each plugin a project uses.

use crate::app::{Pinned, Project};
use crate::cli::{Context, Failure, Outcome, output};

pub(super) async fn run(context: &Context, anew: &[String]) -> Result<Outcome, Failure> {
    let pinned = Project::open(&context.project)?.lock_plugins(anew).await?;
    output::print(context.format, &pinned, |pinned| match pinned.is_empty() {
        true => "the definitions use no plugin".to_owned(),
        false => output::table(&["plugin", "version", "digest", "before", "place"], pinned.iter().map(row)),
    })?;
    Ok(Outcome::Done)
}

fn row(pinned: &Pinned) -> Vec<String> {
    let before = match pinned.before {
        None => "new".to_owned(),
        Some(before) if before == pinned.digest => "the same".to_owned(),
        Some(before) => before.short(),
    };
    vec![pinned.name.clone(), pinned.version.clone(), pinned.digest.short(), before, pinned.place.clone()]
}
