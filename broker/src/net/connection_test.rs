use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::*;
use crate::exec;
use crate::invariants::tripped;
use crate::net::budget::Scarcity;

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers a request with its own bytes, framed; the first byte says how:
/// `w`: when the test releases it, `p`: panics at once, `P`: panics later, `c`: closes,
/// `s`: in silence, `k`: as `w`, without keeping the request, anything else: at once.
#[derive(Default)]
struct Echo {
    begun: Mutex<Vec<Bytes>>,
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
}

impl Service for Echo {
    fn keeps(&self, frame: &Bytes) -> bool {
        !frame.starts_with(b"k")
    }

    fn call(&self, frame: Bytes) -> PendingAnswer {
        self.begun.lock().unwrap().push(frame.clone());
        let echoed = vec![
            Bytes::copy_from_slice(&frame::length_field(frame.len())),
            frame.clone(),
        ];
        match frame.first() {
            Some(b'w' | b'k') => {
                let (release, released) = oneshot::channel();
                self.waiting.lock().unwrap().push_back(release);
                Box::pin(async move {
                    released.await.unwrap();
                    Answer::Frame(echoed)
                })
            }
            Some(b'p') => panic!("at once"),
            Some(b'P') => Box::pin(async { panic!("later") }),
            Some(b'c') => Box::pin(std::future::ready(Answer::Close("asked to".to_owned()))),
            Some(b's') => Box::pin(std::future::ready(Answer::Silence)),
            _ => Box::pin(std::future::ready(Answer::Frame(echoed))),
        }
    }
}

impl Echo {
    fn release(&self) -> bool {
        let first = self.waiting.lock().unwrap().pop_front();
        first.is_some_and(|first| first.send(()).is_ok())
    }

    async fn begun(&self, count: usize) {
        until(|| self.begun.lock().unwrap().len() >= count).await;
    }
}

/// Waits for a condition.
async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .expect("the condition comes true");
}

fn limits() -> Limits {
    Limits {
        max_frame_bytes: 1 << 20,
        max_in_flight: 4,
        first_request: PATIENCE,
        idle: PATIENCE,
        write_stall: PATIENCE,
        after_end: PATIENCE,
        budget: Budget::new(1 << 20),
        bugs: BugSet::NONE,
    }
}

struct Served {
    client: tokio::net::TcpStream,
    echo: Arc<Echo>,
    end: tokio::task::JoinHandle<End>,
    stop: watch::Sender<bool>,
}

async fn served(limits: Limits) -> Served {
    let socket = net::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = socket.local_addr().unwrap();
    let client = tokio::net::TcpStream::connect(address).await.unwrap();
    let (stream, _) = socket.accept().await.unwrap();
    let echo = Arc::new(Echo::default());
    let (stop, stopped) = watch::channel(false);
    let end = exec::spawn("served", serve(stream, echo.clone(), limits, stopped));
    Served {
        client,
        echo,
        end,
        stop,
    }
}

impl Served {
    async fn send(&mut self, request: &[u8]) {
        let length = frame::length_field(request.len());
        self.client.write_all(&length).await.unwrap();
        self.client.write_all(request).await.unwrap();
    }

    async fn receive(&mut self) -> Option<Bytes> {
        let read = frame::read_frame(&mut self.client, 1 << 20);
        timeout(PATIENCE, read).await.expect("an answer").unwrap()
    }

    async fn end(self) -> End {
        timeout(PATIENCE, self.end)
            .await
            .expect("an end")
            .expect("no panic escapes")
    }
}

#[tokio::test]
async fn answers_leave_in_the_order_of_requests_while_later_ones_are_begun() {
    let mut served = served(limits()).await;
    for request in ["w1", "fast", "s", "w2"] {
        served.send(request.as_bytes()).await;
    }
    served.echo.begun(4).await;
    assert!(served.echo.release());
    assert_eq!(served.receive().await.unwrap(), "w1");
    assert_eq!(served.receive().await.unwrap(), "fast");
    assert!(served.echo.release());
    assert_eq!(served.receive().await.unwrap(), "w2");
    drop(served.client);
    let end = timeout(PATIENCE, served.end).await.unwrap().unwrap();
    assert!(matches!(end, End::Closed), "{end}");
}

#[tokio::test]
async fn m46_answers_overtake_each_other() {
    let mut served = served(Limits {
        bugs: BugSet::NONE.with(SeededBug::ResponseOutOfOrder),
        ..limits()
    })
    .await;
    served.send(b"w").await;
    served.send(b"fast").await;
    assert_eq!(served.receive().await.unwrap(), "fast");
    assert!(served.echo.release());
    assert_eq!(served.receive().await.unwrap(), "w");
    assert!(tripped().contains(&Invariant::AnswersInOrder));
}

#[tokio::test]
async fn no_more_than_the_limit_is_in_progress_and_the_rest_stays_unread() {
    let mut served = served(limits()).await;
    for _ in 0..20 {
        served.send(b"w").await;
    }
    // Four in the queue; the one that the writer waits for has left it.
    served.echo.begun(5).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.echo.begun.lock().unwrap().len(), 5);
    for _ in 0..20 {
        until(|| !served.echo.waiting.lock().unwrap().is_empty()).await;
        assert!(served.echo.release());
        assert_eq!(served.receive().await.unwrap(), "w");
    }
}

#[tokio::test]
async fn a_panic_ends_this_connection_and_says_so() {
    for request in [&b"p"[..], b"P"] {
        let mut served = served(limits()).await;
        served.send(request).await;
        assert!(served.receive().await.is_none());
        let end = served.end().await;
        assert!(matches!(end, End::Panic(_)) && end.is_complaint(), "{end}");
    }
}

#[tokio::test]
async fn what_was_asked_before_is_answered_before_a_connection_is_closed() {
    for last in [&b"c"[..], b"too long"] {
        let mut served = served(limits()).await;
        served.send(b"first").await;
        if last == b"c" {
            served.send(last).await;
        } else {
            served
                .client
                .write_all(&i32::MAX.to_be_bytes())
                .await
                .unwrap();
        }
        assert_eq!(served.receive().await.unwrap(), "first");
        let end = served.end().await;
        assert!(end.is_complaint(), "{end}");
    }
}

#[tokio::test]
async fn a_half_closed_connection_still_gets_its_answers() {
    let mut served = served(limits()).await;
    served.send(b"w").await;
    served.send(b"last").await;
    served.client.shutdown().await.unwrap();
    served.echo.begun(2).await;
    assert!(served.echo.release());
    assert_eq!(served.receive().await.unwrap(), "w");
    assert_eq!(served.receive().await.unwrap(), "last");
    assert!(served.receive().await.is_none());
}

#[tokio::test]
async fn silence_half_a_frame_and_an_unread_answer_end_in_time() {
    let short = Duration::from_millis(50);
    let idle = served(Limits {
        first_request: short,
        ..limits()
    })
    .await;
    assert!(matches!(idle.end().await, End::Idle(_)));
    let mut stalled = served(Limits {
        write_stall: short,
        ..limits()
    })
    .await;
    let large = vec![b'x'; 1 << 20];
    let mut sent = 0;
    // Until the kernel takes no more in either direction.
    while let Ok(Ok(())) = timeout(Duration::from_millis(200), async {
        stalled
            .client
            .write_all(&frame::length_field(large.len()))
            .await?;
        stalled.client.write_all(&large).await
    })
    .await
    {
        sent += 1;
        assert!(sent < 1000, "somebody reads without end");
    }
    let end = stalled.end().await;
    assert!(matches!(end, End::WriteStall(_)), "{end}");
}

#[tokio::test]
async fn stopping_answers_what_was_begun() {
    let mut served = served(limits()).await;
    served.send(b"w").await;
    served.echo.begun(1).await;
    served.stop.send_replace(true);
    assert!(served.echo.release());
    assert_eq!(served.receive().await.unwrap(), "w");
    assert!(served.receive().await.is_none());
    assert!(matches!(served.end().await, End::Closed));
}

#[tokio::test]
async fn memory_for_large_requests_is_given_back_however_they_end() {
    let limits = limits();
    let budget = limits.budget.clone();
    let all = budget.free_bytes();
    let mut served = served(limits).await;
    let mut large = vec![b'w'; 300 << 10];
    served.send(&large).await;
    served.send(&large).await;
    served.send(&large).await;
    served.echo.begun(3).await;
    assert_eq!(budget.free_bytes(), all - 3 * (300 << 10));
    // Of those that do not fit one goes beyond; the next waits until that is answered.
    served.send(&large).await;
    served.echo.begun(4).await;
    large[0] = b'x';
    served.send(&large).await;
    for _ in 0..4 {
        until(|| served.echo.release()).await;
        served.receive().await.unwrap();
    }
    served.echo.begun(5).await;
    drop(served.client);
    while served.echo.release() {}
    timeout(PATIENCE, served.end).await.unwrap().unwrap();
    assert_eq!(budget.free_bytes(), all);
}

/// Several connections to one service.
async fn neighbours<const N: usize>(limits: &Limits) -> [Served; N] {
    let mut all = Vec::new();
    for _ in 0..N {
        all.push(served(limits.clone()).await);
    }
    all.try_into().unwrap_or_else(|_| unreachable!("N of them"))
}

#[tokio::test]
async fn announced_bytes_take_no_memory_from_others() {
    let limits = limits();
    let all = limits.budget.free_bytes();
    let [mut one, mut two, mut three, mut good] = neighbours(&limits).await;
    let announced = frame::length_field(1 << 20);
    for liar in [&mut one, &mut two, &mut three] {
        liar.client.write_all(&announced).await.unwrap();
        liar.client.write_all(&[b'x'; 1000]).await.unwrap();
    }
    for _ in 0..10 {
        good.send(&vec![b'x'; 600 << 10]).await;
        good.receive().await.unwrap();
    }
    until(|| limits.budget.free_bytes() == all).await;
}

#[tokio::test]
async fn halves_of_requests_that_fill_the_memory_do_not_wait_for_one_another() {
    let limits = limits();
    let mut all: [Served; 4] = neighbours(&limits).await;
    let whole = vec![b'x'; 900 << 10];
    let (first, second) = whole.split_at(500 << 10);
    for one in &mut all {
        let length = frame::length_field(whole.len());
        one.client.write_all(&length).await.unwrap();
        one.client.write_all(first).await.unwrap();
    }
    for one in &mut all {
        one.client.write_all(second).await.unwrap();
    }
    for one in &mut all {
        assert_eq!(one.receive().await.unwrap().len(), whole.len());
    }
}

#[tokio::test]
async fn who_holds_memory_that_others_wait_for_has_to_send() {
    let scarcity = Scarcity {
        period: Duration::from_millis(20),
        bytes: 1 << 10,
    };
    let limits = Limits {
        budget: Budget::with_scarcity(1 << 20, scarcity),
        ..limits()
    };
    let [mut one, mut two, mut good] = neighbours(&limits).await;
    for stuck in [&mut one, &mut two] {
        let length = frame::length_field(1 << 20);
        stuck.client.write_all(&length).await.unwrap();
        stuck
            .client
            .write_all(&vec![b'x'; 600 << 10])
            .await
            .unwrap();
    }
    until(|| limits.budget.free_bytes() == 0 && limits.budget.is_exceeded()).await;
    // Both are in the way of a third, and of nobody before that.
    assert!(!one.end.is_finished() && !two.end.is_finished());
    good.send(&vec![b'x'; 900 << 10]).await;
    good.receive().await.unwrap();
    let ends = timeout(PATIENCE, async {
        tokio::select! { biased; end = one.end => end, end = two.end => end }
    });
    let end = ends.await.unwrap().unwrap();
    assert!(matches!(end, End::Displaced { .. }), "{end}");
}

#[tokio::test]
async fn a_request_that_was_handed_over_gives_its_memory_back_before_its_answer() {
    let limits = limits();
    let all = limits.budget.free_bytes();
    let mut served = served(limits.clone()).await;
    served.send(&vec![b'k'; 700 << 10]).await;
    served.echo.begun(1).await;
    until(|| limits.budget.free_bytes() == all).await;
    assert!(served.echo.release());
    served.receive().await.unwrap();
}

#[tokio::test]
async fn a_connection_whose_peer_is_gone_does_not_wait_for_its_answers() {
    let limits = Limits {
        after_end: Duration::from_millis(20),
        ..limits()
    };
    let all = limits.budget.free_bytes();
    let mut gone = served(limits.clone()).await;
    gone.send(&vec![b'w'; 300 << 10]).await;
    gone.send(b"fast").await;
    gone.echo.begun(2).await;
    let Served { client, end, .. } = gone;
    drop(client);
    let end = timeout(PATIENCE, end).await.expect("an end").unwrap();
    assert!(matches!(end, End::Closed), "{end}");
    assert_eq!(limits.budget.free_bytes(), all);
}

#[tokio::test]
async fn an_answer_is_not_made_before_the_large_ones_ahead_are_written() {
    let made = Arc::new(AtomicUsize::new(0));
    let limits = limits();
    let (begun, in_progress) = mpsc::channel(8);
    for number in 0..8 {
        let made = made.clone();
        let answer = async move {
            made.fetch_add(1, Ordering::AcqRel);
            Answer::Frame(vec![Bytes::from(vec![b'x'; BYTES_PER_WRITE])])
        };
        let begun = begun.try_send(Begun {
            number,
            answer: Box::pin(answer),
            memory: None,
        });
        assert!(begun.is_ok());
    }
    drop(begun);
    let (write_half, mut read_half) = tokio::io::duplex(1 << 10);
    let written = exec::spawn("writer", async move {
        let (_going_on, read_ended) = watch::channel(None);
        write_answers(write_half, in_progress, &limits, read_ended).await
    });
    let mut answer = vec![0; BYTES_PER_WRITE];
    for number in 1..=8 {
        // Some of it is here, so the writer is at work on this one; it has begun no other.
        read_half.read_exact(&mut answer[..10]).await.unwrap();
        assert_eq!(made.load(Ordering::Acquire), number);
        read_half.read_exact(&mut answer[10..]).await.unwrap();
    }
    timeout(PATIENCE, written).await.unwrap().unwrap().unwrap();
}

proptest! {
    #[test]
    fn pieces_are_taken_off_the_front_byte_by_byte(
        lengths in prop::collection::vec(1_usize..50, 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let all: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|i| i as u8).collect();
        let mut rest = Bytes::from(all.clone());
        let mut pieces: VecDeque<_> = lengths.iter().map(|length| rest.split_to(*length)).collect();
        let written = cut.index(all.len() + 1);
        advance(&mut pieces, written);
        let left: Vec<u8> = pieces.iter().flatten().copied().collect();
        prop_assert_eq!(&left[..], &all[written..]);
        prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
    }
}
