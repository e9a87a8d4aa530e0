//! The admin API from the outside.

use std::net::SocketAddr;

use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request};
use ureq::{Agent, SendBody};

use crate::wait::DEADLINE;

/// Talks to one gateway. By default to none.
#[derive(Debug, Clone, Default)]
pub struct Api {
    /// `http://ADDRESS`
    pub url: String,
    /// What it presents; none if empty.
    pub token: String,
}

/// What the API said.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type, without parameters.
    pub content_type: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.body))
    }

    /// The body as JSON if the request succeeded.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.json()
    }

    /// What was wrong, if it was refused with this status in the form that all errors have.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!((self.status, self.content_type.as_str()), (status, "application/problem+json"), "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].is_string(), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl Api {
    /// The API at this address.
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self { url: format!("http://{address}"), token: token.to_owned() }
    }

    /// GET
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, None)
    }

    /// POST
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path, Some(body.to_string()))
    }

    /// PUT
    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.request(Method::PUT, path, Some(body.to_string()))
    }

    /// PATCH
    #[track_caller]
    pub fn patch(&self, path: &str, body: Value) -> Answer {
        self.request(Method::PATCH, path, Some(body.to_string()))
    }

    /// DELETE
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, None)
    }

    /// POST of a file.
    #[track_caller]
    pub fn upload(&self, path: &str, file: Vec<u8>) -> Answer {
        self.send(Method::POST, path, Some(file), "application/wasm")
    }

    /// Any request, with any body.
    #[track_caller]
    pub fn request(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        self.send(method, path, body.map(String::into_bytes), "application/json")
    }

    #[track_caller]
    fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>, content_type: &str) -> Answer {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).build();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if body.is_some() {
            request = request.header("content-type", content_type);
        }
        let body = body.map_or_else(SendBody::none, |body| SendBody::from_owned_reader(std::io::Cursor::new(body)));
        let mut response = Agent::new_with_config(config).run(request.body(body).unwrap()).unwrap();
        let headers = response.headers().clone();
        let content_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        Answer {
            status: response.status().as_u16(),
            content_type: content_type.split(';').next().unwrap().to_owned(),
            headers,
            body: response.body_mut().read_to_string().unwrap(),
        }
    }
}
