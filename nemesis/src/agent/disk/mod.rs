//! `nemesis-agent disk`: a disk that loses what was not synced, tears, fills up, fails, slows
//! down and rots, on request.
//!
//! It is a file system of the kernel (FUSE) whose files are files in a directory beside it.
//! Whoever started it speaks with it over its standard input and output, a line of JSON each; when
//! that one is gone, however it went, the disk unmounts itself and ends.
//!
//! A killed broker loses nothing: what it wrote is in here, as it would be in a kernel's page
//! cache. Only the order to lose power takes what was not synced.

mod content;
mod mount;
mod tree;
mod volume;

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{Config, INodeNo, MountOption, Session, SessionACL};
use nix::mount::{MntFlags, umount2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use self::mount::Mounted;
use self::volume::{Volume, locked};
use crate::cluster::{DiskOrder, DiskReport};

/// What the kernel lists it under: mounts that outlived their disk are found by it.
pub const SOURCE: &str = "nemesis-disk";
/// Requests that are worked on at the same time.
const THREADS: usize = 4;

/// One line to a disk. Every one is answered with a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskRequest {
    /// Do this.
    Order(DiskOrder),
    /// Only report.
    Report,
}

/// One line from it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DiskReply {
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<DiskReport>,
}

/// What a disk is to be.
#[derive(Debug, Clone)]
pub struct DiskSpec {
    /// Where it is mounted: an empty directory.
    pub at: PathBuf,
    /// Where its bytes are: another one.
    pub backing: PathBuf,
    /// Names become durable in order with any sync, as on ext4 and XFS; else each directory by a
    /// sync of its own, which is all that POSIX promises.
    pub ordered: bool,
    /// For tears and flipped bits.
    pub seed: u64,
}

/// Mounts, and serves until standard input ends.
pub fn run(spec: &DiskSpec) -> io::Result<()> {
    many_files()?;
    let volume = Arc::new(Volume::new(&spec.backing, spec.ordered, spec.seed));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName(SOURCE.to_owned()), MountOption::NoAtime];
    // The broker is another user than the one who mounts.
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    let session = Session::new(Mounted(volume.clone()), &spec.at, &config)?.spawn()?;
    let notifier = session.notifier();
    answer(&Ok(()), &volume)?;
    for line in io::stdin().lock().lines() {
        let done = match serde_json::from_str(&line?) {
            Ok(DiskRequest::Order(order)) => {
                let done = volume.obey(&order);
                for number in locked(&volume.tree).numbers() {
                    // Of a file that was mapped the kernel has pages; of others nothing.
                    let _ = notifier.inval_inode(INodeNo(number), 0, 0);
                }
                done
            }
            Ok(DiskRequest::Report) => Ok(()),
            Err(error) => Err(io::Error::other(format!("not a request: {error}"))),
        };
        answer(&done, &volume)?;
    }
    unmount(&spec.at)?;
    // Requests that are under way have nobody any more to be answered for.
    std::process::exit(0)
}

fn answer(done: &io::Result<()>, volume: &Volume) -> io::Result<()> {
    let mut reply = DiskReply::default();
    match (done, volume.report()) {
        (Ok(()), Ok(report)) => reply.report = Some(report),
        (Err(error), _) => reply.error = Some(error.to_string()),
        (_, Err(error)) => reply.error = Some(error.to_string()),
    }
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}

/// Takes a mount away, whoever is still in it.
pub fn unmount(at: &Path) -> io::Result<()> {
    umount2(at, MntFlags::MNT_DETACH).map_err(io::Error::from)
}

/// Each file of the broker is an open file here.
fn many_files() -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}
