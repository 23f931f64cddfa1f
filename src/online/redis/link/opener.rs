//! Opens one connection to a server of Redis: address, encryption, login, database.
//!
//! Connections speak RESP2, whatever the server could: a reply then has one shape everywhere. Only the connection that
//! hears of changes needs RESP3.

use std::path::Path;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates, Value,
};

use super::super::failure::{Failure, Outage};
use super::super::settings::{Address, Login, Mode, Server};
use super::directory::text;
use super::lane::{self, Lane};
use crate::limits;
use crate::online::Error;

/// How every connection of a link is opened.
#[derive(Debug)]
pub(super) struct Opener {
    pub server: Server,
    certificates: Option<TlsCertificates>,
}

impl Opener {
    /// Reads the certificates.
    pub fn new(server: Server) -> Result<Self, Error> {
        let mut certificates = None;
        if server.tls.is_some() {
            // Fails only where the process has chosen its cryptography already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        if let Some(tls) = &server.tls {
            let root_cert = tls.authority.as_ref().map(|path| read(path, "CERTIFICATE")).transpose()?;
            let client_tls = match &tls.client {
                None => None,
                Some(client) => Some(ClientTlsConfig {
                    client_cert: read(&client.certificate, "CERTIFICATE")?,
                    client_key: read(&client.key, "PRIVATE KEY")?,
                }),
            };
            certificates = Some(TlsCertificates { client_tls, root_cert });
        }
        let opener = Self { server, certificates };
        // Whether the certificates can be used shows before the first connection.
        opener.client(&opener.server.addresses[0], &opener.server.login, 0, ProtocolVersion::RESP2)?;
        Ok(opener)
    }

    /// A connection for commands, logged in and in the right database.
    pub async fn open(&self, address: &Address) -> Result<MultiplexedConnection, Failure> {
        let database = i64::from(self.server.database);
        let client = self.client(address, &self.server.login, database, ProtocolVersion::RESP2).map_err(broken)?;
        self.connect(address, &client, self.configuration()).await
    }

    /// A connection on which the server may send on its own.
    pub async fn open_with_pushes(
        &self,
        address: &Address,
        pushes: impl redis::aio::AsyncPushSender,
    ) -> Result<MultiplexedConnection, Failure> {
        let client = self.client(address, &self.server.login, 0, ProtocolVersion::RESP3).map_err(broken)?;
        self.connect(address, &client, self.configuration().set_push_sender(pushes)).await
    }

    /// The fast way to read from a server where a connection for commands was just opened. Encrypted connections have
    /// none: what it saves is little beside what encryption costs.
    pub async fn open_lane(&self, address: &Address) -> Result<Option<Lane>, Failure> {
        if self.server.tls.is_some() {
            return Ok(None);
        }
        let mut commands = Vec::new();
        let Login { username, password } = &self.server.login;
        if let Some(password) = password {
            let mut login = redis::cmd("AUTH");
            commands.push(login.arg(username.as_slice()).arg(password.reveal()).get_packed_command());
        }
        if self.server.database != 0 {
            commands.push(redis::cmd("SELECT").arg(self.server.database).get_packed_command());
        }
        let opening = lane::open(&address.host, address.port, &commands);
        match tokio::time::timeout(self.server.connect_timeout, opening).await {
            Ok(Ok(lane)) => Ok(Some(lane)),
            Ok(Err(error)) => Err(Failure::unreachable(address, Outage::Refused, error.to_string())),
            Err(_) => Err(self.no_connection(address)),
        }
    }

    /// Which server is the primary, in the opinion of one sentinel.
    pub async fn ask_sentinel(&self, sentinel: &Address, master: &str) -> Result<Address, Failure> {
        let nobody = Login::default();
        let login = if let Mode::Sentinel { login, .. } = &self.server.mode { login } else { &nobody };
        let client = self.client(sentinel, login, 0, ProtocolVersion::RESP2).map_err(broken)?;
        let mut connection = self.connect(sentinel, &client, self.configuration()).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let asked = tokio::time::timeout(self.server.response_timeout, connection.send_packed_command(&command)).await;
        match asked {
            Err(_) => Err(Failure::unreachable(sentinel, Outage::Silent, "the sentinel does not answer")),
            Ok(Err(error)) => Err(Failure::of_connection(sentinel, Outage::Broken, &error)),
            Ok(Ok(Value::Array(address))) => match address.as_slice() {
                [host, port] => text(host)
                    .zip(text(port).and_then(|port| port.parse().ok()))
                    .map(|(host, port)| Address::new(host, port)),
                _ => None,
            }
            .ok_or_else(|| Failure::Setup { detail: format!("{sentinel} names no address of {master:?}") }),
            Ok(Ok(Value::Nil)) => {
                let detail = format!("the sentinel {sentinel} knows no primary named {master:?}; correct master");
                Err(Failure::Setup { detail })
            }
            Ok(Ok(Value::ServerError(error)))
                if error.details().is_some_and(|text| text.contains("unknown command")) =>
            {
                Err(Failure::Setup {
                    detail: format!("{sentinel} is not a sentinel; let addresses name the sentinels"),
                })
            }
            Ok(Ok(Value::ServerError(error))) => Err(Failure::of_reply(sentinel, &error)),
            Ok(Ok(_)) => Err(Failure::Setup { detail: format!("{sentinel} does not answer as a sentinel does") }),
        }
    }

    /// Callers bound each request themselves, so the connection has no time limit of its own.
    fn configuration(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(limits::REDIS_QUEUE_MAX)
    }

    async fn connect(
        &self,
        address: &Address,
        client: &Client,
        configuration: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, Failure> {
        let timeout = self.server.connect_timeout;
        let connecting = client.get_multiplexed_async_connection_with_config(&configuration);
        match tokio::time::timeout(timeout, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.to_string().contains("refused to switch database") => {
                let detail = error.detail().unwrap_or_default().to_owned();
                Err(Failure::Setup { detail: format!("{address} has no database {} ({detail})", self.server.database) })
            }
            Ok(Err(error)) => Err(Failure::of_connection(address, Outage::Refused, &error)),
            Err(_) => Err(self.no_connection(address)),
        }
    }

    fn no_connection(&self, address: &Address) -> Failure {
        let waited = crate::document::duration_text(self.server.connect_timeout);
        Failure::unreachable(address, Outage::Refused, format!("no connection within {waited}"))
    }

    fn client(
        &self,
        address: &Address,
        login: &Login,
        database: i64,
        protocol: ProtocolVersion,
    ) -> Result<Client, Error> {
        let mut redis = RedisConnectionInfo::default().set_db(database).set_protocol(protocol);
        if let Some(username) = &login.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = &login.password {
            redis = redis.set_password(password.reveal());
        }
        let host = address.host.to_string();
        let setup = |error: redis::RedisError| Error::Setup { detail: crate::error::chain(&error) };
        let made = match &self.certificates {
            None => {
                let info = ConnectionAddr::Tcp(host, address.port).into_connection_info().map_err(setup)?;
                Client::open(info.set_redis_settings(redis))
            }
            Some(certificates) => {
                let secured = ConnectionAddr::TcpTls { host, port: address.port, insecure: false, tls_params: None };
                let info = secured.into_connection_info().map_err(setup)?;
                Client::build_with_tls(info.set_redis_settings(redis), certificates.clone())
            }
        };
        made.map_err(setup)
    }
}

/// The settings were tried when the link was made; what fails now is the address.
fn broken(error: Error) -> Failure {
    Failure::Setup { detail: error.to_string() }
}

/// A PEM file, which must hold at least one `what`.
fn read(path: &Path, what: &str) -> Result<Vec<u8>, Error> {
    let setup = |detail: String| Error::Setup { detail };
    let text = std::fs::read(path).map_err(|error| setup(format!("{} cannot be read: {error}", path.display())))?;
    let heading = format!("{what}-----");
    match text.windows(heading.len()).any(|part| part == heading.as_bytes()) {
        true => Ok(text),
        false => Err(setup(format!("{} is not a PEM file with a {what}", path.display()))),
    }
}
