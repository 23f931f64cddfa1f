//! Which builds of plugins run beside the applied ones, for comparison. They are in no version: nobody is answered with
//! them, and they come and go without one.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::versions::keep_plugin;
use super::{Error, PluginFile, Registry, ShadowRecord};
use crate::catalog::Digest;
use crate::clock::Micros;

impl Registry {
    /// Runs a build beside the one of a view, in place of any that runs beside it now.
    pub async fn put_shadow(
        &self,
        view: &str,
        plugin: &PluginFile,
        share: f64,
        by: &str,
        at: Micros,
    ) -> Result<(), Error> {
        if Digest::of(&plugin.bytes) != plugin.digest {
            return Err(Error::WrongDigest { name: plugin.name.clone() });
        }
        let putting = |error| self.describe("recording a shadow", error);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(putting)?;
        keep_plugin(&mut transaction, plugin).await.map_err(putting)?;
        let put = sqlx::query(
            "INSERT INTO shadows (view, plugin, digest, share, started_by, started_at) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (view) DO UPDATE SET plugin = excluded.plugin, digest = excluded.digest,
             share = excluded.share, started_by = excluded.started_by, started_at = excluded.started_at",
        );
        let put = put.bind(view).bind(&plugin.name).bind(plugin.digest.0.to_vec()).bind(share).bind(by).bind(at);
        put.execute(&mut *transaction).await.map_err(putting)?;
        transaction.commit().await.map_err(putting)
    }

    /// Ends the shadow of a view; false where there is none.
    pub async fn drop_shadow(&self, view: &str) -> Result<bool, Error> {
        let dropped = sqlx::query("DELETE FROM shadows WHERE view = ?").bind(view).execute(&self.pool).await;
        Ok(dropped.map_err(|error| self.describe("ending a shadow", error))?.rows_affected() == 1)
    }

    /// All shadows, by view.
    pub async fn shadows(&self) -> Result<Vec<ShadowRecord>, Error> {
        let rows = sqlx::query("SELECT * FROM shadows ORDER BY view").fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.describe("reading the shadows", error))?;
        rows.iter().map(|row| self.shadow_of(row)).collect()
    }

    fn shadow_of(&self, row: &SqliteRow) -> Result<ShadowRecord, Error> {
        let reading = |error| self.describe("reading a shadow", error);
        let digest: Vec<u8> = row.try_get("digest").map_err(reading)?;
        Ok(ShadowRecord {
            view: row.try_get("view").map_err(reading)?,
            plugin: row.try_get("plugin").map_err(reading)?,
            digest: digest
                .try_into()
                .map(Digest)
                .map_err(|_| self.damaged("the digest of a shadow is not 32 bytes"))?,
            share: row.try_get("share").map_err(reading)?,
            started_by: row.try_get("started_by").map_err(reading)?,
            started_at: row.try_get("started_at").map_err(reading)?,
        })
    }
}
