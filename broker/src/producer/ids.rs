//! Producer ids: unique in the cluster for ever, handed out without a round trip while a block
//! lasts.
//!
//! A block is reserved in the metadata log (KIP-730) before its first id is handed out, so two
//! brokers, or two lives of one broker, never hand out the same id. What is left of a block when
//! a broker stops is never used: ids are 63 bits wide and need not be dense.

use crate::locks::{AsyncMutex, Lock};
use crate::meta::command::{Applied, Command};
use crate::meta::handle::{MetadataHandle, ProposeError};
use crate::types::{BrokerId, ProducerId};

/// Ids reserved at a time, as in Kafka.
pub const BLOCK_SIZE: i32 = 1000;

/// This broker's supply of producer ids.
pub struct ProducerIds {
    broker: BrokerId,
    meta: MetadataHandle,
    /// What is left of the block, as `next .. end`. Held over the reservation of a new block, so
    /// that callers who find it empty together wait for one reservation instead of making many.
    block: AsyncMutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    /// A supply that reserves its first block when the first id is asked for.
    #[must_use]
    pub fn new(broker: BrokerId, meta: MetadataHandle) -> Self {
        Self {
            broker,
            meta,
            block: AsyncMutex::new(Lock::ProducerIds, 0..0),
        }
    }

    /// An id that nobody else has or will get.
    ///
    /// # Errors
    /// When a new block is needed and the controller does not grant one; a later call may succeed.
    pub async fn next(&self) -> Result<ProducerId, ProposeError> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            *block = self.reserve().await?;
        }
        let id = block.start;
        block.start += 1;
        Ok(ProducerId(id))
    }

    async fn reserve(&self) -> Result<std::ops::Range<i64>, ProposeError> {
        let epoch = self
            .meta
            .broker_epoch()
            .ok_or_else(|| ProposeError::Unknown("this broker is not registered yet".to_owned()))?;
        let command = Command::AllocateProducerIds {
            id: self.broker,
            epoch,
            count: BLOCK_SIZE,
        };
        match self.meta.propose(command).await? {
            Applied::ProducerIds { first, count } => {
                assert!(count > 0, "an empty block of producer ids was granted");
                Ok(first.get()..first.get() + i64::from(count))
            }
            other => unreachable!("a reservation of producer ids was answered with {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::meta::handle::Proposal;
    use crate::meta::image::MetadataImage;
    use crate::types::BrokerEpoch;

    /// A controller that grants blocks and counts them.
    fn controller(epoch: Option<BrokerEpoch>) -> (MetadataHandle, tokio::task::JoinHandle<i64>) {
        let (proposals, mut inbox) = mpsc::channel::<Proposal>(16);
        let (_image, image) = crate::meta::told::channel(Arc::new(MetadataImage::default()));
        let (_epoch, epoch) = crate::meta::told::channel(epoch);
        let (_controller, controller) = crate::meta::told::channel(None);
        let task = tokio::spawn(async move {
            let mut next = 0;
            while let Some(proposal) = inbox.recv().await {
                let Command::AllocateProducerIds { count, .. } = proposal.command else {
                    panic!("only producer ids are asked for here");
                };
                let granted = Applied::ProducerIds {
                    first: ProducerId(next),
                    count,
                };
                next += i64::from(count);
                proposal.reply.send(Ok(granted)).expect("the caller waits");
            }
            next
        });
        (
            MetadataHandle::new(proposals, image, epoch, controller),
            task,
        )
    }

    #[tokio::test]
    async fn ids_are_unique_and_blocks_are_reserved_only_when_needed() {
        let (meta, controller) = controller(Some(BrokerEpoch(7)));
        let supply = Arc::new(ProducerIds::new(BrokerId(1), meta));
        let callers: Vec<_> = (0..10)
            .map(|_| {
                let supply = supply.clone();
                tokio::spawn(async move {
                    let mut ids = Vec::new();
                    for _ in 0..150 {
                        ids.push(supply.next().await.expect("granted"));
                    }
                    ids
                })
            })
            .collect();
        let mut seen = BTreeSet::new();
        for caller in callers {
            for id in caller.await.expect("no panic") {
                assert!(seen.insert(id), "{id} was handed out twice");
            }
        }
        assert_eq!(seen.len(), 1500);
        drop(supply);
        assert_eq!(controller.await.expect("no panic"), 2000, "two blocks");
    }

    #[tokio::test]
    async fn an_unregistered_broker_hands_out_nothing() {
        let (meta, _controller) = controller(None);
        let supply = ProducerIds::new(BrokerId(1), meta);
        assert!(matches!(supply.next().await, Err(ProposeError::Unknown(_))));
    }
}
