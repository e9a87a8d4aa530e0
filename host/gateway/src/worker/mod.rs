//! A worker: one thread with its own runtime, which owns its connections and its plugin instances (design §1).
//!
//! - this module: the thread
//! - [`connection`]: one socket, from accept to close
//! - [`device`]: who is at its other end; [`end`]: how it ends
//! - [`admit`]: CONNECT: who it is, and what happens before CONNACK
//! - [`drain`]: what is complete in a connection's read buffer, on its way through decoding and commit
//! - [`gather`]: all drains that are ready at once, as one batch for each profile
//! - [`answer`]: requests that the host answers itself (spec 12.2)
//! - [`buffers`]: read and write buffers, lent to those who need them now

mod admit;
mod answer;
mod buffers;
mod connection;
mod device;
mod drain;
mod end;
mod gather;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plugins::Pool;
use slab::Slab;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::gateway::{ConnectionGuard, Gateway};
use crate::sessions::{Control, Order};
use buffers::Buffers;
use gather::Gather;

/// How often connections are looked at for time limits that ran out, and idle plugin instances are dropped.
const TICK: Duration = Duration::from_millis(500);
/// Plugin instances that were not called for so long are dropped.
const INSTANCE_IDLE: Duration = Duration::from_secs(60);
/// How many accepted sockets may wait for a worker.
const INBOX: usize = 1024;

/// A socket that was accepted.
pub struct Accepted {
    /// The socket, not blocking.
    pub stream: TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What counts it.
    pub guard: ConnectionGuard,
}

/// A worker that runs. Ends when the gateway stops and its connections have closed.
pub struct Worker {
    /// Where accepted sockets go.
    pub inbox: mpsc::Sender<Accepted>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(gateway: Arc<Gateway>, index: usize) -> std::io::Result<Self> {
        let (inbox, accepted) = mpsc::channel(INBOX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            LocalSet::new().block_on(&runtime, run(gateway, accepted));
        })?;
        Ok(Self { inbox, thread })
    }

    /// Waits for its end; blocks.
    pub fn join(self) {
        drop(self.inbox);
        if self.thread.join().is_err() {
            tracing::error!("a worker thread panicked");
        }
    }
}

/// What the connections of one worker share. No locks: there is one thread.
struct Local {
    gateway: Arc<Gateway>,
    pool: Pool,
    gather: Gather,
    buffers: Buffers,
    connections: RefCell<Slab<Watched>>,
}

/// What the worker watches of a connection.
struct Watched {
    deadline: Rc<Cell<Option<Instant>>>,
    control: Arc<Control>,
}

async fn run(gateway: Arc<Gateway>, mut accepted: mpsc::Receiver<Accepted>) {
    let local = Rc::new(Local {
        gateway: gateway.clone(),
        pool: Pool::new(),
        gather: Gather::default(),
        buffers: Buffers::default(),
        connections: RefCell::new(Slab::new()),
    });
    tokio::task::spawn_local(gather::run(local.clone()));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! { // each branch only waits; nothing is lost when another one is taken
            socket = accepted.recv() => match socket {
                Some(socket) => drop(tokio::task::spawn_local(connection::serve(local.clone(), socket))),
                None => break,
            },
            _ = tick.tick() => local.tick(),
            () = gateway.stop.cancelled() => break,
        }
    }
    // Sockets that were accepted but not started are closed.
    accepted.close();
    while accepted.recv().await.is_some() {}
    for watched in local.connections.borrow().iter().map(|(_, watched)| watched) {
        watched.control.order(Order::Shutdown);
    }
    while !local.connections.borrow().is_empty() {
        tick.tick().await;
        local.tick();
    }
}

impl Local {
    fn tick(&self) {
        let now = Instant::now();
        for (_, watched) in self.connections.borrow().iter() {
            if watched.deadline.get().is_some_and(|deadline| deadline <= now) {
                watched.control.order(Order::Expire);
            }
        }
        self.pool.sweep(now, INSTANCE_IDLE);
    }

    fn watch(self: &Rc<Self>, deadline: Rc<Cell<Option<Instant>>>, control: Arc<Control>) -> Watch {
        if self.gateway.stop.is_cancelled() {
            control.order(Order::Shutdown);
        }
        let key = self.connections.borrow_mut().insert(Watched { deadline, control });
        Watch { local: self.clone(), key }
    }
}

/// A connection is watched as long as this lives.
struct Watch {
    local: Rc<Local>,
    key: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.local.connections.borrow_mut().try_remove(self.key);
    }
}
