//! One connection to a database: address, encryption, login, and the end of what is under way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::Failure;
use super::settings::Settings;
use crate::limits;
use crate::tls::Tls;

/// Where distributions of Linux and the BSDs keep the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// An open connection. Whoever drops it in the middle of a statement ends the statement, here and at the server.
pub(super) struct Connection {
    client: Client,
    /// The task that talks to the socket.
    driver: AbortHandle,
    tls: Option<MakeRustlsConnect>,
    settings: Arc<Settings>,
    state: State,
}

/// What a connection is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    /// A transaction is open and no statement is under way.
    InTransaction,
    /// A statement is under way.
    Busy,
}

impl Connection {
    pub async fn open(settings: &Arc<Settings>) -> Result<Self, Failure> {
        let opening = timeout(settings.connect_timeout, open(settings)).await;
        opening.unwrap_or_else(|_| Err(Failure::late(settings)))
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn set(&mut self, state: State) {
        self.state = state;
    }

    pub fn is_open(&self) -> bool {
        !self.client.is_closed()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Nobody wants the rest of the answer. Without this the driver would read all of it, and the server compute it.
        if self.state != State::Busy {
            return;
        }
        self.driver.abort();
        let (token, tls) = (self.client.cancel_token(), self.tls.take());
        let limit = self.settings.connect_timeout;
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // A server that cannot be asked to stop notices that nobody listens.
                let _ = match tls {
                    Some(tls) => timeout(limit, token.cancel_query(tls)).await,
                    None => timeout(limit, token.cancel_query(NoTls)).await,
                };
            });
        }
    }
}

async fn open(settings: &Arc<Settings>) -> Result<Connection, Failure> {
    let config = config(settings);
    let tls = match &settings.tls {
        Some(tls) if !settings.is_socket() => Some(MakeRustlsConnect::new(encryption(settings, tls).await?)),
        _ => None,
    };
    let failed = |error| Failure::of(settings, &error);
    let (client, driver) = match &tls {
        Some(tls) => {
            let (client, connection) = config.connect(tls.clone()).await.map_err(failed)?;
            (client, tokio::spawn(connection).abort_handle())
        }
        None => {
            let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
            (client, tokio::spawn(connection).abort_handle())
        }
    };
    Ok(Connection { client, driver, tls, settings: Arc::clone(settings), state: State::Idle })
}

fn config(settings: &Settings) -> Config {
    let mut config = Config::new();
    match settings.is_socket() {
        true => config.host_path(&settings.host),
        false => config.host(&settings.host),
    };
    config
        .port(settings.port)
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name("lockstep")
        .connect_timeout(settings.connect_timeout)
        .keepalives_idle(limits::POSTGRES_KEEPALIVE)
        .keepalives_interval(limits::POSTGRES_KEEPALIVE / 3)
        .keepalives_retries(3)
        .tcp_user_timeout(limits::POSTGRES_SILENCE_MAX)
        .ssl_mode(match settings.tls {
            Some(_) if !settings.is_socket() => SslMode::Require,
            _ => SslMode::Disable,
        });
    if let Some(password) = &settings.password {
        config.password(password.reveal());
    }
    config
}

async fn encryption(settings: &Settings, tls: &Tls) -> Result<ClientConfig, Failure> {
    let mut authorities = RootCertStore::empty();
    let authority = match &tls.authority {
        Some(path) => path.clone(),
        None => system_authorities(settings)?,
    };
    for certificate in certificates(settings, &authority).await? {
        // A bundle may hold what nobody can use; whether anybody vouches for the server shows at the handshake.
        let _ = authorities.add(certificate);
    }
    if authorities.is_empty() {
        return Err(Failure::lost(settings, &format!("{} has no certificate of an authority", authority.display())));
    }
    let wrong = |error: rustls::Error| Failure::lost(settings, &error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(wrong)?;
    let config = config.with_root_certificates(authorities);
    let Some(client) = &tls.client else { return Ok(config.with_no_client_auth()) };
    let chain = certificates(settings, &client.certificate).await?;
    let key = PrivateKeyDer::from_pem_slice(&read(settings, &client.key).await?)
        .map_err(|error| Failure::lost(settings, &format!("{} is no key: {error}", client.key.display())))?;
    config.with_client_auth_cert(chain, key).map_err(wrong)
}

fn system_authorities(settings: &Settings) -> Result<PathBuf, Failure> {
    let found = SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| {
        let detail = "this system keeps no authorities where they are looked for; name a file under tls: {ca: …}";
        Failure::lost(settings, detail)
    })
}

async fn certificates(settings: &Settings, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = read(settings, path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    certificates.map_err(|error| Failure::lost(settings, &format!("{} is no certificate: {error}", path.display())))
}

async fn read(settings: &Settings, path: &Path) -> Result<Vec<u8>, Failure> {
    tokio::fs::read(path).await.map_err(|error| Failure::file(settings, path, &error))
}
