//! One socket, from accept to close.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use model::Body;
use model::event::Disconnected;
use mqtt::codec::Connect;
use mqtt::outcome::Policy;
use mqtt::session;
use mqtt::{Close, ReasonCode, Request, Session, Situation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::admit::{self, Admitted, Refused};
use super::device::Device;
use super::drain::{Drain, Message};
use super::end::End;
use super::{Accepted, Local, Watch, buffers};
use crate::profile::Profile;
use crate::sessions::{Control, Order};
use crate::{events, gateway};

/// After the last packet, what the peer still sends is read and thrown away for so long. Closing with unread bytes would
/// reset the connection, and the peer might never see why.
const LINGER: Duration = Duration::from_millis(500);

/// Serves a socket until it is closed.
pub(super) async fn serve(local: Rc<Local>, accepted: Accepted) {
    let Accepted { stream, peer, guard } = accepted;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%peer, "socket cannot be served: {error}"),
    };
    let control = Arc::new(Control::default());
    let deadline = Rc::new(Cell::new(None));
    let watch = local.watch(deadline.clone(), control.clone());
    let mut connection = Connection {
        session: Session::new(local.gateway.mqtt.clone(), Instant::now()),
        buffer: BytesMut::new(),
        out: BytesMut::new(),
        device: None,
        deadline,
        control,
        stream,
        peer,
        local,
    };
    let end = connection.run().await;
    Box::pin(connection.finish(end, watch)).await;
    drop(guard);
}

struct Connection {
    local: Rc<Local>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    session: Session,
    /// Bytes that were read and not taken yet. Without capacity while there are none.
    buffer: BytesMut,
    /// Bytes to be written. Without capacity while there are none.
    out: BytesMut,
    device: Option<Box<Device>>,
    /// For the worker's tick.
    deadline: Rc<Cell<Option<Instant>>>,
    control: Arc<Control>,
}

/// What stopped the taking of packets from the buffer.
enum Stop {
    /// There is no further whole packet in it.
    Empty,
    /// As many messages as may be processed at once.
    Full,
    /// CONNECT.
    Connect(Box<Connect>),
    /// The client said goodbye, or broke a rule.
    End(End),
}

impl Connection {
    async fn run(&mut self) -> End {
        loop {
            // A client whose socket always has bytes never makes this connection wait for an order.
            if let Some(order) = self.control.order_to_end() {
                return End::order(order);
            }
            match self.take().await {
                Ok(Stop::Full) => {}
                Ok(Stop::Empty) => {
                    if let Err(end) = self.read().await {
                        return end;
                    }
                }
                Ok(Stop::Connect(connect)) => {
                    if let Err(end) = Box::pin(self.connect(connect)).await {
                        return end;
                    }
                }
                Ok(Stop::End(end)) | Err(end) => return end,
            }
        }
    }

    /// Takes what is complete in the buffer, sees it through, and writes all that is to be said to it in one go.
    async fn take(&mut self) -> Result<Stop, End> {
        if let Some(device) = &mut self.device {
            device.refresh(&self.local, &mut self.session);
        }
        let mut batch = Batch::default();
        let stop = self.parse(&mut batch);
        let settled = if batch.messages.is_empty() {
            self.out.unsplit(batch.replies);
            // Nothing else here lets the other connections have the worker as long as the socket has bytes.
            tokio::task::yield_now().await;
            Ok(())
        } else {
            self.settle(batch).await
        };
        self.flush().await?;
        settled.map(|()| stop)
    }

    fn parse(&mut self, batch: &mut Batch) -> Stop {
        let now = Instant::now();
        let most = usize::from(self.local.gateway.settings.max_inflight);
        let start = self.buffer.as_ptr() as usize;
        let mut taken = 0;
        let mut payloads = Vec::new();
        let stop = loop {
            // One more than may be unsettled: so a v5 client that sends more is found out (spec 18.4).
            if batch.messages.len() > most {
                break Stop::Full;
            }
            let (packet, length) = match self.session.decode(&self.buffer[taken..]) {
                Ok(Some(decoded)) => decoded,
                Ok(None) => break Stop::Empty,
                Err(close) => break Stop::End(close.into()),
            };
            match self.session.receive(packet, now, &mut batch.replies) {
                Ok(Request::None | Request::Acknowledged { .. }) => {}
                Ok(Request::Subscribed { refused }) => {
                    if let Some(device) = &self.device {
                        device.report_subscriptions(&refused);
                    }
                }
                Ok(Request::Publish(inbound)) => {
                    let Some(device) = &mut self.device else {
                        break Stop::End(End::lost("a message before the device was known"));
                    };
                    let at = inbound.payload.as_ptr() as usize - start;
                    payloads.push(at..at + inbound.payload.len());
                    batch.messages.push(device.message(&inbound));
                    batch.replies_before.push(batch.replies.len());
                }
                Ok(Request::Authenticate(connect)) => {
                    taken += length;
                    break Stop::Connect(connect);
                }
                Ok(Request::Disconnect { code, reason, .. }) => {
                    break Stop::End(End::client(code, reason));
                }
                Err(close) => break Stop::End(close.into()),
            }
            taken += length;
        };
        let chunk = self.buffer.split_to(taken).freeze();
        for (message, payload) in batch.messages.iter_mut().zip(payloads) {
            message.payload = chunk.slice(payload);
        }
        stop
    }

    /// Sends a drain through the pipeline, and appends to `out` what became of it, in packet order (spec 4.2, 4.3).
    ///
    /// Nothing here is cancelled: what was submitted completes even if the socket is gone (design §1).
    async fn settle(&mut self, batch: Batch) -> Result<(), End> {
        let Batch { messages, replies, replies_before } = batch;
        let Some(device) = &mut self.device else { return Ok(()) };
        let (settled, outcome) = oneshot::channel();
        self.session.pause(Instant::now());
        self.local.gather.submit(Drain {
            origin: device.live.origin.clone(),
            profile: device.profile.clone(),
            received: gateway::now(),
            messages,
            version: device.version,
            policy: policy(&self.local, &device.profile),
            is_gateway: device.is_gateway,
            failures: device.failures,
            settled,
        });
        let outcomes = outcome.await;
        self.session.resume(Instant::now());
        let Ok(outcomes) = outcomes else {
            // The worker is being torn down, or a bug; the client was told nothing and will send again.
            return Err(Close::new(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, "processing was interrupted").into());
        };
        self.out = self.local.buffers.take();
        let mut replied = 0;
        for (before, settled) in replies_before.into_iter().zip(outcomes) {
            self.out.extend_from_slice(&replies[replied..before]);
            replied = before;
            let failed = settled.outcome.situation == Situation::ConverterFailed;
            device.report(&settled);
            self.session.settle(settled.ticket, &settled.outcome, &mut self.out)?;
            if let Some(answer) = settled.answer {
                let qos = self.session.qos_for(&answer.topic);
                let message = session::Downlink { topic: &answer.topic, payload: &answer.payload, qos, retain: false };
                if let Err(error) = self.session.send(message, &mut self.out) {
                    metrics::counter!("tidegate_downlinks_dropped_total").increment(1);
                    tracing::info!(device = device.live.origin.name, topic = answer.topic, "answer dropped: {error}");
                }
            }
            // Spec 4.3, last row: `converter_failures_close`.
            device.failures = if failed { device.failures.saturating_add(1) } else { 0 };
            let limit = self.local.gateway.settings.converter_failures_close;
            if limit > 0 && device.failures >= limit {
                let reason = format!("the converter failed on {limit} messages in a row");
                return Err(Close::new(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, reason).into());
            }
        }
        self.out.extend_from_slice(&replies[replied..]);
        Ok(())
    }

    /// CONNECT: asks who it is, while the packets behind it are counted (spec 2.1).
    async fn connect(&mut self, connect: Box<Connect>) -> Result<(), End> {
        let version = connect.version;
        let admission = admit::admit(self.local.gateway.clone(), connect, self.peer, self.control.clone());
        let mut admission = std::pin::pin!(admission);
        // What came in one piece with CONNECT counts as well.
        let mut overflow = self.session.decode(&self.buffer).err().map(End::from);
        let mut open = true;
        let admitted = loop {
            let room = open && overflow.is_none() && self.buffer.len() < self.session.buffer_limit();
            tokio::select! { // the admission is only borrowed, and reading loses nothing when it is cancelled
                biased;
                admitted = &mut admission => break admitted,
                read = read_more(&self.stream, &mut self.buffer), if room => {
                    match read {
                        Ok(()) => overflow = self.session.decode(&self.buffer).err().map(End::from),
                        // What it sent before it left counts nevertheless (spec 2.1); its end is found again behind that.
                        Err(_) => open = false,
                    }
                }
            }
        };
        self.out = self.local.buffers.take();
        match admitted {
            Ok(Admitted { live, profile, generation, kind, is_gateway }) => {
                let (rules, client_id) = (profile.rules.clone(), live.client_id.clone());
                let device = Device { profile, generation, is_gateway, version, failures: 0, last: None, live };
                self.device = Some(Box::new(device));
                if let Some(end) = overflow {
                    return Err(end);
                }
                let accepted = session::Accepted { kind, rules, client_id: &client_id };
                self.session.accept(accepted, Instant::now(), &mut self.out)?;
                self.flush().await
            }
            Err(Refused { refusal, reason }) => {
                self.session.refuse(refusal, reason, &mut self.out);
                Err(End { cause: "refused", close: None, detail: reason.to_owned() })
            }
        }
    }

    /// Waits for bytes, or for an order, or for a time limit.
    async fn read(&mut self) -> Result<(), End> {
        loop {
            self.flush().await?;
            if self.buffer.capacity() < buffers::SIZE {
                let rest = std::mem::replace(&mut self.buffer, self.local.buffers.take());
                self.buffer.extend_from_slice(&rest);
            } else {
                self.buffer.reserve(buffers::SIZE / 2);
            }
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(End::lost("the peer closed the connection")),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(End::lost(error)),
            }
            // It may take hours until something comes; so keep no more than what is there. A long packet in the making
            // keeps its buffer: copying it for each segment would cost more.
            if self.buffer.len() < buffers::SIZE / 4 {
                let whole = std::mem::take(&mut self.buffer);
                if !whole.is_empty() {
                    self.buffer = BytesMut::from(&whole[..]);
                }
                self.local.buffers.give_back(whole);
            }
            self.deadline.set(self.session.deadline());
            let order = poll_fn(|context| self.poll_readable_or_order(context)).await?;
            match order {
                None => {}
                Some(Order::Expire) => self.session.expire(Instant::now())?,
                Some(order) => return Err(End::order(order)),
            }
        }
    }

    fn poll_readable_or_order(&self, context: &mut Context<'_>) -> Poll<Result<Option<Order>, End>> {
        if let Poll::Ready(order) = self.control.poll_order(context) {
            return Poll::Ready(Ok(Some(order)));
        }
        self.stream.poll_read_ready(context).map(|ready| ready.map(|()| None).map_err(End::lost))
    }

    /// Writes `out`. Gives up when the socket takes nothing for `write_timeout`, or when the connection is to end.
    async fn flush(&mut self) -> Result<(), End> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(written) => self.out.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(End::lost(error)),
            }
        }
        if self.out.capacity() > 0 {
            self.local.buffers.give_back(std::mem::take(&mut self.out));
        }
        Ok(())
    }

    async fn writable(&mut self) -> Result<(), End> {
        self.session.pause(Instant::now());
        let limit = self.local.gateway.settings.write_timeout.0;
        let ready = poll_fn(|context| match self.control.poll_order(context) {
            // A time limit of reading says nothing about writing.
            Poll::Ready(Order::Expire) | Poll::Pending => self.stream.poll_write_ready(context).map_err(End::lost),
            Poll::Ready(order) => Poll::Ready(Err(End::order(order))),
        });
        let ready = timeout(limit, ready).await.unwrap_or_else(|_| {
            let close = Close::new(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, "the client does not read");
            Err(End { cause: "write-timeout", detail: close.to_string(), close: Some(close) })
        });
        self.session.resume(Instant::now());
        ready
    }

    /// The last event, the last packet, the end of the socket; in this order, so that a successor need not wait for a
    /// client that does not read.
    async fn finish(&mut self, end: End, watch: Watch) {
        let End { cause, close, detail } = end;
        self.local.buffers.give_back(std::mem::take(&mut self.buffer));
        let code = close.as_ref().map_or(ReasonCode::SUCCESS, |close| close.code);
        // Spec 19. Without a profile: who it was is not known.
        let profile = self.device.as_ref().map_or_else(String::new, |device| device.live.origin.profile.clone());
        metrics::counter!("tidegate_disconnects_total", "profile" => profile, "cause" => cause).increment(1);
        if let Some(device) = self.device.take() {
            tracing::info!(device = device.live.origin.name, peer = %self.peer, cause, %code, detail, "disconnected");
            let body = Body::Disconnected(Disconnected { cause: cause.to_owned(), detail });
            if let Err(error) = events::record(&*self.local.gateway.log, &device.live.origin, body).await {
                tracing::error!(device = device.live.origin.name, "disconnect not recorded: {error}");
            }
        } else {
            tracing::info!(peer = %self.peer, cause, %code, detail, "closed before CONNACK");
        }
        if let Some(close) = &close {
            self.session.close(close, &mut self.out);
        }
        let told = !self.out.is_empty();
        let limit = self.local.gateway.settings.write_timeout.0.min(Duration::from_secs(5));
        let _ = timeout(limit, async {
            while !self.out.is_empty() {
                match self.stream.try_write(&self.out) {
                    Ok(written) => self.out.advance(written),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.writable().await?,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })
        .await;
        if told || close.is_some() {
            let _ = timeout(LINGER, linger(&mut self.stream)).await;
        }
        // From now on the worker may end.
        drop(watch);
    }
}

/// A drain in the making.
#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    /// Replies to other packets.
    replies: BytesMut,
    /// For each message, how much of `replies` goes out before what is said about it.
    replies_before: Vec<usize>,
}

fn policy(local: &Local, profile: &Profile) -> Policy {
    Policy { ack_on_error: profile.rules.ack_on_error, ack_invalid_topic: local.gateway.mqtt.ack_v3_invalid_topic }
}

async fn read_more(stream: &TcpStream, buffer: &mut BytesMut) -> Result<(), End> {
    loop {
        stream.readable().await.map_err(End::lost)?;
        buffer.reserve(buffers::SIZE / 4);
        match stream.try_read_buf(buffer) {
            Ok(0) => return Err(End::lost("the peer closed the connection before CONNACK")),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(End::lost(error)),
        }
    }
}

async fn linger(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut scratch = [0; 512];
    stream.shutdown().await?;
    while stream.read(&mut scratch).await? > 0 {}
    Ok(())
}
