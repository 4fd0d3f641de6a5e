use std::sync::{Arc, Weak};

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable as _, StrBytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::frame::{Frames, framed};
use super::front::Front;
use super::*;

const LIMIT: Duration = Duration::from_secs(10);
const VERSION: i16 = 7;

/// A broker that takes note of every request and answers each with its correlation id and how many
/// requests came before it.
#[derive(Clone, Default)]
struct FakeBroker {
    got: Arc<Mutex<Vec<Bytes>>>,
}

impl FakeBroker {
    async fn start() -> (Self, Front) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let broker = Self::default();
        let serving = broker.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        let behind = ("127.0.0.1".to_owned(), here.port());
        (broker, Front::open(behind, Weak::new()).unwrap())
    }

    async fn serve(self, stream: TcpStream) {
        let (from, mut to) = stream.into_split();
        let mut frames = Frames::of(from);
        while let Ok(Some(frame)) = frames.next().await {
            let head = Head::of(&frame).unwrap();
            let before = self.note(frame);
            let answer = [head.correlation.to_be_bytes(), before.to_be_bytes()].concat();
            to.write_all(&framed(&answer)).await.unwrap();
        }
    }

    fn note(&self, frame: Bytes) -> u32 {
        let mut got = self.got.lock().unwrap();
        got.push(frame);
        got.len() as u32 - 1
    }

    /// Correlation ids of what came, once there are so many.
    async fn seen(&self, count: usize) -> Vec<i32> {
        let ids = || -> Vec<i32> {
            let got = self.got.lock().unwrap();
            got.iter()
                .map(|frame| Head::of(frame).unwrap().correlation)
                .collect()
        };
        let deadline = Instant::now() + LIMIT;
        while ids().len() < count && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await; // a poll's pause
        }
        ids()
    }
}

fn request(
    api: ApiKey,
    version: i16,
    correlation: i32,
    body: &dyn Fn(&mut bytes::BytesMut),
) -> Vec<u8> {
    let mut frame = bytes::BytesMut::new();
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    header
        .encode(&mut frame, api.request_header_version(version))
        .unwrap();
    body(&mut frame);
    framed(&frame)
}

fn produce(correlation: i32) -> Vec<u8> {
    let data = PartitionProduceData::default().with_records(Some(Bytes::from_static(b"r")));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_partition_data(vec![data]);
    let body = ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![topic]);
    let encode = |frame: &mut bytes::BytesMut| body.encode(frame, VERSION).unwrap();
    request(ApiKey::Produce, VERSION, correlation, &encode)
}

/// Metadata v1 about all topics.
fn metadata(correlation: i32) -> Vec<u8> {
    let all = |frame: &mut bytes::BytesMut| frame.extend_from_slice(&[0xff; 4]);
    request(ApiKey::Metadata, 1, correlation, &all)
}

fn begin(front: &Front, fault: WireFault) {
    let tag = "f1".to_owned();
    front.wire.obey(&WireOrder::Begin { tag, fault });
}

fn hits(front: &Front) -> u64 {
    front.wire.obey(&WireOrder::Status)[0].hit
}

/// The next answer: its correlation id, and the rest.
async fn answer(stream: &mut TcpStream) -> std::io::Result<(i32, Vec<u8>)> {
    let reading = async {
        let mut bytes = vec![0; stream.read_u32().await? as usize];
        stream.read_exact(&mut bytes).await?;
        let correlation = i32::from_be_bytes(*bytes.first_chunk::<4>().unwrap());
        Ok((correlation, bytes.split_off(4)))
    };
    timeout(LIMIT, reading)
        .await
        .expect("an answer, or the end")
}

#[tokio::test]
async fn what_is_not_hurt_passes_as_it_came() {
    let (broker, front) = FakeBroker::start().await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    let odd = framed(b"\x7f\xff\0\x01\0\0\0\x09what no API is");
    client
        .write_all(&[produce(1), metadata(2), odd].concat())
        .await
        .unwrap();
    for (id, before) in [(1, 0), (2, 1), (9, 2)] {
        let expected = (id, vec![0, 0, 0, before]);
        assert_eq!(answer(&mut client).await.unwrap(), expected);
    }
    let got: Vec<Vec<u8>> = broker
        .got
        .lock()
        .unwrap()
        .iter()
        .map(|f| framed(f))
        .collect();
    assert_eq!(got[..2], [produce(1), metadata(2)]);
}

#[tokio::test]
async fn a_request_reaches_the_broker_twice_and_is_answered_once() {
    let (broker, front) = FakeBroker::start().await;
    let percent = 100;
    begin(&front, WireFault::DuplicateRequest { percent, behind: 0 });
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client
        .write_all(&[produce(1), metadata(2)].concat())
        .await
        .unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), (1, vec![0; 4]));
    assert_eq!(answer(&mut client).await.unwrap().0, 2);
    assert_eq!(broker.seen(3).await, [1, 1, 2]);
    assert_eq!(hits(&front), 1);
}

#[tokio::test]
async fn a_copy_comes_after_others_and_none_is_forgotten() {
    let (broker, front) = FakeBroker::start().await;
    begin(
        &front,
        WireFault::DuplicateRequest {
            percent: 100,
            behind: 4,
        },
    );
    let mut client = TcpStream::connect(front.address).await.unwrap();
    for id in 1..=20 {
        client.write_all(&produce(id)).await.unwrap();
        assert_eq!(answer(&mut client).await.unwrap().0, id);
    }
    let mut seen = broker.seen(40).await;
    let first: Vec<usize> = (1..=20)
        .map(|id| seen.iter().position(|s| *s == id).unwrap())
        .collect();
    assert!(first.is_sorted(), "{seen:?}");
    // Not each directly behind the one that it is a copy of.
    assert!(seen.chunks(2).any(|pair| pair[0] != pair[1]), "{seen:?}");
    seen.sort_unstable();
    let twice: Vec<i32> = (1..=20).flat_map(|id| [id, id]).collect();
    assert_eq!(seen, twice);
    assert_eq!(hits(&front), 20);
}

#[tokio::test]
async fn an_answer_is_lost_after_the_broker_acted_on_it_and_on_those_behind() {
    let (broker, front) = FakeBroker::start().await;
    let lost = WireFault::DropResponse {
        request: Request::Produce,
        percent: 100,
        linger_ms: 100,
    };
    begin(&front, lost);
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client
        .write_all(&[metadata(1), produce(2), produce(3)].concat())
        .await
        .unwrap();
    assert_eq!(answer(&mut client).await.unwrap().0, 1);
    assert!(answer(&mut client).await.is_err());
    assert_eq!(broker.seen(3).await, [1, 2, 3]);
    assert_eq!(hits(&front), 1);
}

#[tokio::test]
async fn an_answer_is_late_and_no_later_than_the_fault_holds() {
    let (_broker, front) = FakeBroker::start().await;
    let held = |delay_ms| WireFault::DelayResponse {
        request: Request::Produce,
        percent: 100,
        delay_ms,
    };
    begin(&front, held(150));
    let mut client = TcpStream::connect(front.address).await.unwrap();
    let began = Instant::now();
    client.write_all(&produce(1)).await.unwrap();
    answer(&mut client).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!(hits(&front), 1);
    let end = WireOrder::End {
        tag: "f1".to_owned(),
    };
    assert!(front.wire.obey(&end).is_empty());
    begin(&front, held(600_000));
    client.write_all(&produce(2)).await.unwrap();
    let deadline = Instant::now() + LIMIT;
    while front.wire.obey(&WireOrder::Status)[0].seen == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await; // a poll's pause
    }
    front.wire.obey(&end);
    assert_eq!(answer(&mut client).await.unwrap().0, 2);
}

#[tokio::test]
async fn a_request_that_is_late_is_cut_off_first() {
    let (broker, front) = FakeBroker::start().await;
    begin(
        &front,
        WireFault::DelayRequest {
            percent: 100,
            delay_ms: 200,
        },
    );
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(&produce(1)).await.unwrap();
    assert!(answer(&mut client).await.is_err());
    assert_eq!(broker.got.lock().unwrap().len(), 0, "not before its time");
    assert_eq!(broker.seen(1).await, [1]);
    assert_eq!(hits(&front), 1);
}

#[tokio::test]
async fn somebody_else_answers_and_the_broker_is_not_asked() {
    let (broker, front) = FakeBroker::start().await;
    let lie = |partition| WireFault::ErrorCode {
        request: Request::Produce,
        percent: 100,
        partition,
        lie: Lie::NotLeader,
    };
    begin(&front, lie(Some(5)));
    let mut client = TcpStream::connect(front.address).await.unwrap();
    client.write_all(&produce(1)).await.unwrap();
    assert_eq!(
        answer(&mut client).await.unwrap(),
        (1, vec![0; 4]),
        "another partition"
    );
    assert_eq!(hits(&front), 0);
    front.wire.obey(&WireOrder::End {
        tag: "f1".to_owned(),
    });
    begin(&front, lie(Some(0)));
    client.write_all(&produce(2)).await.unwrap();
    let (id, rest) = answer(&mut client).await.unwrap();
    assert_eq!(id, 2);
    // One topic of one letter, one partition, its number, and the error.
    assert_eq!(rest[..17], *b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\x06");
    assert_eq!(broker.seen(1).await, [1]);
    assert_eq!(hits(&front), 1);
}

#[tokio::test]
async fn metadata_are_told_as_they_were_before() {
    let (broker, front) = FakeBroker::start().await;
    let mut client = TcpStream::connect(front.address).await.unwrap();
    for id in 0..3_u8 {
        client.write_all(&metadata(id.into())).await.unwrap();
        let expected = (id.into(), vec![0, 0, 0, id]);
        assert_eq!(answer(&mut client).await.unwrap(), expected);
    }
    begin(&front, WireFault::StaleMetadata);
    for id in 10..13 {
        client.write_all(&metadata(id)).await.unwrap();
        // The last but one: the last that was different.
        assert_eq!(answer(&mut client).await.unwrap(), (id, vec![0, 0, 0, 1]));
    }
    assert_eq!((broker.seen(3).await.len(), hits(&front)), (3, 3));
    front.wire.obey(&WireOrder::End {
        tag: "f1".to_owned(),
    });
    client.write_all(&metadata(20)).await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), (20, vec![0, 0, 0, 3]));
}

#[tokio::test]
async fn a_client_is_told_when_there_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let front = Front::open(("127.0.0.1".to_owned(), port), Weak::new()).unwrap();
    let mut client = TcpStream::connect(front.address).await.unwrap();
    assert!(answer(&mut client).await.is_err());
}
