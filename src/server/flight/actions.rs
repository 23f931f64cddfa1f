//! Actions: what an operator asks of a running gateway over Flight. Each takes and gives JSON.

use arrow_flight::{Action, ActionType};
use serde::Deserialize;
use serde_json::json;
use tonic::Status;

use super::online;
use super::status::{invalid, of_flow, refused};
use crate::clock::{Deadline, Micros};
use crate::error::ErrorKind;
use crate::flow::statistics::{Asked, statistics};
use crate::flow::sync::{Range, sync};
use crate::gateway::Gateway;
use crate::limits::HISTORY_STATISTICS_DEADLINE;
use crate::server::http::values::{Times, instant};

/// The actions there are.
pub(super) fn list() -> [ActionType; 9] {
    let action =
        |name: &str, description: &str| ActionType { r#type: name.to_owned(), description: description.to_owned() };
    [
        action("health", "Answers {\"status\": \"ok\"} as long as the gateway answers requests."),
        action("version", "The program's version, the project, and the version of the applied definitions."),
        action("reload", "Takes the version that was applied last up now, in place of within the next second."),
        action(
            "sync",
            "Brings a feature view to the online store: {\"view\": name}, with \"full\": true for its whole history, or \"from\" and \"until\" for a part of it.",
        ),
        action(
            "online_set",
            "Sets rows of a feature view in the online store: {\"view\": name, \"columns\": {column: [values]}}, with \"event_time\" if they are not true since now.",
        ),
        action(
            "online_delete",
            "Deletes an entity from the online store: {\"view\": name, \"entity\": {join_key: value}}, with \"feature\" for one of its features only.",
        ),
        action("online_health", "How the online store is, and what may lose or refuse data as it is set up."),
        action(
            "online_stats",
            "What the online store holds: {\"views\": [name, …]}, or nothing for all that are stored.",
        ),
        action(
            "statistics",
            "What values the features of a view have in their history: {\"view\": name}, with \"from\", \"to\" and \"features\" for a part of it.",
        ),
    ]
}

/// Does one action.
pub(super) async fn act(
    gateway: &Gateway,
    action: &Action,
    deadline: Option<Deadline>,
) -> Result<arrow_flight::Result, Status> {
    let body = match action.r#type.as_str() {
        "health" => json!({ "status": "ok" }),
        "version" => {
            let applied = gateway.applied.load();
            let project = &applied.catalog.project;
            json!({ "lockstep": env!("CARGO_PKG_VERSION"), "project": project, "definitions": applied.version })
        }
        "reload" => {
            gateway.swaps.look_now().await.map_err(|error| refused(error.kind(), &error.to_string()))?;
            json!(gateway.on_now())
        }
        "sync" => {
            let asked: Sync = serde_json::from_slice(&action.body)
                .map_err(|error| invalid(&format!("the body of sync is not {{\"view\": name, …}}: {error}")))?;
            let synced =
                sync(gateway, &asked.view, asked.range(gateway.clock.now())?, &|_| {}).await.map_err(of_flow)?;
            json!(synced)
        }
        "online_set" => online::set(gateway, &action.body, deadline).await?,
        "online_delete" => online::delete(gateway, &action.body, deadline).await?,
        "online_health" => online::health(gateway, deadline).await?,
        "online_stats" => online::stats(gateway, &action.body, deadline).await?,
        "statistics" => {
            let asked: History = serde_json::from_slice(&action.body)
                .map_err(|error| invalid(&format!("the body of statistics is not {{\"view\": name, …}}: {error}")))?;
            let deadline = online::at_most(deadline, HISTORY_STATISTICS_DEADLINE);
            json!(statistics(gateway, &asked.view, &asked.asked()?, deadline).await.map_err(of_flow)?)
        }
        other => {
            let names = list().map(|action| action.r#type).join(", ");
            return Err(refused(ErrorKind::NotFound, &format!("there is no action {other:?}; there are {names}")));
        }
    };
    Ok(arrow_flight::Result { body: body.to_string().into() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sync {
    view: String,
    #[serde(default)]
    full: bool,
    from: Option<String>,
    until: Option<String>,
}

impl Sync {
    /// What is new since the last sync, unless more is asked for.
    fn range(&self, now: Micros) -> Result<Range, Status> {
        let until = self.until.as_ref().map(time).transpose()?;
        match (self.full, &self.from, until) {
            (true, None, None) => Ok(Range::Full),
            (true, ..) => Err(invalid("a full sync has no from and no until")),
            (false, Some(from), until) => Ok(Range::Between { from: time(from)?, until: until.unwrap_or(now) }),
            (false, None, until) => Ok(Range::Incremental { until: until.unwrap_or(now) }),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    view: String,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    features: Vec<String>,
}

impl History {
    fn asked(&self) -> Result<Asked, Status> {
        let time = |text: &Option<String>| text.as_ref().map(time).transpose();
        Ok(Asked { from: time(&self.from)?, to: time(&self.to)?, columns: self.features.clone() })
    }
}

fn time(text: &String) -> Result<Micros, Status> {
    instant(text, Times::Micros).ok_or_else(|| invalid(&format!("{text:?} is not a time such as 2016-12-31T00:00:00Z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_incremental_unless_it_says_otherwise() {
        let range = |body: &str| serde_json::from_str::<Sync>(body).unwrap().range(7).map_err(|error| error.code());
        assert_eq!(range(r#"{"view": "v"}"#), Ok(Range::Incremental { until: 7 }));
        assert_eq!(range(r#"{"view": "v", "full": true}"#), Ok(Range::Full));
        assert_eq!(range(r#"{"view": "v", "from": "1970-01-01"}"#), Ok(Range::Between { from: 0, until: 7 }));
        assert!(range(r#"{"view": "v", "full": true, "until": "1970-01-01"}"#).is_err());
        assert!(range(r#"{"view": "v", "from": "yesterday"}"#).is_err());
    }
}
