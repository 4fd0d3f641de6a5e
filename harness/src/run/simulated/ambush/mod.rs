//! Ambushes: faults that wait for a moment in a broker, and strike then.
//!
//! A schedule of faults is drawn without looking at the brokers, and rarely hits the few
//! milliseconds in which two things have to go wrong together. An ambush sees what the brokers
//! come to (`broker::moments`) and who leads. Each one is a story that is told in a paper, a KIP or
//! a catalogue of bugs, with what is random in it drawn from the seed; it is played again and again
//! until the main phase is over, with time to recover in between.
//!
//! It does nothing to a broker that the nemesis could not do, so a correct one must bear it.

mod field;
mod joins;
mod restarts;

use clap::ValueEnum;
use tokio::sync::watch;

pub use field::Field;

/// Which story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ambush {
    /// No broker hears another's records, and leaders restart one after the other before their
    /// sessions end: three logs part from each other in as many epochs (KIP-101, KIP-279).
    Blips,
    /// A replica is about to join the ISR; its leader hears nothing of that any more, the joiner
    /// gets nothing any more, and the leader dies.
    Joiner,
    /// Who was fenced joins again under a new leader that does not know how much is committed, and
    /// that dies as soon as it has let it in.
    FencedJoiner,
    /// A replica is about to join the ISR, loses power and its tail, and is back before the
    /// controller hears of the join (KIP-903).
    RebornJoiner,
    /// The last of the ISR loses power, and with it what it never synced (KIP-966).
    LastStanding,
    /// Brokers die between the steps of a commit of the metadata.
    Commits,
    /// A leader whose disk is slow loses power, and parts of its un-synced writes are there.
    Torn,
    /// A leader stands still for less than its session, again and again: what was sent to it
    /// meanwhile comes all at once.
    Stutter,
}

impl Field {
    /// Plays `ambush` until the main phase is over, or until it is stopped.
    pub async fn lie_in_wait(mut self, ambush: Ambush, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            // An error says that nobody can stop it any more.
            _ = stopped.wait_for(|stop| *stop) => {}
            () = self.play(ambush) => {}
        }
        self.heal();
    }

    async fn play(&mut self, ambush: Ambush) {
        self.pause(1_500, 2_500).await;
        while self.has_time() {
            let Some(scene) = self.scene().await else {
                self.pause(300, 500).await;
                continue;
            };
            self.tell(&format!("{ambush:?}: {scene:?}"));
            match ambush {
                Ambush::Blips => self.blips(&scene).await,
                Ambush::Joiner => self.joiner(&scene).await,
                Ambush::FencedJoiner => self.fenced_joiner(&scene).await,
                Ambush::RebornJoiner => self.reborn_joiner(&scene).await,
                Ambush::LastStanding => self.last_standing(&scene).await,
                Ambush::Commits => self.commits().await,
                Ambush::Torn => self.torn(&scene).await,
                Ambush::Stutter => self.stutter(&scene).await,
            }
            self.heal();
            self.tell("healed");
            self.pause(3_000, 5_000).await;
        }
    }
}

#[cfg(test)]
mod commits_test;
