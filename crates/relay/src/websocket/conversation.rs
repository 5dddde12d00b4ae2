//! Relays a WebSocket message by message, each through a gate.
//!
//! Towards either side the gateway is an end of its own: it takes fragments
//! together, checks UTF-8 and sizes, agrees on no extension, and answers pings
//! itself. A ping of one side's therefore says nothing about the other; so the
//! gateway pings whoever is silent, and ends the WebSocket when nothing comes.
//!
//! In each direction one message is under way: the next is read when the last one
//! was judged and taken by the other side, so a slow reader, and a slow plugin,
//! hold the sender back.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{FutureExt as _, Sink as _, Stream as _};
use tidegate_types::{Message, MessageVerdict, Way};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Bytes};

use super::farewell::{Bye, Over};
use super::frames::Frames;
use super::gate::{GateFailed, Judging, Messages};
use super::metered::Metered;
use super::pump::Side;
use crate::stall::Stall;
use crate::{Meters, Target};

/// Read at once. Small: every open WebSocket holds two of these.
const READ: usize = 8 << 10;

/// A message whose buffers are given back when it has passed.
const LONG: usize = 64 << 10;

/// How long an application may take for the answers to a client that broke the
/// protocol.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Steps of one direction before others have their turn; a message takes three.
const TURN: usize = 48;

fn config(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(READ)
        // Room for a message behind the answers to pings. Without a bound, who sends
        // pings and reads nothing would fill the gateway's memory.
        .max_write_buffer_size(max_message.saturating_add(2 * READ))
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}

/// Both ends of a WebSocket, and the gate between them.
pub(crate) struct Conversation<'a, C, S> {
    client: End<'a, C>,
    sandbox: End<'a, S>,
    inward: Direction<'a>,
    outward: Direction<'a>,
    around: Around<'a>,
}

/// What a conversation is judged and counted by.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) messages: &'a Messages,
    /// How long a side may be silent before it is pinged, and after that.
    pub(crate) silence: Duration,
    pub(crate) target: &'a dyn Target,
    pub(crate) meters: &'a Meters,
}

/// One end.
struct End<'a, S> {
    socket: WebSocketStream<Metered<'a, S>>,
    /// Written, perhaps not sent.
    unflushed: bool,
    /// A long message passed, and the buffers that it needed are still there.
    grown: bool,
    /// A close frame was sent: that must not be forgotten.
    closing: bool,
    role: Role,
    max_message: usize,
}

/// One direction.
struct Direction<'a> {
    way: Way,
    step: Step<'a>,
    silence: Stall,
    /// Bytes that had come when it was last looked.
    came: u64,
    pinged: bool,
}

/// What a direction is about to do.
enum Step<'a> {
    Read,
    Judge(Judging<'a>),
    Write(tungstenite::Message),
    /// Written when what stands in the buffer before it was sent.
    WriteAfter(tungstenite::Message),
}

impl<'a, C, S> Conversation<'a, C, S>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) async fn new(client: Side<C>, sandbox: Side<S>, around: Around<'a>) -> Self {
        Self {
            client: End::new(client, Role::Server, Way::ToSandbox, around).await,
            sandbox: End::new(sandbox, Role::Client, Way::ToClient, around).await,
            inward: Direction::new(Way::ToSandbox, around.silence),
            outward: Direction::new(Way::ToClient, around.silence),
            around,
        }
    }

    /// Relays until there is a reason to end; both sides have yet to be told.
    ///
    /// # Cancel safety
    /// Can be dropped and called again: no message is lost.
    pub(crate) async fn relay(&mut self) -> Over {
        let Self { client, sandbox, inward, outward, around } = self;
        poll_fn(|cx| {
            if let Poll::Ready(over) = inward.poll(cx, client, sandbox, *around) {
                return Poll::Ready(over);
            }
            outward.poll(cx, sandbox, client, *around)
        })
        .await
    }

    /// Tells both sides, and sees them off.
    pub(crate) async fn part(mut self, over: Over) {
        let faulty = matches!(over, Over::Fault { by: Way::ToSandbox, .. });
        let (client, mut sandbox) = over.byes();
        if faulty && let Bye::Close(frame) = sandbox {
            self.hear_out(frame).await;
            sandbox = Bye::End;
        }
        tokio::join!(self.client.part(client), self.sandbox.part(sandbox));
    }

    /// Closes the application's side first: a client whose last message breaks the
    /// protocol still gets the answers to those before it.
    async fn hear_out(&mut self, frame: Option<CloseFrame>) {
        let Self { client, sandbox, outward, around, .. } = self;
        sandbox.closing = true;
        if sandbox.queue(tungstenite::Message::Close(frame)).is_err() {
            return;
        }
        let answers = async {
            poll_fn(|cx| sandbox.poll_flush(cx)).await?;
            Ok::<_, Error>(poll_fn(|cx| outward.poll(cx, sandbox, client, *around)).await)
        };
        let _ = timeout(LAST_ANSWERS, answers).await;
    }
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> End<'a, S> {
    async fn new(side: Side<S>, role: Role, way: Way, around: Around<'a>) -> Self {
        let Around { messages, target, meters, .. } = around;
        let Side { stream, ahead } = side;
        let (stream, frames) = (Some(stream), Frames::default());
        let stream = Metered { ahead, stream, target, meters, way, came: 0, frames, cut: false };
        let max_message = messages.max_message;
        let config = Some(config(max_message));
        let socket = WebSocketStream::from_raw_socket(stream, role, config).await;
        Self { socket, unflushed: false, grown: false, closing: false, role, max_message }
    }

    /// Gives back the buffers that a long message needed, where nothing stands in
    /// them: thousands of idle WebSockets would keep them for ever. Says whether it
    /// did. To be called when nothing is there to be read.
    fn shed(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.grown || self.closing {
            return false;
        }
        // Also the answers to pings, of which only the socket knows.
        if !matches!(Pin::new(&mut self.socket).poll_flush(cx), Poll::Ready(Ok(()))) {
            return false;
        }
        // Every whole frame was taken out; so between messages nothing is inside.
        let stream = self.socket.get_mut();
        if !stream.frames.between_messages() || !stream.ahead.is_empty() {
            return false;
        }
        let config = Some(config(self.max_message));
        let fresh = WebSocketStream::from_raw_socket(stream.take(), self.role, config);
        // There is no handshake to wait for.
        if let Some(socket) = fresh.now_or_never() {
            self.socket = socket;
        }
        self.unflushed = false;
        self.grown = false;
        true
    }

    /// Notes the length of a message that passed.
    fn passed(&mut self, length: usize) {
        self.grown |= length > LONG;
    }

    fn came(&self) -> u64 {
        self.socket.get_ref().came
    }

    /// Queues `message`; to be called when the socket is ready.
    fn queue(&mut self, message: tungstenite::Message) -> Result<(), Error> {
        self.unflushed = true;
        self.passed(message.len());
        Pin::new(&mut self.socket).start_send(message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    async fn part(mut self, bye: Bye) {
        // Whatever fails here fails because the other end has gone.
        self.unflushed = true;
        let queued = match &bye {
            Bye::Close(frame) => self.queue(tungstenite::Message::Close(frame.clone())),
            Bye::Answer | Bye::End => Ok(()),
            Bye::Nothing => return,
        };
        if queued.is_err() || poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
            return;
        }
        let stream = self.socket.get_mut();
        let shut = poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await;
        if shut.is_err() || matches!(bye, Bye::Answer) {
            return;
        }
        // What still comes is read: closing with unread bytes would reset the
        // connection, and the close frame could be lost with it. Theirs is the last.
        while let Some(Ok(message)) = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {
            if message.is_close() {
                return;
            }
        }
        // What breaks the protocol, or has no quota left, has no last frame.
        let Some(stream) = &mut self.socket.get_mut().stream else { return };
        let mut space = [0; 1024];
        while let Ok(1..) = stream.read(&mut space).await {}
    }
}

impl<'a> Direction<'a> {
    fn new(way: Way, silence: Duration) -> Self {
        Self { way, step: Step::Read, silence: Stall::new(silence), came: 0, pinged: false }
    }

    /// Moves what can be moved. Ready when the conversation is over.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut End<'a, R>,
        to: &mut End<'a, W>,
        around: Around<'a>,
    ) -> Poll<Over>
    where
        R: AsyncRead + AsyncWrite + Unpin,
        W: AsyncRead + AsyncWrite + Unpin,
    {
        for _ in 0..TURN {
            let moved = match &mut self.step {
                Step::Read => self.poll_read(cx, from, around),
                Step::Judge(judging) => match judging.as_mut().poll(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(judged) => {
                        self.step = Step::Read;
                        Poll::Ready(self.judged(judged, around.messages.max_message))
                    }
                },
                Step::Write(_) | Step::WriteAfter(_) => self.poll_write(cx, to, around.meters),
            };
            match moved {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(over)) => return Poll::Ready(over),
                Poll::Pending => {
                    // Nobody waits for what stands in a buffer.
                    if let Poll::Ready(Err(_)) = to.poll_flush(cx) {
                        return Poll::Ready(Over::broken(self.way.reverse()));
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read<R>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut End<'a, R>,
        around: Around<'a>,
    ) -> Poll<Result<(), Over>>
    where
        R: AsyncRead + AsyncWrite + Unpin,
    {
        let Poll::Ready(read) = Pin::new(&mut from.socket).poll_next(cx) else {
            if from.shed(cx) {
                // The next look tells the new one whom to wake.
                cx.waker().wake_by_ref();
                return Poll::Ready(Ok(()));
            }
            return self.poll_silence(cx, from);
        };
        self.heard();
        let message = match read {
            Some(Ok(message)) => message,
            Some(Err(_)) if from.socket.get_ref().cut => return Poll::Ready(Err(Over::quota())),
            Some(Err(error)) => return Poll::Ready(Err(self.fault(&error))),
            None => return Poll::Ready(Err(Over::broken(self.way))),
        };
        let message = match message {
            tungstenite::Message::Text(text) => Message::Text(text.as_str().to_owned()),
            tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
            tungstenite::Message::Close(frame) => {
                self.note_activity(around.target, 0);
                return Poll::Ready(Err(Over::Closed { by: self.way, frame }));
            }
            // Answered already, or an answer.
            tungstenite::Message::Ping(_)
            | tungstenite::Message::Pong(_)
            | tungstenite::Message::Frame(_) => return Poll::Ready(Ok(())),
        };
        self.note_activity(around.target, message.len());
        from.passed(message.len());
        self.step = Step::Judge(around.messages.gate.on_message(self.way, message));
        Poll::Ready(Ok(()))
    }

    /// A message of the client's is activity, also an empty one.
    fn note_activity(&self, target: &dyn Target, length: usize) {
        if self.way == Way::ToSandbox {
            target.active_bytes((length as u64).max(1));
        }
    }

    fn heard(&mut self) {
        self.silence.progress();
        self.pinged = false;
    }

    /// Pings who has been silent for long; gives up on who stays so.
    fn poll_silence<R>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut End<'a, R>,
    ) -> Poll<Result<(), Over>>
    where
        R: AsyncRead + AsyncWrite + Unpin,
    {
        let came = from.came();
        if came != self.came {
            self.came = came;
            self.heard();
        }
        while self.silence.poll_expired(cx).is_ready() {
            if self.pinged {
                return Poll::Ready(Err(Over::Silent(self.way)));
            }
            self.pinged = true;
            self.silence.progress();
            // One that takes nothing need not be asked.
            if Pin::new(&mut from.socket).poll_ready(cx).is_ready() {
                let _ = from.queue(tungstenite::Message::Ping(Bytes::new()));
                let _ = from.poll_flush(cx);
            }
        }
        Poll::Pending
    }

    /// What the gate said becomes the next step, or the end.
    fn judged(
        &mut self,
        judged: Result<MessageVerdict, GateFailed>,
        longest: usize,
    ) -> Result<(), Over> {
        match judged {
            // What it was replaced with keeps the bound that it was read with.
            Ok(MessageVerdict::Forward(message)) if message.len() > longest => {
                let reason = text_of(CloseCode::Size).to_owned();
                Err(Over::both(CloseCode::Size.into(), reason))
            }
            Ok(MessageVerdict::Forward(Message::Text(text))) => {
                self.step = Step::Write(tungstenite::Message::Text(text.into()));
                Ok(())
            }
            Ok(MessageVerdict::Forward(Message::Binary(bytes))) => {
                self.step = Step::Write(tungstenite::Message::Binary(bytes));
                Ok(())
            }
            Ok(MessageVerdict::Discard) => Ok(()),
            Ok(MessageVerdict::Close { code, reason }) => Err(Over::both(code, reason)),
            Err(GateFailed { decision }) => {
                Err(Over::both(CloseCode::Error.into(), decision.to_string()))
            }
        }
    }

    fn poll_write<W>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut End<'a, W>,
        meters: &Meters,
    ) -> Poll<Result<(), Over>>
    where
        W: AsyncRead + AsyncWrite + Unpin,
    {
        let broken = |_| Over::broken(self.way.reverse());
        ready!(Pin::new(&mut to.socket).poll_ready(cx)).map_err(broken)?;
        if matches!(self.step, Step::WriteAfter(_)) {
            ready!(to.poll_flush(cx)).map_err(broken)?;
        }
        let (Step::Write(message) | Step::WriteAfter(message)) =
            std::mem::replace(&mut self.step, Step::Read)
        else {
            return Poll::Ready(Ok(()));
        };
        match to.queue(message) {
            Ok(()) => {}
            // Answers to pings stand before it: given back, as it was.
            Err(Error::WriteBufferFull(message)) => {
                self.step = Step::WriteAfter(*message);
                return Poll::Ready(Ok(()));
            }
            Err(_) => return Poll::Ready(Err(Over::broken(self.way.reverse()))),
        }
        match self.way {
            Way::ToSandbox => meters.messages_in.add(1),
            Way::ToClient => meters.messages_out.add(1),
        }
        Poll::Ready(Ok(()))
    }

    /// Who broke which rule of the protocol, as a close code (RFC 6455 §7.4.1).
    fn fault(&self, error: &Error) -> Over {
        let code = match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseCode::Size,
            Error::Utf8(_) => CloseCode::Invalid,
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
            | Error::Io(_)
            | Error::ConnectionClosed
            | Error::AlreadyClosed => return Over::broken(self.way),
            _ => CloseCode::Protocol,
        };
        Over::Fault { by: self.way, frame: CloseFrame { code, reason: text_of(code).into() } }
    }
}

fn text_of(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Size => "the message is too long",
        CloseCode::Invalid => "the text is not UTF-8",
        _ => "the protocol was violated",
    }
}
