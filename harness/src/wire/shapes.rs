//! The shapes of the messages that are decoded here, walked before they are: a length that reaches
//! beyond its message must not make room for itself (see [`broker::wire::shape`]).

use broker::wire::shape::{
    Field::{Blob, Fixed, Struct, Structs, Text, Values},
    Row, Shape, always, between, since, tagged, walk,
};
use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message};

const INT8: broker::wire::shape::Field = Fixed(1);
const INT16: broker::wire::shape::Field = Fixed(2);
const INT32: broker::wire::shape::Field = Fixed(4);
const INT64: broker::wire::shape::Field = Fixed(8);
const UUID: broker::wire::shape::Field = Fixed(16);

/// Node, host, port, rack.
const ENDPOINTS: &[Row] = &[always(INT32), always(Text), always(INT32), always(Text)];
/// Node, epoch.
const LEADER: &[Row] = &[always(INT32), always(INT32)];

/// A message that can be decoded here.
pub trait Shaped: Message + Decodable + Encodable {
    /// Its shape.
    const SHAPE: Shape;
}

impl Shaped for kafka_protocol::messages::ProduceRequest {
    const SHAPE: Shape = Shape {
        flexible_since: 9,
        rows: &[
            always(Text),
            always(INT16),
            always(INT32),
            always(Structs(&[
                between(0, 12, Text),
                since(13, UUID),
                always(Structs(&[always(INT32), always(Blob)])),
            ])),
        ],
    };
}

impl Shaped for kafka_protocol::messages::ProduceResponse {
    const SHAPE: Shape = Shape {
        flexible_since: 9,
        rows: &[
            always(Structs(&[
                between(0, 12, Text),
                since(13, UUID),
                always(Structs(&[
                    always(INT32),
                    always(INT16),
                    always(INT64),
                    since(2, INT64),
                    since(5, INT64),
                    since(8, Structs(&[always(INT32), always(Text)])),
                    since(8, Text),
                    tagged(0, 10, Struct(LEADER)),
                ])),
            ])),
            since(1, INT32),
            tagged(0, 10, Structs(ENDPOINTS)),
        ],
    };
}

impl Shaped for kafka_protocol::messages::FetchResponse {
    const SHAPE: Shape = Shape {
        flexible_since: 12,
        rows: &[
            since(1, INT32),
            since(7, INT16),
            since(7, INT32),
            always(Structs(&[
                between(0, 12, Text),
                since(13, UUID),
                always(Structs(&[
                    always(INT32),
                    always(INT16),
                    always(INT64),
                    since(4, INT64),
                    since(5, INT64),
                    since(4, Structs(&[always(INT64), always(INT64)])),
                    since(11, INT32),
                    always(Blob),
                    tagged(0, 12, Struct(&[always(INT32), always(INT64)])),
                    tagged(1, 12, Struct(LEADER)),
                    tagged(2, 12, Struct(&[always(INT64), always(INT32)])),
                ])),
            ])),
            tagged(0, 16, Structs(ENDPOINTS)),
        ],
    };
}

impl Shaped for kafka_protocol::messages::MetadataResponse {
    const SHAPE: Shape = Shape {
        flexible_since: 9,
        rows: &[
            since(3, INT32),
            always(Structs(&[
                always(INT32),
                always(Text),
                always(INT32),
                since(1, Text),
            ])),
            since(2, Text),
            since(1, INT32),
            always(Structs(&[
                always(INT16),
                always(Text),
                since(10, UUID),
                since(1, INT8),
                always(Structs(&[
                    always(INT16),
                    always(INT32),
                    always(INT32),
                    since(7, INT32),
                    always(Values(&INT32)),
                    always(Values(&INT32)),
                    since(5, Values(&INT32)),
                ])),
                since(8, INT32),
            ])),
            between(8, 10, INT32),
            since(13, INT16),
        ],
    };
}

impl Shaped for kafka_protocol::messages::FindCoordinatorResponse {
    const SHAPE: Shape = Shape {
        flexible_since: 3,
        rows: &[
            since(1, INT32),
            between(0, 3, INT16),
            between(1, 3, Text),
            between(0, 3, INT32),
            between(0, 3, Text),
            between(0, 3, INT32),
            since(
                4,
                Structs(&[
                    always(Text),
                    always(INT32),
                    always(Text),
                    always(INT32),
                    always(INT16),
                    always(Text),
                ]),
            ),
        ],
    };
}

impl Shaped for kafka_protocol::messages::DescribeClusterResponse {
    const SHAPE: Shape = Shape {
        flexible_since: 0,
        rows: &[
            always(INT32),
            always(INT16),
            always(Text),
            since(1, INT8),
            always(Text),
            always(INT32),
            always(Structs(&[
                always(INT32),
                always(Text),
                always(INT32),
                always(Text),
                since(2, INT8),
            ])),
            always(INT32),
        ],
    };
}

impl Shaped for kafka_protocol::messages::ApiVersionsResponse {
    const SHAPE: Shape = Shape {
        flexible_since: 3,
        rows: &[
            always(INT16),
            always(Structs(&[always(INT16), always(INT16), always(INT16)])),
            since(1, INT32),
            tagged(0, 3, Structs(&[always(Text), always(INT16), always(INT16)])),
            tagged(1, 3, INT64),
            tagged(2, 3, Structs(&[always(Text), always(INT16), always(INT16)])),
            tagged(3, 3, INT8),
        ],
    };
}

/// Decodes the body of a message; `None` where it is none, or of a version that we do not know.
pub fn decode<M: Shaped>(version: i16, body: &Bytes) -> Option<M> {
    let known = (M::VERSIONS.min..=M::VERSIONS.max).contains(&version);
    if !known || walk(&M::SHAPE, version, body).is_err() {
        return None;
    }
    M::decode(&mut body.clone(), version).ok()
}

/// A head and the message behind it; `None` where the version cannot say what the message does.
pub fn encode<M: Encodable>(version: i16, head: &[u8], message: &M) -> Option<Bytes> {
    let mut frame = BytesMut::from(head);
    message.encode(&mut frame, version).ok()?;
    Some(frame.freeze())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        ApiVersionsResponse, DescribeClusterResponse, FetchResponse, FindCoordinatorResponse,
        MetadataResponse, ProduceRequest, ProduceResponse,
    };
    use proptest::prelude::*;

    use super::*;

    /// What an empty message of each version is encoded to has the shape that it is said to have.
    fn shape_is_true<M: Shaped + Default + PartialEq + std::fmt::Debug>() {
        for version in M::VERSIONS.min..=M::VERSIONS.max {
            let Some(body) = encode(version, &[], &M::default()) else {
                continue;
            };
            assert_eq!(
                walk(&M::SHAPE, version, &body),
                Ok(body.len()),
                "v{version}"
            );
            assert!(decode::<M>(version, &body).is_some(), "v{version}");
        }
    }

    #[test]
    fn shapes_are_those_of_the_protocol() {
        shape_is_true::<ProduceRequest>();
        shape_is_true::<ProduceResponse>();
        shape_is_true::<FetchResponse>();
        shape_is_true::<MetadataResponse>();
        shape_is_true::<FindCoordinatorResponse>();
        shape_is_true::<DescribeClusterResponse>();
        shape_is_true::<ApiVersionsResponse>();
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoders_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..256), version in -1_i16..=20,
        ) {
            let body = Bytes::from(bytes);
            decode::<ProduceRequest>(version, &body);
            decode::<ProduceResponse>(version, &body);
            decode::<FetchResponse>(version, &body);
            decode::<MetadataResponse>(version, &body);
            decode::<FindCoordinatorResponse>(version, &body);
            decode::<DescribeClusterResponse>(version, &body);
            decode::<ApiVersionsResponse>(version, &body);
        }
    }
}
