//! A connection from this broker to another one's Kafka listener: one request at a time, each
//! with a deadline. After any error the connection is of no more use; make a new one.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncWriteExt, BufReader};

use crate::meta::image::Endpoint;
use crate::net::{self, TcpStream};
use crate::wire::frame::{self, FrameError};

/// Why a call has no answer. None of these tells whether the request was carried out.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot connect to {0}")]
    Connect(#[source] std::io::Error),
    /// The socket failed.
    #[error("cannot send to {peer}: {error}")]
    Send {
        /// To whom.
        peer: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The answer is no frame.
    #[error("answer of {peer}: {error}")]
    Frame {
        /// Whose.
        peer: String,
        /// What is wrong.
        error: FrameError,
    },
    /// The peer closed the connection instead of answering.
    #[error("{0} closed the connection instead of answering")]
    Closed(String),
    /// Nothing came within the deadline.
    #[error("no answer from {peer} within {timeout:?}")]
    TimedOut {
        /// From whom.
        peer: String,
        /// The deadline.
        timeout: Duration,
    },
    /// A message that one side cannot express or understand: a bug on one of them.
    #[error("message to or from {peer}: {what}")]
    Format {
        /// The other side.
        peer: String,
        /// What is wrong.
        what: String,
    },
}

/// One connection, used by one task.
pub struct Connection {
    stream: BufReader<TcpStream>,
    peer: String,
    client_id: StrBytes,
    next_correlation_id: i32,
    max_response_bytes: usize,
}

impl Connection {
    /// Connects to `endpoint`. `client_id` is what the other side's logs will say; an answer
    /// larger than `max_response_bytes` is refused.
    ///
    /// # Errors
    /// [`CallError::Connect`], also when `timeout` passes.
    pub async fn open(
        endpoint: &Endpoint,
        client_id: &str,
        max_response_bytes: usize,
        timeout: Duration,
    ) -> Result<Self, CallError> {
        let stream = net::connect(endpoint, timeout)
            .await
            .map_err(CallError::Connect)?;
        Ok(Self {
            stream: BufReader::with_capacity(16 << 10, stream),
            peer: format!("{}:{}", endpoint.host, endpoint.port),
            client_id: StrBytes::from_string(client_id.to_owned()),
            next_correlation_id: 0,
            max_response_bytes,
        })
    }

    /// Sends `request` and waits for its answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<R::Response, CallError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        let frame = encode_request(request, version, correlation_id, &self.client_id)
            .map_err(|what| self.format_error(what))?;
        let answer = match tokio::time::timeout(timeout, self.exchange(&frame)).await {
            Ok(answer) => answer?,
            Err(_) => {
                let peer = self.peer.clone();
                return Err(CallError::TimedOut { peer, timeout });
            }
        };
        decode_response::<R>(answer, version, correlation_id)
            .map_err(|what| self.format_error(what))
    }

    async fn exchange(&mut self, frame: &[u8]) -> Result<Bytes, CallError> {
        if let Err(error) = self.stream.write_all(frame).await {
            let peer = self.peer.clone();
            return Err(CallError::Send { peer, error });
        }
        match frame::read_frame(&mut self.stream, self.max_response_bytes).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(CallError::Closed(self.peer.clone())),
            Err(error) => {
                let peer = self.peer.clone();
                Err(CallError::Frame { peer, error })
            }
        }
    }

    fn format_error(&self, what: String) -> CallError {
        let peer = self.peer.clone();
        CallError::Format { peer, what }
    }
}

/// A request as it goes over the wire, length field included.
///
/// # Errors
/// When `request` has a field that `version` lacks.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes, String> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let mut frame = BytesMut::zeroed(4);
    header
        .encode(&mut frame, R::header_version(version))
        .and_then(|()| request.encode(&mut frame, version))
        .map_err(|error| error.to_string())?;
    let length = frame::length_field(frame.len() - 4);
    frame[..4].copy_from_slice(&length);
    Ok(frame.freeze())
}

/// The answer in a frame (without its length field).
///
/// # Errors
/// When it is not the answer to `correlation_id`, or is malformed.
pub fn decode_response<R: Request>(
    mut frame: Bytes,
    version: i16,
    correlation_id: i32,
) -> Result<R::Response, String> {
    let header_version = <R::Response as HeaderVersion>::header_version(version);
    let header =
        ResponseHeader::decode(&mut frame, header_version).map_err(|error| error.to_string())?;
    if header.correlation_id != correlation_id {
        let got = header.correlation_id;
        return Err(format!(
            "answer to request {got} instead of {correlation_id}"
        ));
    }
    R::Response::decode(&mut frame, version).map_err(|error| error.to_string())
}
