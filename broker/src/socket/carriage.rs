//! Carries a WebSocket's bytes from the moment at which its request has come.
//!
//! actix-http keeps two buffers of 8 KiB for each connection as long as it lasts: for a device at rest, most of what it
//! costs. So it hands over every connection that asks to become a WebSocket. The request goes to the same application as any
//! other; its payload is what comes over the connection, read when somebody asks for it by way of one
//! buffer for all connections of the thread; and the body of the answer is what is sent.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, Encoder, Framed, FramedParts, ReadBuf};
use actix_http::body::{BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::h1::{Codec, Message};
use actix_http::{BoxedPayloadStream, ConnectionType, Payload, Request, Response, StatusCode};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use tracing::debug;

use crate::clock;

/// What is read at once.
const SCRATCH: usize = 64 * 1024;
/// While so much waits to be sent, the body is not asked for more.
const ROOM: usize = 32 * 1024;
/// How long a peer may take to close after we did. It owes us nothing any more.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// What takes connections over from actix-http: the same application as for every other request, made for it once more.
#[expect(clippy::type_complexity, reason = "what actix-http asks of its services, which have no names")]
pub fn upgrades<F, B, T>(
    app: impl IntoServiceFactory<F, Request>,
) -> impl ServiceFactory<
    (Request, Framed<T, Codec>),
    Config = (),
    Response = (),
    Error = actix_web::Error,
    InitError = F::InitError,
    Future: 'static,
    Service: Service<(Request, Framed<T, Codec>), Future: 'static>,
>
where
    F: ServiceFactory<
            Request,
            Config = AppConfig,
            Response: Into<Response<B>>,
            Error: Into<Response<BoxBody>>,
            Future: 'static,
            Service: 'static,
        >,
    B: MessageBody + 'static,
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let app = map_config(app, |()| AppConfig::default());
    fn_factory(move || {
        let app = app.new_service(());
        async move {
            let app = Rc::new(app.await?);
            Ok(fn_service(move |(request, framed)| {
                let app = Rc::clone(&app);
                async move {
                    carry(app, request, framed).await;
                    Ok(())
                }
            }))
        }
    })
}

/// Has the application answer the request, and carries bytes until both sides are through. Whatever goes
/// wrong is the connection's end, which the payload's reader is told.
async fn carry<A, B, T>(app: Rc<A>, request: Request, framed: Framed<T, Codec>)
where
    A: Service<Request, Response: Into<Response<B>>, Error: Into<Response<BoxBody>>>,
    B: MessageBody + 'static,
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let FramedParts { io, mut codec, read_buf, mut write_buf, .. } = framed.into_parts();
    let wire = Rc::new(Wire::new(io, &read_buf));
    drop(read_buf);
    let payload: BoxedPayloadStream = Box::pin(Inlet(Rc::clone(&wire)));
    let (request, _) = request.replace_payload(Payload::Stream { payload });
    let mut answer = match app.call(request).await {
        Ok(answer) => answer.into().map_into_boxed_body(),
        Err(err) => err.into(),
    };
    let is_socket = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_socket {
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    let (head, body) = answer.into_parts();
    if codec.encode(Message::Item((head, body.size())), &mut write_buf).is_err() {
        return;
    }
    let codec = (!is_socket).then_some(codec);
    let out = Bytes::copy_from_slice(&write_buf);
    drop(write_buf);
    let carriage = Carriage { wire: Rc::clone(&wire), body, codec, out, is_unsent: true, is_over: false };
    match carriage.await {
        Ok(()) => {
            let shut = poll_fn(|cx| Pin::new(&mut *wire.io.borrow_mut()).poll_shutdown(cx));
            // The connection is dropped next, however far that came.
            tokio::select! {
                _ = shut => {}
                () = clock::until(clock::now() + CLOSE_WITHIN) => {}
            }
        }
        Err(err) => debug!(%err, "a connection broke"),
    }
}

/// A connection, and what had come before it was ours.
struct Wire<T> {
    io: RefCell<T>,
    early: Cell<Bytes>,
    /// Nothing comes any more, as was told.
    is_silent: Cell<bool>,
}

impl<T: AsyncRead + Unpin> Wire<T> {
    fn new(io: T, early: &[u8]) -> Self {
        let early = Cell::new(Bytes::copy_from_slice(early));
        Self { io: RefCell::new(io), early, is_silent: Cell::new(false) }
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, PayloadError>> {
        let early = self.early.take();
        if !early.is_empty() {
            return Poll::Ready(Ok(early));
        }
        READ.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            let came = ready!(Pin::new(&mut *self.io.borrow_mut()).poll_read(cx, &mut read));
            Poll::Ready(match came {
                Ok(()) if read.filled().is_empty() => Err(PayloadError::Incomplete(None)),
                Ok(()) => Ok(Bytes::copy_from_slice(read.filled())),
                Err(err) => Err(PayloadError::Io(err)),
            })
        })
    }
}

/// What comes over a connection; last, how that ended.
struct Inlet<T>(Rc<Wire<T>>);

impl<T: AsyncRead + Unpin> Stream for Inlet<T> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.0.is_silent.get() {
            return Poll::Ready(None);
        }
        let came = ready!(self.0.poll_read(cx));
        self.0.is_silent.set(came.is_err());
        Poll::Ready(Some(came))
    }
}

/// Sends what the body gives, until it is through.
struct Carriage<T> {
    wire: Rc<Wire<T>>,
    body: BoxBody,
    /// Frames the pieces of an answer that is no WebSocket.
    codec: Option<Codec>,
    /// What is to be sent.
    out: Bytes,
    /// Something was written and may not have been sent.
    is_unsent: bool,
    is_over: bool,
}

impl<T: AsyncWrite + Unpin> Future for Carriage<T> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            this.ask(cx)?;
            let mut io = this.wire.io.borrow_mut();
            if this.out.is_empty() {
                if this.is_unsent {
                    ready!(Pin::new(&mut *io).poll_flush(cx))?;
                    this.is_unsent = false;
                }
                return if this.is_over { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match ready!(Pin::new(&mut *io).poll_write(cx, &this.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                // Not a mere advance: nothing is to be kept of what is sent.
                written if written == this.out.len() => this.out = Bytes::new(),
                written => this.out.advance(written),
            }
            this.is_unsent = true;
        }
    }
}

impl<T> Carriage<T> {
    /// Asks the body for what is to be sent, while there is room for it.
    fn ask(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.is_over && self.out.len() < ROOM {
            match Pin::new(&mut self.body).poll_next(cx) {
                Poll::Ready(Some(Ok(piece))) => self.add(Some(piece))?,
                Poll::Ready(Some(Err(err))) => return Err(io::Error::other(err.to_string())),
                Poll::Ready(None) => {
                    self.is_over = true;
                    self.add(None)?;
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Puts a piece of the body, or its end, behind what is to be sent.
    fn add(&mut self, piece: Option<Bytes>) -> io::Result<()> {
        match (&mut self.codec, piece) {
            (None, None) => {}
            (None, Some(piece)) if self.out.is_empty() => self.out = piece,
            (None, Some(piece)) => self.out = behind(std::mem::take(&mut self.out), |out| out.extend(piece)),
            (Some(codec), piece) => {
                let mut encoded = Ok(());
                self.out = behind(std::mem::take(&mut self.out), |out| {
                    encoded = codec.encode(Message::Chunk(piece), out);
                });
                encoded?;
            }
        }
        Ok(())
    }
}

/// Writes behind these bytes, without a copy of them where they are nobody else's.
fn behind(bytes: Bytes, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    write(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[actix::test]
    async fn what_came_early_comes_first_and_the_end_is_told_once() {
        let (mut peer, io) = tokio::io::duplex(100);
        let mut inlet = Inlet(Rc::new(Wire::new(io, b"early")));
        peer.write_all(b"late").await.unwrap();
        drop(peer);
        for wanted in [&b"early"[..], b"late"] {
            assert_eq!(inlet.next().await.unwrap().unwrap(), wanted);
        }
        assert!(matches!(inlet.next().await, Some(Err(PayloadError::Incomplete(None)))));
        // Who would be told of it again and again would be busy with nothing else.
        assert!(inlet.next().await.is_none());
    }
}
