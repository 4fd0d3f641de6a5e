//! Processes: groups of tasks on a machine that live, stand still and die together.
//!
//! Death is synchronous: when [`Process::kill`] returns, every task is gone, and its destructors
//! have run in the order in which the tasks were started. A panic in any task is the end of the
//! whole process, as it is for the real broker; what a handler contains never gets here.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::net::contain;

thread_local! {
    /// Where the code that runs now runs.
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct Here {
    machine: Ipv4Addr,
    process: Option<Arc<Process>>,
}

/// The process whose code runs now, if it is a simulated one's.
#[must_use]
pub fn current() -> Option<Arc<Process>> {
    HERE.with_borrow(|here| here.as_ref()?.process.clone())
}

/// The machine whose code runs now; [`super::world::OUTSIDE`] for the harness.
#[must_use]
pub fn machine() -> Ipv4Addr {
    HERE.with_borrow(|here| here.as_ref().map(|here| here.machine))
        .unwrap_or(super::world::OUTSIDE)
}

fn within<T>(here: Here, work: impl FnOnce() -> T) -> T {
    /// Also when `work` panics.
    struct Back(Option<Here>);
    impl Drop for Back {
        fn drop(&mut self) {
            HERE.set(self.0.take());
        }
    }
    let _back = Back(HERE.replace(Some(here)));
    work()
}

/// Runs `future` as if on `machine`, but in no process: a tool that is run there by hand.
pub fn on_machine<F: Future>(machine: Ipv4Addr, future: F) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| {
        let here = Here {
            machine,
            process: None,
        };
        within(here, || future.as_mut().poll(context))
    })
}

/// What became of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives (running or stopped).
    Lives,
    /// It was killed from outside.
    Killed,
    /// It ended by itself, and said why.
    Ended(String),
    /// An assertion failed, or other code panicked.
    Panicked(String),
}

/// One simulated process.
pub struct Process {
    machine: Ipv4Addr,
    state: Mutex<State>,
    fate: watch::Sender<Fate>,
    /// What the kernel does first when it dies, before any destructor runs.
    at_death: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// To be polled when it goes on.
    waiting: Vec<Waker>,
    tasks: BTreeMap<u64, Arc<dyn Task>>,
    next_task: u64,
}

/// A task's future, as its process holds it.
trait Task: Send + Sync {
    /// Drops the future, unless it is being polled (then it is dropped right after).
    fn drop_future(&self);
}

struct Slot<F>(Mutex<Option<Pin<Box<F>>>>);

impl<F: Future + Send> Task for Slot<F> {
    fn drop_future(&self) {
        let future = locked(&self.0).take();
        drop(future);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// Starts `main` as a new process on `machine`; what it returns is why it ended by itself.
    /// `at_death` is called first thing when the process dies, however: to take its disk away.
    pub fn start(
        machine: Ipv4Addr,
        at_death: impl Fn() + Send + Sync + 'static,
        main: impl Future<Output = String> + Send + 'static,
    ) -> Arc<Self> {
        let process = Arc::new(Self {
            machine,
            state: Mutex::default(),
            fate: watch::Sender::new(Fate::Lives),
            at_death: Box::new(at_death),
        });
        let own = process.clone();
        process.spawn(async move {
            let why = main.await;
            own.die(Fate::Ended(why));
        });
        process
    }

    /// What has become of it.
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.fate.borrow().clone()
    }

    /// Tells of its end.
    #[must_use]
    pub fn watch_fate(&self) -> watch::Receiver<Fate> {
        self.fate.subscribe()
    }

    fn lives(&self) -> bool {
        *self.fate.borrow() == Fate::Lives
    }

    /// Starts a task of this process. In a dead process it never runs.
    pub fn spawn<F>(self: &Arc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let slot = Arc::new(Slot(Mutex::new(None)));
        let mut state = locked(&self.state);
        let number = state.next_task;
        state.next_task += 1;
        if self.lives() {
            *locked(&slot.0) = Some(Box::pin(future));
            state.tasks.insert(number, slot.clone());
        }
        drop(state);
        tokio::spawn(Hosted {
            process: self.clone(),
            slot,
            number,
        })
    }

    /// SIGKILL: nothing of it runs any more. What dies of destructors dies on this machine.
    pub fn kill(&self) {
        self.die(Fate::Killed);
    }

    /// Ends the process, from the inside or the outside; the first reason given stands.
    pub fn die(&self, fate: Fate) {
        if !self.lives() {
            return;
        }
        self.fate.send_replace(fate);
        (self.at_death)();
        let tasks = {
            let mut state = locked(&self.state);
            state.waiting.clear();
            std::mem::take(&mut state.tasks)
        };
        let here = Here {
            machine: self.machine,
            process: None,
        };
        within(here, || tasks.values().for_each(|task| task.drop_future()));
    }

    /// SIGSTOP: no task goes on, connections stay open, time passes.
    pub fn pause(&self) {
        locked(&self.state).stopped = true;
    }

    /// SIGCONT.
    pub fn resume(&self) {
        let waiting = {
            let mut state = locked(&self.state);
            state.stopped = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether it is stopped by [`Process::pause`].
    #[must_use]
    pub fn is_paused(&self) -> bool {
        locked(&self.state).stopped
    }
}

/// A task of a process, as tokio sees it. Dead tasks stay pending until the runtime goes.
struct Hosted<F> {
    process: Arc<Process>,
    slot: Arc<Slot<F>>,
    number: u64,
}

impl<F: Future + Send + 'static> Future for Hosted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let process = &self.process;
        {
            let mut state = locked(&process.state);
            if state.stopped {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        let Some(mut future) = locked(&self.slot.0).take() else {
            return Poll::Pending;
        };
        let here = Here {
            machine: process.machine,
            process: Some(process.clone()),
        };
        let polled = within(here.clone(), || {
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)))
        });
        match polled {
            Ok(Poll::Pending) if process.lives() => {
                *locked(&self.slot.0) = Some(future);
                return Poll::Pending;
            }
            Ok(Poll::Ready(output)) if process.lives() => {
                locked(&process.state).tasks.remove(&self.number);
                within(here, || drop(future));
                return Poll::Ready(output);
            }
            Ok(_) => {}
            Err(panic) => process.die(Fate::Panicked(told(&*panic))),
        }
        within(here, || drop(future));
        Poll::Pending
    }
}

fn told(panic: &(dyn Any + Send)) -> String {
    contain::message(panic)
}
