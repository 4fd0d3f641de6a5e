//! One connection to one broker: a request, its answer, under a deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::meta::image::Endpoint;
use broker::net::{self, TcpStream};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Request, StrBytes, VersionRange,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// An answer that says it is longer is not read: nothing that we ask for comes near.
const FRAME_BYTES_MAX: usize = 64 << 20;
const CLIENT_ID: &str = "harness";
const API_VERSIONS: i16 = 18;

/// Why a request to a broker has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The broker cannot be reached.
    #[error("broker {address} cannot be reached: {why}; is it running?")]
    Unreachable {
        /// Where.
        address: String,
        /// The operating system's word.
        why: String,
    },
    /// No answer in time.
    #[error("broker {address} did not answer {what} within {within:?}")]
    Timeout {
        /// Who.
        address: String,
        /// The question.
        what: &'static str,
        /// The time that was given.
        within: Duration,
    },
    /// The connection ended or is out of step.
    #[error("the connection to broker {address} broke: {why}")]
    Broken {
        /// Who.
        address: String,
        /// How.
        why: String,
    },
    /// Something that the Kafka protocol does not allow.
    #[error("broker {address} broke the protocol: {why}")]
    Protocol {
        /// Who.
        address: String,
        /// How.
        why: String,
    },
    /// The broker does not speak any version of this API that we do.
    #[error("broker {address} does not offer API {key} in a version up to {wanted}")]
    Unsupported {
        /// Who.
        address: String,
        /// Number of the API.
        key: i16,
        /// The newest version that we would use.
        wanted: i16,
    },
    /// The broker answered with an error.
    #[error("broker {address} answered {what} with {code}{}", explain(message))]
    Refused {
        /// Who.
        address: String,
        /// The question.
        what: &'static str,
        /// Kafka's name of the error.
        code: String,
        /// The broker's own words, may be empty.
        message: String,
    },
}

fn explain(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

impl RequestError {
    /// A short name for the history: Kafka's where there is one.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            RequestError::Unreachable { .. } => "UNREACHABLE",
            RequestError::Timeout { .. } => "TIMEOUT",
            RequestError::Broken { .. } => "DISCONNECTED",
            RequestError::Protocol { .. } => "PROTOCOL",
            RequestError::Unsupported { .. } => "UNSUPPORTED_VERSION",
            RequestError::Refused { code, .. } => code,
        }
    }
}

/// `HOST:PORT`, with or without the brackets of an IPv6 address.
fn endpoint(address: &str) -> Option<Endpoint> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Endpoint {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

/// A connection to one broker.
pub struct Conn {
    stream: TcpStream,
    address: String,
    correlation: i32,
    offered: BTreeMap<i16, VersionRange>,
    /// Set by a failure in the middle of a request: the next answer may be to an old question.
    broken: bool,
}

impl Conn {
    /// Connects and learns which versions the broker offers.
    ///
    /// # Errors
    /// Where there is no broker, or it does not answer within `within`.
    pub async fn open(address: &str, within: Duration) -> Result<Conn, RequestError> {
        let unreachable = |why: String| RequestError::Unreachable {
            address: address.to_owned(),
            why,
        };
        let endpoint = endpoint(address).ok_or_else(|| unreachable("no HOST:PORT".to_owned()))?;
        let connected = net::connect(&endpoint, within).await;
        let stream = connected.map_err(|e| unreachable(e.to_string()))?;
        let mut conn = Conn {
            stream,
            address: address.to_owned(),
            correlation: 0,
            offered: BTreeMap::new(),
            broken: false,
        };
        let answer = conn
            .exchange("ApiVersions", &ApiVersionsRequest::default(), 0, within)
            .await?;
        for api in answer.api_keys {
            let range = VersionRange {
                min: api.min_version,
                max: api.max_version,
            };
            conn.offered.insert(api.api_key, range);
        }
        Ok(conn)
    }

    /// The broker's address as it was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether this connection can be used again.
    #[must_use]
    pub fn usable(&self) -> bool {
        !self.broken
    }

    /// The newest version of `R` that both sides speak, at most `up_to`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn version_of<R: Request>(&self, up_to: i16) -> Result<i16, RequestError> {
        let ours = VersionRange {
            min: R::VERSIONS.min,
            max: R::VERSIONS.max.min(up_to),
        };
        self.offered
            .get(&R::KEY)
            .map(|theirs| ours.intersect(theirs))
            .filter(|both| !both.is_empty())
            .map(|both| both.max)
            .ok_or_else(|| RequestError::Unsupported {
                address: self.address.clone(),
                key: R::KEY,
                wanted: up_to,
            })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Where there is no answer in time, or none that can be understood; after a failure the
    /// connection is not [`Conn::usable`] any more.
    pub async fn ask<R: Request>(
        &mut self,
        what: &'static str,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<R::Response, RequestError> {
        if self.broken {
            return Err(self.broke("an earlier request on it failed".to_owned()));
        }
        self.exchange(what, request, version, within).await
    }

    /// Sends a request that has no answer.
    ///
    /// # Errors
    /// Where it cannot be sent.
    pub async fn tell<R: Request>(
        &mut self,
        what: &'static str,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<(), RequestError> {
        self.broken = true;
        self.correlation = self.correlation.wrapping_add(1);
        let frame = self.frame(request, version)?;
        let address = self.address.clone();
        match timeout(within, self.stream.write_all(&frame)).await {
            Ok(Ok(())) => {
                self.broken = false;
                Ok(())
            }
            Ok(Err(error)) => Err(self.broke(error.to_string())),
            Err(_) => Err(RequestError::Timeout {
                address,
                what,
                within,
            }),
        }
    }

    async fn exchange<R: Request>(
        &mut self,
        what: &'static str,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<R::Response, RequestError> {
        self.broken = true;
        self.correlation = self.correlation.wrapping_add(1);
        let frame = self.frame(request, version)?;
        let answer = match timeout(within, self.round_trip(&frame)).await {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(RequestError::Timeout {
                    address: self.address.clone(),
                    what,
                    within,
                });
            }
        };
        let response = self.decode::<R>(answer, version)?;
        self.broken = false;
        Ok(response)
    }

    fn frame<R: Request>(&self, request: &R, version: i16) -> Result<BytesMut, RequestError> {
        let mut frame = BytesMut::from(&[0_u8; 4][..]);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
        header
            .encode(&mut frame, R::header_version(version))
            .and_then(|()| request.encode(&mut frame, version))
            .map_err(|e| self.protocol(format!("our request cannot be encoded: {e}")))?;
        let length = u32::try_from(frame.len() - 4).expect("our requests are small");
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }

    async fn round_trip(&mut self, frame: &[u8]) -> Result<Bytes, RequestError> {
        let broke = |e: std::io::Error| RequestError::Broken {
            address: self.address.clone(),
            why: e.to_string(),
        };
        self.stream.write_all(frame).await.map_err(broke)?;
        let length = self.stream.read_u32().await.map_err(broke)? as usize;
        if length > FRAME_BYTES_MAX {
            return Err(self.protocol(format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await.map_err(broke)?;
        Ok(Bytes::from(answer))
    }

    fn decode<R: Request>(
        &self,
        mut answer: Bytes,
        version: i16,
    ) -> Result<R::Response, RequestError> {
        // ApiVersions answers always have the oldest header, so that any client can read them.
        let header_version = if R::KEY == API_VERSIONS {
            0
        } else {
            R::Response::header_version(version)
        };
        let header = ResponseHeader::decode(&mut answer, header_version)
            .map_err(|e| self.protocol(format!("header: {e}")))?;
        if header.correlation_id != self.correlation {
            let (got, want) = (header.correlation_id, self.correlation);
            return Err(self.protocol(format!("answer {got} to question {want}")));
        }
        let response = R::Response::decode(&mut answer, version)
            .map_err(|e| self.protocol(format!("body: {e}")))?;
        if answer.has_remaining() {
            // Some brokers send a byte too many; whoever is tested must not be refused for it.
            let (left, address) = (answer.remaining(), &self.address);
            tracing::debug!(
                "broker {address}: {left} bytes behind an answer to API {}",
                R::KEY
            );
        }
        Ok(response)
    }

    fn protocol(&self, why: String) -> RequestError {
        RequestError::Protocol {
            address: self.address.clone(),
            why,
        }
    }

    fn broke(&self, why: String) -> RequestError {
        RequestError::Broken {
            address: self.address.clone(),
            why,
        }
    }
}
