//! The admin listener: `/healthz` says whether this broker does its work, `/metrics` how.
//!
//! An operator may order an unclean election ([`elect`]).
//!
//! The first two read what others publish (images, views, atomics) and take no lock that the data
//! path takes.

pub mod bounded;
pub mod elect;
pub mod exposition;
mod process;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::watch;

use crate::admin::bounded::BoundedListener;
use crate::admin::exposition::{Exposition, Sources};
use crate::net::{self, TcpListener};

/// What the handlers share.
struct Shared {
    sources: Arc<Sources>,
    registry: Registry,
}

/// The answer of `/healthz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ok` or `unavailable`.
    pub status: &'static str,
    /// This broker.
    pub broker: i32,
    /// Why it is unavailable; empty when it is ok.
    pub why: Vec<String>,
}

/// Serves until `stop` turns true.
pub fn serve(
    socket: TcpListener,
    sources: Arc<Sources>,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition::new(sources.clone())));
    let shared = Arc::new(Shared { sources, registry });
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route(
            "/elect-unclean/{topic}/{partition}/{leader}",
            post(elect::handle),
        )
        .with_state(shared);
    let stopped = async move {
        net::stopped(&mut stop).await;
    };
    async move {
        let served =
            axum::serve(BoundedListener::new(socket), router).with_graceful_shutdown(stopped);
        if let Err(error) = served.await {
            tracing::warn!(%error, "the admin listener ended");
        }
    }
}

/// Whether the broker is of use to clients.
#[must_use]
pub fn health(sources: &Sources) -> Health {
    let mut why = Vec::new();
    let id = sources.context.config.id;
    let image = sources.context.meta.image();
    match image.brokers.get(&id) {
        None => why.push("not registered: the metadata quorum has not answered yet".to_owned()),
        Some(broker) if broker.fenced => {
            why.push("fenced: the controller does not hear its heartbeats".to_owned());
        }
        Some(broker) if broker.in_controlled_shutdown => why.push("stopping".to_owned()),
        Some(_) => {}
    }
    if sources.context.meta.broker_epoch().is_none() {
        why.push("this process has not registered yet".to_owned());
    }
    if sources.store.disk_is_full() {
        why.push("the log cannot be written: the disk is full".to_owned());
    }
    Health {
        status: if why.is_empty() { "ok" } else { "unavailable" },
        broker: id.get(),
        why,
    }
}

async fn healthz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let health = health(&shared.sources);
    let status = match health.why.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = serde_json::to_string(&health).expect("strings and a number");
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let mut body = String::new();
    text::encode(&mut body, &shared.registry).expect("writing into a string does not fail");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], body)
}
