//! The door to the metadata actor: propose a command, watch the image.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::meta::command::{Applied, Command, Rejected};
use crate::meta::image::MetadataImage;
use crate::meta::told::Told;
use crate::types::{BrokerEpoch, BrokerId};

/// Why a proposal has no decision.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Decided, and refused, in log order.
    #[error("rejected: {0}")]
    Rejected(#[from] Rejected),
    /// Not decided that we know of: it may still be committed later.
    #[error("no answer from the controller within the deadline: {0}")]
    Unknown(String),
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

/// What the actor receives.
pub struct Proposal {
    /// The command.
    pub command: Command,
    /// Where the decision goes.
    pub reply: oneshot::Sender<Result<Applied, ProposeError>>,
}

/// Cheap to clone; every part of the broker has one.
#[derive(Clone)]
pub struct MetadataHandle {
    proposals: mpsc::Sender<Proposal>,
    image: Told<Arc<MetadataImage>>,
    /// This broker's current registration; `None` until it is registered.
    broker_epoch: Told<Option<BrokerEpoch>>,
    /// The active controller (the Raft leader), as far as this broker knows.
    controller: Told<Option<BrokerId>>,
}

impl MetadataHandle {
    /// Ties the ends together; the actor keeps the others.
    #[must_use]
    pub fn new(
        proposals: mpsc::Sender<Proposal>,
        image: Told<Arc<MetadataImage>>,
        broker_epoch: Told<Option<BrokerEpoch>>,
        controller: Told<Option<BrokerId>>,
    ) -> Self {
        Self {
            proposals,
            image,
            broker_epoch,
            controller,
        }
    }

    /// The newest applied image: no lock.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.get()
    }

    /// To wait for newer images.
    #[must_use]
    pub fn watch_image(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.image.watch()
    }

    /// This broker's registration, once there is one.
    #[must_use]
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.broker_epoch.get()
    }

    /// To wait for the registration.
    #[must_use]
    pub fn watch_broker_epoch(&self) -> watch::Receiver<Option<BrokerEpoch>> {
        self.broker_epoch.watch()
    }

    /// The active controller as far as this broker knows.
    #[must_use]
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller.get()
    }

    /// Puts `command` into the log, wherever the Raft leader is, and waits until it is applied
    /// *here* (a following `image()` shows its effect).
    ///
    /// # Errors
    /// [`ProposeError::Rejected`] is a decision; [`ProposeError::Unknown`] is none: the command
    /// may still be committed.
    pub async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let (reply, answer) = oneshot::channel();
        self.proposals
            .send(Proposal { command, reply })
            .await
            .map_err(|_| ProposeError::Stopping)?;
        answer.await.map_err(|_| ProposeError::Stopping)?
    }
}
