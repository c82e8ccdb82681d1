//! One HTTP/1.1 connection of one virtual user. The user's own task drives it, so that nothing is left behind when the
//! user is dropped, and no other task need be woken for a request.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::failure::Failure;
use super::stream::{Endpoint, Stream};

/// Largest read buffer of a connection; response heads must fit.
const MAX_BUFFER: usize = 64 * 1024;

/// What came back.
pub(super) struct Reply {
    pub status: u16,
    pub body_bytes: u64,
}

/// Why nothing came back.
pub(super) enum NoReply {
    /// Not a byte of the request was written: it may be sent again on another connection.
    Unsent(Box<Request<Full<Bytes>>>),
    /// It failed on the way.
    Failed(Failure),
}

/// What moves the bytes of a connection; polled beside its request.
type Driver = Pin<Box<http1::Connection<TokioIo<Stream>, Full<Bytes>>>>;

pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection is at its end.
    driver: Option<Driver>,
}

impl Connection {
    pub(super) async fn open(endpoint: &Endpoint, user: usize) -> Result<Self, Failure> {
        let stream = endpoint.connect(user).await?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::of(&error))?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether it can take another request; false where the other side has closed it.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|cx| {
            self.drive(cx);
            if self.driver.is_none() {
                Poll::Ready(false)
            } else {
                self.sender.poll_ready(cx).map(|ready| ready.is_ok())
            }
        })
        .await
    }

    /// Sends a request and reads the whole response.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let mut response = pin!(self.sender.try_send_request(request));
        let response = poll_fn(|cx| {
            self.drive(cx);
            response.as_mut().poll(cx)
        })
        .await;
        let response = match response {
            Ok(response) => response,
            Err(mut error) => {
                return Err(match error.take_message() {
                    Some(request) => NoReply::Unsent(Box::new(request)),
                    None => NoReply::Failed(Failure::of(error.error())),
                });
            }
        };
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut body_bytes = 0;
        loop {
            let frame = poll_fn(|cx| {
                self.drive(cx);
                Pin::new(&mut body).poll_frame(cx)
            })
            .await;
            match frame {
                None => return Ok(Reply { status, body_bytes }),
                Some(Ok(frame)) => body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(error)) => return Err(NoReply::Failed(Failure::of(&error))),
            }
        }
    }
}
