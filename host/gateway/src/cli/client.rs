//! The admin API from the other side.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::{Method, Request, StatusCode};
use ureq::{Agent, SendBody};

use crate::admin::token::{ADDRESS_FILE, TOKEN_FILE};

/// Talks to one gateway.
pub(super) struct Client {
    url: String,
    token: String,
    agent: Agent,
}

/// A problem as the API tells it.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    oldest: Option<String>,
}

/// An answer other than success.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    detail: String,
    /// With 410: where reading can go on.
    pub(super) oldest: Option<String>,
}

impl Client {
    pub(super) fn new(url: &str, token: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(90)));
        Self { url: url.trim_end_matches('/').to_owned(), token: token.to_owned(), agent: config.build().into() }
    }

    /// The gateway of a data folder, which says there how to reach it.
    pub(super) fn find(data: &Path, url: Option<&str>, token: Option<&str>) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = data.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!("{}: is a gateway running on this data folder? Name another one with --data", path.display())
            })?;
            anyhow::Ok(text.trim().to_owned())
        };
        let url = match url {
            Some(url) => url.to_owned(),
            None => format!("http://{}", read(ADDRESS_FILE)?),
        };
        let token = match token {
            Some(token) => token.to_owned(),
            None => read(TOKEN_FILE)?,
        };
        Ok(Self::new(&url, &token))
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.request(Method::GET, path, SendBody::none())
    }

    pub(super) fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.request::<serde_json::Value>(Method::DELETE, path, SendBody::none()).map(drop)
    }

    pub(super) fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.request(method, path, SendBody::from_json(body)?)
    }

    fn request<T: DeserializeOwned>(&self, method: Method, path: &str, body: SendBody<'_>) -> anyhow::Result<T> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body)?;
        let mut response =
            self.agent.run(request).with_context(|| format!("no answer from {}: is the gateway running?", self.url))?;
        let status = response.status();
        let text = response.body_mut().read_to_string()?;
        if status.is_success() {
            return serde_json::from_str(&text).with_context(|| format!("{} did not answer as expected", self.url));
        }
        match serde_json::from_str::<Problem>(&text) {
            Ok(Problem { detail, oldest }) => bail!(Refused { status, detail, oldest }),
            Err(_) => bail!("{} answered {status}: {}", self.url, text.trim()),
        }
    }
}

/// A path segment or query value of arbitrary text.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_may_contain_anything() {
        assert_eq!(super::escape("a b/ü%?"), "a%20b%2F%C3%BC%25%3F");
    }
}
