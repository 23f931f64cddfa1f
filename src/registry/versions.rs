//! Versions: recorded whole or not at all, numbered without gaps, read back with plugin bytes that fit their digests.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::services::insert_services;
use super::{DefinitionFile, Error, NewVersion, PluginFile, PluginTexts, Recorded, Registry, Version, VersionSummary};
use crate::catalog::Digest;

impl Registry {
    /// Records a version under the next number. When the latest version has the same hash, that one is answered.
    pub async fn record(&self, new: NewVersion) -> Result<Version, Error> {
        if let Some(plugin) = new.plugins.iter().find(|plugin| Digest::of(&plugin.bytes) != plugin.digest) {
            return Err(Error::WrongDigest { name: plugin.name.clone() });
        }
        self.record_checked(&new).await.map_err(|error| self.describe("recording a version", error))
    }

    /// The version that was recorded last; nothing before the first.
    pub async fn latest(&self) -> Result<Option<Recorded>, Error> {
        match self.latest_number().await? {
            Some(number) => self.version(number).await,
            None => Ok(None),
        }
    }

    /// The number of the version that was recorded last; cheap enough to be asked every second.
    pub async fn latest_number(&self) -> Result<Option<u64>, Error> {
        let number = sqlx::query_scalar::<_, Option<i64>>("SELECT max(number) FROM versions").fetch_one(&self.pool);
        let number = number.await.map_err(|error| self.describe("reading the latest version", error))?;
        Ok(number.map(i64::unsigned_abs))
    }

    /// The version with this number, if there is one. Versions never change, so its parts need no transaction.
    pub async fn version(&self, number: u64) -> Result<Option<Recorded>, Error> {
        let reading = |error| self.describe("reading a version", error);
        let Ok(id) = i64::try_from(number) else { return Ok(None) };
        let row = sqlx::query("SELECT * FROM versions WHERE number = ?").bind(id).fetch_optional(&self.pool);
        let Some(row) = row.await.map_err(reading)? else { return Ok(None) };
        let summary = self.summary_of(&row)?;
        let definitions = sqlx::query_as("SELECT name, text FROM definitions WHERE version = ? ORDER BY position");
        let definitions: Vec<(String, String)> = definitions.bind(id).fetch_all(&self.pool).await.map_err(reading)?;
        Ok(Some(Recorded {
            number,
            project: row.try_get("project").map_err(reading)?,
            catalog_hash: summary.catalog_hash,
            applied_by: summary.applied_by,
            applied_at: summary.applied_at,
            definitions: definitions.into_iter().map(|(name, text)| DefinitionFile { name, text }).collect(),
            plugins: self.plugins_of(id).await?,
            summary: summary.summary,
        }))
    }

    /// All versions, newest first.
    pub async fn history(&self) -> Result<Vec<VersionSummary>, Error> {
        let rows = sqlx::query("SELECT * FROM versions ORDER BY number DESC").fetch_all(&self.pool);
        let rows = rows.await.map_err(|error| self.describe("reading the history", error))?;
        rows.iter().map(|row| self.summary_of(row)).collect()
    }

    /// The bytes of a plugin that some version used.
    pub async fn plugin(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let bytes = sqlx::query_scalar("SELECT bytes FROM plugins WHERE digest = ?").bind(digest.0.to_vec());
        let bytes: Option<Vec<u8>> =
            bytes.fetch_optional(&self.pool).await.map_err(|error| self.describe("reading a plugin", error))?;
        match bytes {
            Some(bytes) if Digest::of(&bytes) != digest => Err(self.damaged_plugin(&digest.to_string())),
            other => Ok(other),
        }
    }

    /// The builds of a plugin that versions used under this name and whose digests, in hex, begin so; with their bytes.
    pub async fn plugins_that_begin(&self, name: &str, begin: &str) -> Result<Vec<(Digest, Vec<u8>)>, Error> {
        let found = sqlx::query_as(
            "SELECT bytes FROM plugins WHERE digest IN (SELECT digest FROM version_plugins WHERE name = ?1)
             AND substr(lower(hex(digest)), 1, length(?2)) = lower(?2) LIMIT 2",
        );
        let found: Vec<(Vec<u8>,)> = found
            .bind(name)
            .bind(begin)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.describe("looking for a build of a plugin", error))?;
        Ok(found.into_iter().map(|(bytes,)| (Digest::of(&bytes), bytes)).collect())
    }

    /// What came beside the plugin with this digest; nothing of one that nobody recorded.
    pub async fn plugin_texts(&self, digest: Digest) -> Result<PluginTexts, Error> {
        let texts = sqlx::query_as("SELECT signature, goldens, report FROM plugins WHERE digest = ?");
        let texts: Option<(Option<String>, Option<String>, Option<String>)> = texts
            .bind(digest.0.to_vec())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.describe("reading what came beside a plugin", error))?;
        let (signature, goldens, report) = texts.unwrap_or_default();
        Ok(PluginTexts { signature, goldens, report })
    }

    async fn record_checked(&self, new: &NewVersion) -> Result<Version, sqlx::Error> {
        // Immediate, so that no one else records between the look at the latest number and our own.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let latest = sqlx::query_as("SELECT number, catalog_hash FROM versions ORDER BY number DESC LIMIT 1");
        let latest: Option<(i64, Vec<u8>)> = latest.fetch_optional(&mut *transaction).await?;
        let number = match latest {
            Some((number, hash)) if hash == new.catalog_hash.0 => {
                // The same bytes may have been signed since.
                for plugin in &new.plugins {
                    keep_plugin(&mut transaction, plugin).await?;
                }
                transaction.commit().await?;
                return Ok(Version { number: number.unsigned_abs(), unchanged: true });
            }
            Some((number, _)) => number + 1,
            None => 1,
        };
        insert_version(&mut transaction, number, new).await?;
        for (position, file) in (0_i64..).zip(&new.definitions) {
            let insert = sqlx::query("INSERT INTO definitions (version, position, name, text) VALUES (?, ?, ?, ?)");
            insert.bind(number).bind(position).bind(&file.name).bind(&file.text).execute(&mut *transaction).await?;
        }
        for (position, plugin) in (0_i64..).zip(&new.plugins) {
            insert_plugin(&mut transaction, number, position, plugin).await?;
        }
        insert_services(&mut transaction, number, &new.services).await?;
        transaction.commit().await?;
        Ok(Version { number: number.unsigned_abs(), unchanged: false })
    }

    async fn plugins_of(&self, version: i64) -> Result<Vec<PluginFile>, Error> {
        let rows = sqlx::query_as(
            "SELECT name, digest, bytes, signature, goldens, report FROM version_plugins JOIN plugins USING (digest)
             WHERE version = ? ORDER BY position",
        );
        let rows: Vec<PluginRow> = rows
            .bind(version)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.describe("reading the plugins of a version", error))?;
        let plugin = |(name, digest, bytes, signature, goldens, report): PluginRow| match Digest::of(&bytes) {
            is if is.0[..] == digest[..] => {
                Ok(PluginFile { name, digest: is, bytes, beside: PluginTexts { signature, goldens, report } })
            }
            _ => Err(self.damaged_plugin(&name)),
        };
        rows.into_iter().map(plugin).collect()
    }

    fn summary_of(&self, row: &SqliteRow) -> Result<VersionSummary, Error> {
        let reading = |error| self.describe("reading a version", error);
        let number: i64 = row.try_get("number").map_err(reading)?;
        let hash: Vec<u8> = row.try_get("catalog_hash").map_err(reading)?;
        let summary: String = row.try_get("summary").map_err(reading)?;
        Ok(VersionSummary {
            number: number.unsigned_abs(),
            catalog_hash: hash.try_into().map(Digest).map_err(|_| self.damaged("a catalog hash is not 32 bytes"))?,
            applied_by: row.try_get("applied_by").map_err(reading)?,
            applied_at: row.try_get("applied_at").map_err(reading)?,
            summary: serde_json::from_str(&summary).map_err(|error| self.damaged(format!("a summary: {error}")))?,
        })
    }

    fn damaged_plugin(&self, plugin: &str) -> Error {
        self.damaged(format!("the stored bytes of plugin {plugin} do not have its digest; apply it again"))
    }
}

/// Name, digest, bytes, signature, golden cases and report of a plugin.
type PluginRow = (String, Vec<u8>, Vec<u8>, Option<String>, Option<String>, Option<String>);

async fn insert_version(connection: &mut SqliteConnection, number: i64, new: &NewVersion) -> Result<(), sqlx::Error> {
    let insert = sqlx::query(
        "INSERT INTO versions (number, project, catalog_hash, applied_by, applied_at, summary)
         VALUES (?, ?, ?, ?, ?, ?)",
    );
    let insert = insert.bind(number).bind(&new.project).bind(new.catalog_hash.0.to_vec());
    let summary = serde_json::Value::from(new.summary.clone()).to_string();
    insert.bind(&new.applied_by).bind(new.applied_at).bind(summary).execute(connection).await?;
    Ok(())
}

/// Bytes are kept once by digest. Should those that are there be damaged, the new ones replace them; what came beside
/// them stays where nothing new came.
pub(super) async fn keep_plugin(connection: &mut SqliteConnection, plugin: &PluginFile) -> Result<(), sqlx::Error> {
    let keep = sqlx::query(
        "INSERT INTO plugins (digest, bytes, signature, goldens, report) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (digest) DO UPDATE SET
            bytes = excluded.bytes,
            signature = coalesce(excluded.signature, signature),
            goldens = coalesce(excluded.goldens, goldens),
            report = coalesce(excluded.report, report)
         WHERE bytes <> excluded.bytes OR coalesce(excluded.signature, excluded.goldens, excluded.report) IS NOT NULL",
    );
    let PluginTexts { signature, goldens, report } = &plugin.beside;
    let keep = keep.bind(plugin.digest.0.to_vec()).bind(&plugin.bytes).bind(signature).bind(goldens).bind(report);
    keep.execute(connection).await?;
    Ok(())
}

async fn insert_plugin(
    connection: &mut SqliteConnection,
    version: i64,
    position: i64,
    plugin: &PluginFile,
) -> Result<(), sqlx::Error> {
    let digest = plugin.digest.0.to_vec();
    keep_plugin(&mut *connection, plugin).await?;
    let insert = sqlx::query("INSERT INTO version_plugins (version, position, name, digest) VALUES (?, ?, ?, ?)");
    insert.bind(version).bind(position).bind(&plugin.name).bind(digest).execute(connection).await?;
    Ok(())
}
