//! What feature services answered in each version, so that a list of features can be asked for after it has changed.

use sqlx::SqliteConnection;

use super::{Error, Registry, ServiceShape};
use crate::catalog::Digest;

impl Registry {
    /// All shapes that services have had, each once, by service and then in the order in which they were first applied.
    pub async fn service_shapes(&self) -> Result<Vec<ServiceShape>, Error> {
        let rows = sqlx::query_as(
            "SELECT service, service_shapes.shape FROM
                (SELECT service, shape AS digest, min(version) AS first FROM version_services GROUP BY service, shape)
             JOIN service_shapes USING (digest) ORDER BY service, first",
        );
        let rows: Vec<(String, String)> =
            rows.fetch_all(&self.pool).await.map_err(|error| self.describe("reading the services", error))?;
        Ok(rows.into_iter().map(|(service, shape)| ServiceShape { service, shape }).collect())
    }

    /// The versions that were recorded without their services, oldest first.
    pub async fn versions_without_services(&self) -> Result<Vec<u64>, Error> {
        let numbers = sqlx::query_scalar("SELECT number FROM versions WHERE has_services = 0 ORDER BY number");
        let numbers: Vec<i64> =
            numbers.fetch_all(&self.pool).await.map_err(|error| self.describe("reading the versions", error))?;
        Ok(numbers.into_iter().map(i64::unsigned_abs).collect())
    }

    /// Adds the services to a version that was recorded without them. Adding them again changes nothing.
    pub async fn add_services(&self, version: u64, services: &[ServiceShape]) -> Result<(), Error> {
        let adding = |error| self.describe("adding services to a version", error);
        let Ok(version) = i64::try_from(version) else { return Ok(()) };
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(adding)?;
        insert_services(&mut transaction, version, services).await.map_err(adding)?;
        transaction.commit().await.map_err(adding)
    }
}

pub(super) async fn insert_services(
    connection: &mut SqliteConnection,
    version: i64,
    services: &[ServiceShape],
) -> Result<(), sqlx::Error> {
    for ServiceShape { service, shape } in services {
        let digest = Digest::of(shape.as_bytes()).0.to_vec();
        let keep = sqlx::query("INSERT INTO service_shapes (digest, shape) VALUES (?, ?) ON CONFLICT DO NOTHING");
        keep.bind(digest.clone()).bind(shape).execute(&mut *connection).await?;
        let insert = sqlx::query(
            "INSERT INTO version_services (service, version, shape) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        );
        insert.bind(service).bind(version).bind(digest).execute(&mut *connection).await?;
    }
    let mark = sqlx::query("UPDATE versions SET has_services = 1 WHERE number = ?").bind(version);
    mark.execute(connection).await?;
    Ok(())
}
