//! Whose log a directory holds: written when the log is begun, read before anything of it is
//! believed.
//!
//! A broker's membership in ISRs rests on its log, and is remembered elsewhere (in the metadata).
//! A log that is gone, that was exchanged with another broker's, or that is opened under another
//! broker id must not be taken for the one on which the membership rests.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::OpenError;
use crate::storage::{Storage, read_small};
use crate::types::BrokerId;

/// The file in the log directory.
const FILE: &str = "identity";

/// Identity of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdentity {
    /// The broker that it belongs to.
    pub broker: BrokerId,
    /// Drawn when the log was begun.
    pub log: Uuid,
}

/// What is known of a log that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFound {
    /// Its identity.
    pub id: Uuid,
    /// It holds no record: it may have been begun just now.
    pub empty: bool,
}

impl LogIdentity {
    /// What `dir` says, if it says anything; refused when it is another broker's.
    pub(super) fn read(self, storage: &dyn Storage, dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(FILE);
        let file = path.display().to_string();
        let text = read_small(storage, &path).map_err(|source| OpenError::Io {
            dir: file.clone(),
            source,
        })?;
        let Some(text) = text else {
            return Ok(None);
        };
        let found: Self = serde_json::from_slice(&text).map_err(|error| OpenError::Corrupt {
            file,
            position: 0,
            reason: format!("it does not say whose log this is: {error}"),
        })?;
        if found.broker != self.broker {
            return Err(OpenError::Foreign {
                dir: dir.display().to_string(),
                owner: found.broker,
                asked: self.broker,
            });
        }
        Ok(Some(found))
    }

    /// Writes it into `dir`, durably, before the first record.
    pub(super) fn write(self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(&self).expect("a number and an id");
        storage.replace(&dir.join(FILE), &text)
    }
}
