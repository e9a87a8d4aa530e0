//! Plain TCP: accepts connections and spreads them over the workers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

use crate::gateway::Gateway;
use crate::worker::Accepted;

/// Connections that may wait in the kernel for being accepted.
const BACKLOG: u32 = 1024;
/// When the process has no more file descriptors, accepting is tried again after so long.
const PAUSE: Duration = Duration::from_millis(50);

/// Opens the socket that devices connect to.
///
/// # Errors
/// The address is taken, or not ours.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the gateway stops; each worker gets its turn.
pub async fn accept(gateway: Arc<Gateway>, listener: TcpListener, workers: Vec<mpsc::Sender<Accepted>>) {
    for worker in workers.iter().cycle() {
        let (stream, peer) = tokio::select! { // accept is cancel-safe
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("accepting a connection failed: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            () = gateway.stop.cancelled() => return,
        };
        let Some(guard) = gateway.admit() else {
            metrics::counter!("tidegate_connects_total", "result" => "too-many").increment(1);
            tracing::warn!(%peer, "closed: max_connections = {} is reached", gateway.settings.max_connections);
            continue;
        };
        // Small answers must not wait for more to come.
        let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
        match stream {
            Ok(stream) => {
                if worker.send(Accepted { stream, peer, guard }).await.is_err() {
                    return; // the workers end only when the gateway stops
                }
            }
            Err(error) => tracing::warn!(%peer, "socket cannot be served: {error}"),
        }
    }
}
