//! The shape of every request that we serve, walked before it is decoded.
//!
//! kafka-protocol's decoder trusts array lengths: it reserves room for as many elements as a
//! request claims to hold, and 2^31 elements abort the process. So a request is first walked
//! here, without allocating: every length must fit into what is left of the frame, and all arrays
//! and tagged fields together may hold [`MAX_ELEMENTS`] elements. What passes is decoded.
//!
//! Invariant: the walk and the decoder see the same structure. For tagged fields that the decoder
//! knows this means that their size field must be true, as the decoder ignores it.

use kafka_protocol::messages::ApiKey;

/// Elements of arrays and tagged fields in one request, in all. The decoded form of an element is
/// some hundred bytes.
pub const MAX_ELEMENTS: usize = 100_000;

/// Why a request is not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A length reaches beyond the frame.
    #[error("{what} of length {length} at byte {position}, where {remaining} bytes are left")]
    BeyondEnd {
        /// What has this length.
        what: &'static str,
        /// The length, in bytes or elements.
        length: i64,
        /// Where it stands in the body.
        position: usize,
        /// Bytes from there to the end.
        remaining: usize,
    },
    /// More than [`MAX_ELEMENTS`].
    #[error("more than {MAX_ELEMENTS} elements in one request")]
    TooManyElements,
    /// Not a varint of 32 bits.
    #[error("malformed varint at byte {0}")]
    Varint(usize),
    /// A tagged field's size differs from what it holds.
    #[error("tagged field {tag} at byte {position} is not of the size that it claims")]
    TagSize {
        /// Its tag.
        tag: u32,
        /// Where it begins in the body.
        position: usize,
    },
}

/// What stands at one place of a message.
enum Field {
    /// That many bytes.
    Fixed(usize),
    /// A string, null or not.
    Text,
    /// Bytes, null or not.
    Blob,
    /// A struct, which has tagged fields of its own.
    Struct(&'static [Row]),
    /// An array whose elements are structs of these fields.
    Structs(&'static [Row]),
    /// An array of plain values.
    Values(&'static Field),
}

/// A field and the versions that have it.
struct Row {
    field: Field,
    since: i16,
    until: i16,
    /// A tagged field that the decoder knows.
    tag: Option<u32>,
}

/// A request's layout.
struct Shape {
    /// First version with compact lengths and tagged fields.
    flexible_since: i16,
    rows: &'static [Row],
}

const fn always(field: Field) -> Row {
    between(0, i16::MAX, field)
}

const fn since(version: i16, field: Field) -> Row {
    between(version, i16::MAX, field)
}

const fn between(since: i16, until: i16, field: Field) -> Row {
    Row {
        field,
        since,
        until,
        tag: None,
    }
}

const fn tagged(tag: u32, since: i16, field: Field) -> Row {
    Row {
        field,
        since,
        until: i16::MAX,
        tag: Some(tag),
    }
}

use Field::{Blob, Fixed, Struct, Structs, Text, Values};

const INT8: Field = Fixed(1);
const INT16: Field = Fixed(2);
const INT32: Field = Fixed(4);
const INT64: Field = Fixed(8);
const UUID: Field = Fixed(16);

const PRODUCE: Shape = Shape {
    flexible_since: 9,
    rows: &[
        always(Text),
        always(INT16),
        always(INT32),
        always(Structs(&[
            always(Text),
            always(Structs(&[always(INT32), always(Blob)])),
        ])),
    ],
};

const FETCH: Shape = Shape {
    flexible_since: 12,
    rows: &[
        between(0, 14, INT32),
        always(INT32),
        always(INT32),
        always(INT32),
        always(INT8),
        since(7, INT32),
        since(7, INT32),
        always(Structs(&[
            between(0, 12, Text),
            since(13, UUID),
            always(Structs(&[
                always(INT32),
                since(9, INT32),
                always(INT64),
                since(12, INT32),
                since(5, INT64),
                always(INT32),
                tagged(0, 17, UUID),
                tagged(1, 18, INT64),
            ])),
        ])),
        since(
            7,
            Structs(&[
                between(0, 12, Text),
                since(13, UUID),
                always(Values(&INT32)),
            ]),
        ),
        since(11, Text),
        tagged(0, 12, Text),
        tagged(1, 15, Struct(&[always(INT32), always(INT64)])),
    ],
};

const LIST_OFFSETS: Shape = Shape {
    flexible_since: 6,
    rows: &[
        always(INT32),
        since(2, INT8),
        always(Structs(&[
            always(Text),
            always(Structs(&[always(INT32), since(4, INT32), always(INT64)])),
        ])),
    ],
};

const METADATA: Shape = Shape {
    flexible_since: 9,
    rows: &[
        always(Structs(&[since(10, UUID), always(Text)])),
        since(4, INT8),
        between(8, 10, INT8),
        since(8, INT8),
    ],
};

const FIND_COORDINATOR: Shape = Shape {
    flexible_since: 3,
    rows: &[between(0, 3, Text), since(1, INT8), since(4, Values(&Text))],
};

const API_VERSIONS: Shape = Shape {
    flexible_since: 3,
    rows: &[since(3, Text), since(3, Text)],
};

const CREATE_TOPICS: Shape = Shape {
    flexible_since: 5,
    rows: &[
        always(Structs(&[
            always(Text),
            always(INT32),
            always(INT16),
            always(Structs(&[always(INT32), always(Values(&INT32))])),
            always(Structs(&[always(Text), always(Text)])),
        ])),
        always(INT32),
        always(INT8),
    ],
};

const DELETE_RECORDS: Shape = Shape {
    flexible_since: 2,
    rows: &[
        always(Structs(&[
            always(Text),
            always(Structs(&[always(INT32), always(INT64)])),
        ])),
        always(INT32),
    ],
};

const INIT_PRODUCER_ID: Shape = Shape {
    flexible_since: 2,
    rows: &[
        always(Text),
        always(INT32),
        since(3, INT64),
        since(3, INT16),
    ],
};

const OFFSET_FOR_LEADER_EPOCH: Shape = Shape {
    flexible_since: 4,
    rows: &[
        since(3, INT32),
        always(Structs(&[
            always(Text),
            always(Structs(&[always(INT32), always(INT32), always(INT32)])),
        ])),
    ],
};

const DESCRIBE_CONFIGS: Shape = Shape {
    flexible_since: 4,
    rows: &[
        always(Structs(&[
            always(INT8),
            always(Text),
            always(Values(&Text)),
        ])),
        always(INT8),
        since(3, INT8),
    ],
};

const DESCRIBE_CLUSTER: Shape = Shape {
    flexible_since: 0,
    rows: &[always(INT8), since(1, INT8)],
};

const fn shape(key: ApiKey) -> Option<&'static Shape> {
    Some(match key {
        ApiKey::Produce => &PRODUCE,
        ApiKey::Fetch => &FETCH,
        ApiKey::ListOffsets => &LIST_OFFSETS,
        ApiKey::Metadata => &METADATA,
        ApiKey::FindCoordinator => &FIND_COORDINATOR,
        ApiKey::ApiVersions => &API_VERSIONS,
        ApiKey::CreateTopics => &CREATE_TOPICS,
        ApiKey::DeleteRecords => &DELETE_RECORDS,
        ApiKey::InitProducerId => &INIT_PRODUCER_ID,
        ApiKey::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DescribeConfigs => &DESCRIBE_CONFIGS,
        ApiKey::DescribeCluster => &DESCRIBE_CLUSTER,
        _ => return None,
    })
}

/// Whether a shape is known: every API in the table of versions has one.
#[must_use]
pub const fn is_known(key: ApiKey) -> bool {
    shape(key).is_some()
}

/// Walks the body of a request. Returns how many bytes the message takes up; more may follow.
///
/// # Errors
/// See [`ShapeError`].
///
/// # Panics
/// When `key` is not in the table of versions: dispatch looks there first.
pub fn check(key: ApiKey, version: i16, body: &[u8]) -> Result<usize, ShapeError> {
    let shape = shape(key).expect("every API that is served has a shape");
    let mut walk = Walk {
        body,
        position: 0,
        elements: 0,
        version,
        flexible: version >= shape.flexible_since,
    };
    walk.fields(shape.rows)?;
    Ok(walk.position)
}

/// Walks the tagged fields of a flexible request header, and says how long they are.
///
/// # Errors
/// See [`ShapeError`].
pub fn check_header_tags(bytes: &[u8]) -> Result<usize, ShapeError> {
    let mut walk = Walk {
        body: bytes,
        position: 0,
        elements: 0,
        version: 0,
        flexible: true,
    };
    walk.tags(&[])?;
    Ok(walk.position)
}

/// A walk in progress.
struct Walk<'a> {
    body: &'a [u8],
    position: usize,
    elements: usize,
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn fields(&mut self, rows: &[Row]) -> Result<(), ShapeError> {
        for row in rows.iter().filter(|row| row.tag.is_none()) {
            if (row.since..=row.until).contains(&self.version) {
                self.field(&row.field)?;
            }
        }
        if self.flexible {
            self.tags(rows)?;
        }
        Ok(())
    }

    fn field(&mut self, field: &Field) -> Result<(), ShapeError> {
        match field {
            Fixed(size) => self.skip("field", i64::try_from(*size).unwrap_or(i64::MAX)),
            Text => {
                let length = if self.flexible {
                    self.compact_length()?
                } else {
                    i64::from(i16::from_be_bytes(self.take()?))
                };
                self.skip_nullable("string", length)
            }
            Blob => {
                let length = self.length()?;
                self.skip_nullable("bytes", length)
            }
            Struct(rows) => self.fields(rows),
            Structs(rows) => {
                for _ in 0..self.array_length()? {
                    self.fields(rows)?;
                }
                Ok(())
            }
            Values(value) => {
                for _ in 0..self.array_length()? {
                    self.field(value)?;
                }
                Ok(())
            }
        }
    }

    /// Tagged fields: a count, then for each its tag, its size and that many bytes.
    fn tags(&mut self, rows: &[Row]) -> Result<(), ShapeError> {
        let count = self.varint()?;
        for _ in 0..count {
            self.count_elements(1)?;
            let tag = self.varint()?;
            let size = i64::from(self.varint()?);
            let position = self.position;
            let known = |row: &&Row| row.tag == Some(tag) && row.since <= self.version;
            let Some(row) = rows.iter().find(known) else {
                self.skip("tagged field", size)?;
                continue;
            };
            self.field(&row.field)?;
            if i64::try_from(self.position - position) != Ok(size) {
                return Err(ShapeError::TagSize { tag, position });
            }
        }
        Ok(())
    }

    /// Length of an array, null being empty; every element takes up at least one byte.
    fn array_length(&mut self) -> Result<usize, ShapeError> {
        let position = self.position;
        let length = self.length()?.max(0);
        let remaining = self.body.len() - self.position;
        match usize::try_from(length) {
            Ok(count) if count <= remaining => {
                self.count_elements(count)?;
                Ok(count)
            }
            _ => Err(ShapeError::BeyondEnd {
                what: "array",
                length,
                position,
                remaining,
            }),
        }
    }

    fn count_elements(&mut self, more: usize) -> Result<(), ShapeError> {
        self.elements += more;
        if self.elements > MAX_ELEMENTS {
            return Err(ShapeError::TooManyElements);
        }
        Ok(())
    }

    /// Length of bytes or of an array; -1 for null.
    fn length(&mut self) -> Result<i64, ShapeError> {
        if self.flexible {
            self.compact_length()
        } else {
            Ok(i64::from(i32::from_be_bytes(self.take()?)))
        }
    }

    fn compact_length(&mut self) -> Result<i64, ShapeError> {
        Ok(i64::from(self.varint()?) - 1)
    }

    fn varint(&mut self) -> Result<u32, ShapeError> {
        let start = self.position;
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| ShapeError::Varint(start));
            }
        }
        Err(ShapeError::Varint(start))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ShapeError> {
        let start = self.position;
        self.skip("field", i64::try_from(N).unwrap_or(i64::MAX))?;
        let bytes = &self.body[start..self.position];
        Ok(bytes.try_into().expect("skipped exactly this many bytes"))
    }

    fn skip_nullable(&mut self, what: &'static str, length: i64) -> Result<(), ShapeError> {
        if length == -1 {
            return Ok(());
        }
        self.skip(what, length)
    }

    fn skip(&mut self, what: &'static str, length: i64) -> Result<(), ShapeError> {
        let position = self.position;
        let remaining = self.body.len() - position;
        match usize::try_from(length) {
            Ok(count) if count <= remaining => {
                self.position += count;
                Ok(())
            }
            _ => Err(ShapeError::BeyondEnd {
                what,
                length,
                position,
                remaining,
            }),
        }
    }
}

#[cfg(test)]
#[path = "shape_test.rs"]
mod tests;
