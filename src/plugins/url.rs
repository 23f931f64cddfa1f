//! Plugins behind an HTTP address: the same files as in a folder, fetched one by one. There is no list to ask for, so the
//! versions stand in `versions.json`.

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::AUTHORIZATION;
use hyper::{Request, StatusCode};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody, ReqwestConnector};
use semver::Version;

use super::layout::{self, Files};
use super::{Bundle, Error, Login, Place, PluginPlace, Published, Release, is_here, is_host};
use crate::error::chain;
use crate::limits::{PLUGIN_PLACE_CONNECT_TIMEOUT, PLUGIN_PLACE_TIMEOUT};

pub(super) struct UrlPlace {
    url: String,
    place: Place,
    client: HttpClient,
    authorization: Option<String>,
}

/// An address that plugins can be below: without a login in it, which has a place of its own.
pub(super) fn checked(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/.-_~%+".contains(letter);
    match is_host(host) && path.chars().all(is_plain) {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("an address is https:// and a host, such as https://plugins.example.com/team; the login has a \
                      section of its own, plugin_logins"
            .to_owned()),
    }
}

impl UrlPlace {
    pub fn new(url: &str, login: &Login) -> Result<Self, Error> {
        let place = Place::Url(url.to_owned());
        let allow_http = login.allow_http || place.host().is_some_and(is_here);
        let options = ClientOptions::new()
            .with_allow_http(allow_http)
            .with_connect_timeout(PLUGIN_PLACE_CONNECT_TIMEOUT)
            .with_timeout(PLUGIN_PLACE_TIMEOUT);
        let client = ReqwestConnector::default().connect(&options);
        let client = client.map_err(|error| unreachable(&place, chain(&error)))?;
        let basic = |(user, password): &(String, crate::secret::Secret)| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal())))
        };
        Ok(Self { url: url.to_owned(), place, client, authorization: login.user.as_ref().map(basic) })
    }
}

fn unreachable(place: &Place, detail: String) -> Error {
    Error::Unreachable { place: place.to_string(), detail }
}

#[async_trait]
impl Files for UrlPlace {
    async fn read(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, Error> {
        let failed = |error: &(dyn std::error::Error + 'static)| unreachable(&self.place, chain(error));
        let mut request = Request::get(format!("{}/{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(HttpRequestBody::empty()).map_err(|error| failed(&error))?;
        let answer = self.client.execute(request).await.map_err(|error| failed(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let host = self.place.host().unwrap_or_default().to_owned();
                return Err(Error::Denied { place: self.place.to_string(), host });
            }
            status => return Err(unreachable(&self.place, format!("it answers {path} with {status}"))),
        }
        match Limited::new(answer.into_body(), max).collect().await {
            Ok(body) => Ok(Some(body.to_bytes().to_vec())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Error::TooLarge { what: path.to_owned(), place: self.place.to_string(), max })
            }
            Err(error) => Err(unreachable(&self.place, format!("{path} breaks off: {error}"))),
        }
    }

    fn place(&self) -> &Place {
        &self.place
    }
}

#[async_trait]
impl PluginPlace for UrlPlace {
    async fn fetch(&self, name: &str, version: Option<&Version>) -> Result<Bundle, Error> {
        layout::fetch(self, name, version).await
    }

    async fn publish(&self, _: &Release<'_>) -> Result<Published, Error> {
        Err(Error::ReadOnly { place: self.place.to_string() })
    }
}

/// Without the login.
impl fmt::Debug for UrlPlace {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "UrlPlace({})", self.url)
    }
}
