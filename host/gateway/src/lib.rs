//! tidegate, a device gateway.
//!
//! Devices speak MQTT to it; it decides who they are, has their payloads decoded by plugins, stores the events durably,
//! acknowledges, and hands the events on.
//!
//! ```text
//! socket ─▶ worker::connection ─▶ mqtt::Session ─▶ route ─▶ worker::gather ─▶ plugins ─▶ platform::log
//!                  ▲                                              │ committed
//!                  └──────── PUBACK, then that message's answer ◀─┘
//! ```
//!
//! - [`cli`]: the command line
//! - [`config`]: settings of the host
//! - [`server`]: from start to stop
//! - [`gateway`]: what all parts of a running gateway share
//! - [`listen`], [`worker`]: sockets, and the threads that serve them
//! - [`auth`]: who a CONNECT comes from
//! - [`route`]: what a topic means
//! - [`profile`]: device profiles and their reload
//! - [`sessions`]: who is connected
//! - [`events`], [`json`]: events that the host makes itself, and events as JSON
//! - [`admin`]: the HTTP API
//! - [`logging`]: what the gateway says about itself
#![forbid(unsafe_code)]

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod events;
pub mod gateway;
pub mod json;
pub mod listen;
pub mod logging;
pub mod profile;
pub mod route;
pub mod server;
pub mod sessions;
pub mod worker;
