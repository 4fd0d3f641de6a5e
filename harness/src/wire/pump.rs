//! One connection of a client, and the one to the broker behind it: requests one way, answers the
//! other, in their order.

use std::future::pending;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use kafka_protocol::messages::{ApiKey, ProduceResponse};
use nemesis::wire::Lie;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::address::Addresses;
use super::frame::{FRAME_BYTES_MAX, Frames, Head, push};
use super::memory::{Memory, Question};
use super::{Fate, Wire, answer};

/// Requests without an answer on one connection; then its client has to wait.
const EXPECTED_MAX: usize = 1_024;
/// A second copy waits no longer than this for others to go before it.
const COPY_LATEST: Duration = Duration::from_millis(300);
/// A broker that gets a late request is listened to for so long.
const LATE_ANSWER: Duration = Duration::from_secs(3);

/// What comes next from the broker, or in its stead.
enum Expected {
    /// The answer to this request, and what is done with it.
    Answer(Head, Then),
    /// An answer that nobody waits for.
    Surplus,
    /// This is handed on, and the broker was not asked.
    Instead(Bytes),
}

enum Then {
    Pass,
    Learn(Question),
    Lose(String, Duration),
    Hold(String, Duration),
    Lie(String, Option<u32>, Lie),
    Join(String, ProduceResponse),
}

/// How a connection ends.
enum Ending {
    /// One side has said its last.
    Closed,
    /// It is to be reset.
    Reset,
    /// It is to be reset, and this request is to reach the broker later.
    Late(Bytes, String, Duration),
}

/// The second copy of a request, which waits for others to go before it.
struct Copy {
    tag: String,
    left: u32,
    latest: Instant,
    frame: Bytes,
    answered: bool,
}

impl Copy {
    fn of(frame: &Bytes, tag: &str, behind: u32, answered: bool) -> Self {
        Self {
            tag: tag.to_owned(),
            // Itself goes before it, too.
            left: behind + 1,
            latest: Instant::now() + COPY_LATEST,
            frame: frame.clone(),
            answered,
        }
    }
}

/// Carries one connection.
pub struct Pump<'a> {
    pub wire: &'a Wire,
    pub addresses: Option<&'a Addresses>,
}

impl Pump<'_> {
    /// Until it ends.
    pub async fn run(&self, client: TcpStream, broker: TcpStream) {
        let (from_client, mut to_client) = client.into_split();
        let (from_broker, mut to_broker) = broker.into_split();
        let (expect, mut expected) = mpsc::channel(EXPECTED_MAX);
        let mut requests = Frames::of(from_client);
        let mut answers = Frames::of(from_broker);
        let ending = {
            let up = self.up(&mut requests, &mut to_broker, expect);
            let down = self.down(&mut answers, &mut to_client, &mut expected);
            tokio::pin!(up, down);
            tokio::select! {
                ending = &mut down => ending,
                ending = &mut up => match ending {
                    // What it asked is still answered.
                    Ending::Closed => down.await,
                    other => other,
                },
            }
        };
        if matches!(ending, Ending::Closed) {
            return;
        }
        // Both halves go at once: then the client is told.
        reset(to_client.as_ref());
        to_client.forget();
        drop(requests);
        if let Ending::Late(frame, tag, delay) = ending {
            let late = Late { frame, tag, delay };
            self.late(late, expected, &mut answers, &mut to_broker)
                .await;
        }
    }

    /// Requests, from the client to the broker.
    async fn up(
        &self,
        requests: &mut Frames<OwnedReadHalf>,
        broker: &mut OwnedWriteHalf,
        expect: mpsc::Sender<Expected>,
    ) -> Ending {
        let mut copies: Vec<Copy> = Vec::new();
        loop {
            let latest = copies.iter().map(|copy| copy.latest).min();
            let frame = tokio::select! {
                frame = requests.next() => frame,
                () = until(latest) => {
                    for copy in copies.extract_if(.., |copy| copy.latest <= Instant::now()) {
                        if !self.send_copy(copy, broker, &expect).await {
                            return Ending::Closed;
                        }
                    }
                    continue;
                }
            };
            let frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ending::Closed,
                Err(_) => return Ending::Reset,
            };
            let Some(head) = Head::of(&frame) else {
                return Ending::Reset;
            };
            let is_produce = head.api() == Some(ApiKey::Produce);
            let is_answered = !is_produce || answer::wants_answer(head, &frame);
            let fate = self.wire.fate(head, &frame);
            if let Fate::Late { tag, delay } = fate {
                return Ending::Late(frame, tag, delay);
            }
            if let Fate::Twice { tag, behind } = &fate {
                copies.push(Copy::of(&frame, tag, *behind, is_answered));
            }
            let (then, rest) = self.plan(head, frame, fate);
            if let Some(then) = then.filter(|_| is_answered)
                && expect.send(then).await.is_err()
            {
                return Ending::Closed;
            }
            let mut bytes = Vec::new();
            if let Some(rest) = &rest {
                push(&mut bytes, rest);
            }
            if is_produce {
                copies.iter_mut().for_each(|copy| copy.left -= 1);
                for copy in copies.extract_if(.., |copy| copy.left == 0) {
                    // In one piece with the request before it: the broker has them together.
                    if copy.answered && expect.send(Expected::Surplus).await.is_err() {
                        return Ending::Closed;
                    }
                    push(&mut bytes, &copy.frame);
                    self.wire.hit(&copy.tag);
                }
            }
            if broker.write_all(&bytes).await.is_err() {
                // Why, the broker's side tells.
                return Ending::Closed;
            }
        }
    }

    async fn send_copy(
        &self,
        copy: Copy,
        broker: &mut OwnedWriteHalf,
        expect: &mpsc::Sender<Expected>,
    ) -> bool {
        if copy.answered && expect.send(Expected::Surplus).await.is_err() {
            return false;
        }
        let mut bytes = Vec::new();
        push(&mut bytes, &copy.frame);
        self.wire.hit(&copy.tag);
        broker.write_all(&bytes).await.is_ok()
    }

    /// What is expected of a request, and what of it goes to the broker.
    fn plan(&self, head: Head, frame: Bytes, fate: Fate) -> (Option<Expected>, Option<Bytes>) {
        let answer = |then| Some(Expected::Answer(head, then));
        match fate {
            Fate::Lost { tag, linger } => (answer(Then::Lose(tag, linger)), Some(frame)),
            Fate::Held { tag, delay } => (answer(Then::Hold(tag, delay)), Some(frame)),
            Fate::Lied {
                tag,
                partition,
                lie,
            } => self.lie(head, frame, (tag, partition, lie)),
            Fate::Stale { tag, body } => match answer::repeated(head, &body) {
                Some(old) => {
                    self.wire.hit(&tag);
                    (Some(Expected::Instead(old)), None)
                }
                None => (answer(Then::Pass), Some(frame)),
            },
            Fate::Pass | Fate::Twice { .. } | Fate::Late { .. } => {
                let asks = head.api() == Some(ApiKey::Metadata) && self.wire.learns();
                let question = asks.then(|| Memory::question(head, &frame)).flatten();
                let then = question.map_or(Then::Pass, Then::Learn);
                (answer(then), Some(frame))
            }
        }
    }

    fn lie(
        &self,
        head: Head,
        frame: Bytes,
        (tag, partition, lie): (String, Option<u32>, Lie),
    ) -> (Option<Expected>, Option<Bytes>) {
        let answer = |then| Some(Expected::Answer(head, then));
        if head.api() != Some(ApiKey::Produce) || lie.is_told_after() {
            return (answer(Then::Lie(tag, partition, lie)), Some(frame));
        }
        let Some(split) = answer::split(head, &frame, partition, lie) else {
            return (answer(Then::Pass), Some(frame));
        };
        match split.rest {
            Some(rest) => (answer(Then::Join(tag, split.instead)), Some(rest)),
            None => match answer::whole(head, &split.instead) {
                Some(whole) => {
                    self.wire.hit(&tag);
                    (Some(Expected::Instead(whole)), None)
                }
                None => (answer(Then::Pass), Some(frame)),
            },
        }
    }

    /// Answers, from the broker to the client.
    async fn down(
        &self,
        answers: &mut Frames<OwnedReadHalf>,
        client: &mut OwnedWriteHalf,
        expected: &mut mpsc::Receiver<Expected>,
    ) -> Ending {
        loop {
            // What is expected is so before the broker is asked: whatever else comes, or does not,
            // is the end.
            let next = tokio::select! {
                biased;
                next = expected.recv() => next,
                _ = answers.next() => return Ending::Closed,
            };
            let answer = match next {
                None => return Ending::Closed,
                Some(Expected::Instead(answer)) => answer,
                Some(Expected::Surplus) => match answers.next().await {
                    Ok(Some(_)) => continue,
                    Ok(None) => return Ending::Closed,
                    Err(_) => return Ending::Reset,
                },
                Some(Expected::Answer(head, then)) => {
                    let answer = match answers.next().await {
                        Ok(Some(answer)) => answer,
                        Ok(None) => return Ending::Closed,
                        Err(_) => return Ending::Reset,
                    };
                    if let Then::Lose(tag, linger) = then {
                        self.wire.hit(&tag);
                        let losing = lose_all(answers, expected);
                        // Until the time is over, or the broker has closed.
                        let _ = timeout(linger, losing).await;
                        return Ending::Reset;
                    }
                    let answer = self.treated(head, answer, then).await;
                    match self.addresses {
                        Some(addresses) => addresses.ours(head, answer).await,
                        None => answer,
                    }
                }
            };
            let length = u32::try_from(answer.len().min(FRAME_BYTES_MAX)).unwrap_or(u32::MAX);
            let mut frame = Bytes::copy_from_slice(&length.to_be_bytes()).chain(answer);
            if client.write_all_buf(&mut frame).await.is_err() {
                return Ending::Closed;
            }
        }
    }

    /// What the client is told in place of what the broker said.
    async fn treated(&self, head: Head, answer: Bytes, then: Then) -> Bytes {
        match then {
            Then::Pass | Then::Lose(..) => answer,
            Then::Learn(question) => {
                if let Some(at) = head.answer_head().filter(|at| *at <= answer.len()) {
                    self.wire.memory().learn(question, answer.slice(at..));
                }
                answer
            }
            Then::Hold(tag, delay) => {
                self.while_it_holds(&tag, delay).await;
                self.wire.hit(&tag);
                answer
            }
            Then::Lie(tag, partition, lie) => {
                match answer::falsified(head, &answer, partition, lie) {
                    Some(lie) => {
                        self.wire.hit(&tag);
                        lie
                    }
                    None => answer,
                }
            }
            Then::Join(tag, instead) => match answer::joined(head, &answer, instead) {
                Some(joined) => {
                    self.wire.hit(&tag);
                    joined
                }
                None => answer,
            },
        }
    }

    /// Returns after that time, or when the fault holds no more.
    async fn while_it_holds(&self, tag: &str, time: Duration) {
        let until = Instant::now() + time;
        let mut changes = self.wire.changes();
        loop {
            changes.borrow_and_update();
            if !self.wire.holds(tag) {
                return;
            }
            tokio::select! {
                () = sleep_until(until) => return,
                _ = changes.changed() => {}
            }
        }
    }

    /// A request reaches the broker after its client has lost the connection.
    async fn late(
        &self,
        late: Late,
        mut expected: mpsc::Receiver<Expected>,
        answers: &mut Frames<OwnedReadHalf>,
        broker: &mut OwnedWriteHalf,
    ) {
        self.while_it_holds(&late.tag, late.delay).await;
        let mut bytes = Vec::new();
        push(&mut bytes, &late.frame);
        if broker.write_all(&bytes).await.is_err() {
            return;
        }
        self.wire.hit(&late.tag);
        // A broker whose client is gone may not do what it was asked: so somebody listens.
        let mut left = 1;
        while let Ok(expected) = expected.try_recv() {
            left += usize::from(!matches!(expected, Expected::Instead(_)));
        }
        let listening = async {
            while left > 0 && matches!(answers.next().await, Ok(Some(_))) {
                left -= 1;
            }
        };
        // Whether it answered is nobody's concern.
        let _ = timeout(LATE_ANSWER, listening).await;
    }
}

/// A request that is under way for long.
struct Late {
    frame: Bytes,
    tag: String,
    delay: Duration,
}

/// Takes every answer, and hands none on, until the broker closes.
async fn lose_all(answers: &mut Frames<OwnedReadHalf>, expected: &mut mpsc::Receiver<Expected>) {
    loop {
        tokio::select! {
            answer = answers.next() => {
                if !matches!(answer, Ok(Some(_))) {
                    return;
                }
            }
            next = expected.recv() => {
                if next.is_none() {
                    // The client asks no more; what it asked is still done.
                    while matches!(answers.next().await, Ok(Some(_))) {}
                    return;
                }
            }
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// When it is closed, the other end is told by a reset.
pub fn reset(stream: &TcpStream) {
    // An error means that it is closed already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
