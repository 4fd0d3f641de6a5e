//! One connection to each broker, opened when needed, and opened anew after a failure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{
    ClusterView, Conn, CreateTopic, PartitionOffsets, PartitionView, QuestionUnknown, QuorumLeader,
    RequestError, create_topic, describe_cluster, list_offsets, quorum, quorum_leader, touch_topic,
};

/// The brokers of a cluster by id, each asked on its own connection.
pub struct Brokers {
    slots: BTreeMap<i32, Slot>,
    /// Held by who asks in the name of a process of the history, which does one thing at a time.
    pub turn: Mutex<()>,
}

struct Slot {
    address: String,
    conn: Mutex<Option<Conn>>,
}

impl Brokers {
    /// Brokers at their client addresses (`host:port`).
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = (i32, String)>) -> Self {
        let slot = |address| Slot {
            address,
            conn: Mutex::new(None),
        };
        let slots = addresses
            .into_iter()
            .map(|(id, address)| (id, slot(address)))
            .collect();
        Self {
            slots,
            turn: Mutex::new(()),
        }
    }

    /// Learns the brokers of a cluster from any of its `bootstrap` addresses.
    ///
    /// # Errors
    /// The last failure, where none of them answers.
    pub async fn discover(bootstrap: &str, within: Duration) -> Result<Self, RequestError> {
        let mut last = RequestError::Unreachable {
            address: bootstrap.to_owned(),
            why: "no address was given".to_owned(),
        };
        for address in bootstrap
            .split(',')
            .map(str::trim)
            .filter(|a| !a.is_empty())
        {
            let view = match Conn::open(address, within).await {
                Ok(mut conn) => describe_cluster(&mut conn, None, within).await,
                Err(error) => Err(error),
            };
            match view {
                Ok(view) if !view.brokers.is_empty() => {
                    return Ok(Self::new(
                        view.brokers.into_iter().map(|b| (b.id, b.address)),
                    ));
                }
                Ok(_) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// All ids, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<i32> {
        self.slots.keys().copied().collect()
    }

    /// How one broker sees the cluster.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn view(
        &self,
        id: i32,
        topic: Option<&str>,
        within: Duration,
    ) -> Result<ClusterView, RequestError> {
        let slot = self.slot(id)?;
        let mut guard = slot.conn.lock().await;
        let conn = opened(&slot.address, &mut guard, within).await?;
        describe_cluster(conn, topic, within).await
    }

    /// How every broker sees the cluster; those that do not answer are absent.
    pub async fn views(&self, topic: Option<&str>, within: Duration) -> BTreeMap<i32, ClusterView> {
        let asked = self.slots.keys().map(|id| async move {
            let view = self.view(*id, topic, within).await;
            view.ok().map(|view| (*id, view))
        });
        let answers = futures_util::future::join_all(asked).await;
        answers.into_iter().flatten().collect()
    }

    /// Who leads the metadata quorum, by the newest answer of all brokers; `None` while none of
    /// those that answer knows of a leader.
    ///
    /// # Errors
    /// Where the brokers do not offer DescribeQuorum: ask [`Brokers::views`] then.
    pub async fn quorum_leader(
        &self,
        within: Duration,
    ) -> Result<Option<QuorumLeader>, QuestionUnknown> {
        let asked = self.slots.values().map(|slot| async move {
            let mut guard = slot.conn.lock().await;
            let conn = opened(&slot.address, &mut guard, within).await?;
            quorum_leader(conn, within).await
        });
        quorum::newest_leader(futures_util::future::join_all(asked).await)
    }

    /// What one broker says of the ends of a topic's partitions.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn offsets(
        &self,
        id: i32,
        topic: &str,
        partitions: i32,
        within: Duration,
    ) -> Result<BTreeMap<i32, PartitionOffsets>, RequestError> {
        let slot = self.slot(id)?;
        let mut guard = slot.conn.lock().await;
        let conn = opened(&slot.address, &mut guard, within).await?;
        list_offsets(conn, topic, partitions, within).await
    }

    /// Creates a topic through the first broker that does it.
    ///
    /// # Errors
    /// The last failure, where none does.
    pub async fn create_topic(
        &self,
        topic: &CreateTopic<'_>,
        within: Duration,
    ) -> Result<(), RequestError> {
        let mut last = None;
        for slot in self.slots.values() {
            let mut guard = slot.conn.lock().await;
            let result = match opened(&slot.address, &mut guard, within).await {
                Ok(conn) => create_topic(conn, topic, within).await,
                Err(error) => Err(error),
            };
            match result {
                // A first try whose answer was lost may have created it: the name is ours alone.
                Err(RequestError::Refused { ref code, .. }) if code == "TOPIC_ALREADY_EXISTS" => {
                    return Ok(());
                }
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.unknown(-1)))
    }

    /// Asks a broker about a topic in the way that makes it, where brokers do that.
    pub async fn touch_topic(&self, topic: &str, within: Duration) {
        for slot in self.slots.values() {
            let mut guard = slot.conn.lock().await;
            if let Ok(conn) = opened(&slot.address, &mut guard, within).await
                && touch_topic(conn, topic, within).await.is_ok()
            {
                return;
            }
        }
    }

    fn slot(&self, id: i32) -> Result<&Slot, RequestError> {
        self.slots.get(&id).ok_or_else(|| self.unknown(id))
    }

    fn unknown(&self, id: i32) -> RequestError {
        RequestError::Unreachable {
            address: format!("of broker {id}"),
            why: format!("known brokers are {:?}", self.ids()),
        }
    }
}

async fn opened<'a>(
    address: &str,
    slot: &'a mut Option<Conn>,
    within: Duration,
) -> Result<&'a mut Conn, RequestError> {
    if !slot.as_ref().is_some_and(Conn::usable) {
        *slot = None;
        *slot = Some(Conn::open(address, within).await?);
    }
    Ok(slot.as_mut().expect("it was just opened"))
}

/// The view of each partition with the highest leader epoch among all answers.
#[must_use]
pub fn newest(views: &BTreeMap<i32, ClusterView>) -> BTreeMap<i32, PartitionView> {
    let mut newest: BTreeMap<i32, PartitionView> = BTreeMap::new();
    for (partition, view) in views.values().flat_map(|view| &view.partitions) {
        let older = newest
            .get(partition)
            .is_none_or(|known| (known.epoch, known.leader) < (view.epoch, view.leader));
        if older {
            newest.insert(*partition, view.clone());
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_epoch_is_believed() {
        let view = |leader, epoch| {
            let partition = PartitionView {
                leader: Some(leader),
                epoch,
                replicas: vec![1, 2, 3],
                isr: vec![leader],
            };
            ClusterView {
                partitions: BTreeMap::from([(0, partition)]),
                ..ClusterView::default()
            }
        };
        let views = BTreeMap::from([(1, view(1, 4)), (2, view(2, 5)), (3, view(1, 4))]);
        assert_eq!(newest(&views)[&0].leader, Some(2));
    }
}
