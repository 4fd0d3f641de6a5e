//! The disk, mounted: what programs see of files, of a power loss, and of everything else that can
//! be wrong with it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nemesis::agent::disk::{DiskReply, DiskRequest, DiskSpec};
use nemesis::{DiskOrder, DiskReport};

use crate::lab::AGENT;

/// Whether this user may have a disk; if not, that is told.
fn possible(test: &str) -> bool {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let Err(error) = opened else { return true };
    let line = format!("SKIPPED {test}: /dev/fuse: {error}\n");
    // Past the test's capture: this is to be seen.
    let mut stderr = File::create("/dev/stderr").expect("there is a standard error");
    let _ = stderr.write_all(line.as_bytes());
    false
}

struct Disk {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    at: PathBuf,
    _place: tempfile::TempDir,
}

impl Disk {
    fn mount(ordered: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let spec = DiskSpec {
            at: place.path().join("at"),
            backing: place.path().join("backing"),
            ordered,
            seed: 7,
        };
        fs::create_dir(&spec.at).unwrap();
        fs::create_dir(&spec.backing).unwrap();
        let mut command = Command::new(AGENT);
        command.args(spec.arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut disk = Self {
            input: process.stdin.take(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
            at: spec.at,
            _place: place,
        };
        disk.hear();
        disk
    }

    fn hear(&mut self) -> DiskReport {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let reply: DiskReply = serde_json::from_str(&line).unwrap();
        reply.report.unwrap_or_else(|| panic!("{:?}", reply.error))
    }

    fn ask(&mut self, request: &DiskRequest) -> DiskReport {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        self.input.as_mut().unwrap().write_all(&line).unwrap();
        self.hear()
    }

    fn order(&mut self, order: DiskOrder) -> DiskReport {
        self.ask(&DiskRequest::Order(order))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    fn sync_names(&self) {
        File::open(&self.at).unwrap().sync_all().unwrap();
    }

    /// As when the one who mounted it is gone.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.process.wait().unwrap().success());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.at.to_str().unwrap()), "{mounts}");
    }
}

fn create(path: &Path) -> File {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(path);
    file.unwrap()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

pub fn a_power_loss_takes_what_was_not_synced() {
    if !possible("a_power_loss_takes_what_was_not_synced") {
        return;
    }
    let mut disk = Disk::mount(false);
    let file = create(&disk.file("a"));
    disk.sync_names();
    let lines =
        |from: u32, to: u32| -> String { (from..to).map(|n| format!("{n:05}\n")).collect() };
    file.write_all_at(lines(0, 50).as_bytes(), 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(lines(50, 55).as_bytes(), 300).unwrap();
    fs::rename(disk.file("a"), disk.file("b")).unwrap();
    fs::create_dir(disk.file("new")).unwrap();
    create(&disk.file("new/c")).sync_all().unwrap();
    assert_eq!(read(&disk.file("b")), lines(0, 55).as_bytes());
    drop(file);
    let report = disk.order(DiskOrder::LosePower { torn: false });
    assert_eq!((report.lost_writes, report.lost_bytes), (1, 30));
    // 55 lines became the 50 that were synced, under the name that was.
    assert_eq!(read(&disk.file("a")), lines(0, 50).as_bytes());
    assert!(!disk.file("b").exists() && !disk.file("new").exists());
    assert_eq!(report.lost_names, 4, "{report:?}");
    disk.end();
}

pub fn files_are_files() {
    if !possible("files_are_files") {
        return;
    }
    let disk = Disk::mount(true);
    let dir = disk.file("d/e");
    fs::create_dir_all(&dir).unwrap();
    for number in 0..200 {
        fs::write(dir.join(format!("f{number}")), vec![1; number]).unwrap();
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 200);
    let mut file = OpenOptions::new()
        .append(true)
        .open(dir.join("f7"))
        .unwrap();
    file.write_all(b"more").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 11);
    file.set_len(2).unwrap();
    let mut open = File::open(dir.join("f9")).unwrap();
    fs::remove_file(dir.join("f9")).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(
        open.read_to_end(&mut bytes).unwrap(),
        9,
        "it lives while it is open"
    );
    assert!(fs::remove_dir(&dir).is_err());
    fs::rename(dir.join("f8"), dir.join("f7")).unwrap();
    assert_eq!(read(&dir.join("f7")), [1; 8]);
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(dir.join("large"), &large).unwrap();
    assert!(read(&dir.join("large")) == large);
    // Two processes cannot both hold a lock.
    let (one, two) = (
        create(&disk.file("lock")),
        File::open(disk.file("lock")).unwrap(),
    );
    one.lock().unwrap();
    assert!(two.try_lock().is_err());
    fs::remove_dir_all(disk.file("d")).unwrap();
    disk.end();
}

pub fn a_disk_fills_up_fails_and_slows_down() {
    if !possible("a_disk_fills_up_fails_and_slows_down") {
        return;
    }
    let mut disk = Disk::mount(false);
    let file = create(&disk.file("a.log"));
    file.write_all_at(&[0; 5_000], 0).unwrap();
    assert_eq!(disk.order(DiskOrder::Full(true)).room, 0);
    let full = file.write_all_at(b"x", 5_000).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    assert!(fs::write(disk.file("b"), b"").is_err());
    file.write_all_at(b"x", 4_000).unwrap();
    assert!(disk.order(DiskOrder::Full(false)).refused >= 2);
    file.write_all_at(b"x", 5_000).unwrap();

    assert!(disk.order(DiskOrder::FailSync(true)).sync_will_fail);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    disk.order(DiskOrder::FailReads(true));
    let eio = file.read_at(&mut [0], 0).unwrap_err();
    assert_eq!(eio.raw_os_error(), Some(libc::EIO));
    disk.order(DiskOrder::FailReads(false));
    file.read_at(&mut [0], 0).unwrap();

    disk.order(DiskOrder::Slow(Duration::from_millis(300)));
    let began = Instant::now();
    file.sync_data().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    let report = disk.order(DiskOrder::Slow(Duration::ZERO));
    assert!(
        report.last_sync_us >= 300_000 && report.failed_syncs == 1,
        "{report:?}"
    );
    assert_eq!(report.failed_reads, 1);

    let before = read(&disk.file("a.log"));
    let report = disk.order(DiskOrder::FlipBit);
    let after = read(&disk.file("a.log"));
    let bits = before.iter().zip(&after).map(|(a, b)| (a ^ b).count_ones());
    assert_eq!(bits.sum::<u32>(), 1, "{report:?}");
    disk.order(DiskOrder::CutTail);
    let cut = read(&disk.file("a.log"));
    assert!(cut.len() < after.len() && after.starts_with(&cut));
    disk.end();
}
