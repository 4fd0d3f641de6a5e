//! Tests of the dump.

use proptest::prelude::*;

use super::*;
use crate::log::tests::support::{batch, batch_of, cases, healthy, produced, take, tp};
use crate::storage::memory::MemoryStorage;
use crate::types::{BrokerEpoch, LeaderEpoch};

fn dumped(disk: &MemoryStorage, records: bool) -> Vec<Value> {
    let mut out = Vec::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    dump(
        &storage,
        Path::new("log"),
        DumpOptions { records },
        &mut out,
    )
    .unwrap();
    let lines = out
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect()
}

#[test]
fn records_partitions_and_the_wal_are_told_as_recovered() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    let mut log = take(&store, tp(1, 2));
    let first = batch_of(&[b"hello", b"\xff\x00"], 5000);
    log.append(LeaderEpoch(3), &produced(&first)).unwrap();
    log.append(LeaderEpoch(4), &produced(&batch_of(&[b"lost"], 1)))
        .unwrap();
    log.truncate(Offset(2)).unwrap();
    log.append(LeaderEpoch(5), &produced(&batch_of(&[b"kept"], 1)))
        .unwrap();
    log.note_high_watermark(Offset(2));
    drop(log);
    store.close(BrokerEpoch(9)).unwrap();
    drop(store);
    let before = disk.files();
    let lines = dumped(&disk, true);
    assert_eq!(
        kinds(&lines),
        [
            "wal",
            "partition",
            "batch",
            "record",
            "record",
            "batch",
            "record"
        ]
    );
    assert_eq!(
        (&lines[0]["clean_shutdown"], &lines[0]["torn"]),
        (&json!(9), &Value::Null)
    );
    let partition = json!({
        "kind": "partition", "topic_id": tp(1, 2).topic, "partition": 2, "log_start": 0,
        "log_end": 3, "high_watermark": 2, "last_epoch": 5,
    });
    assert_eq!(lines[1], partition);
    let record = json!({
        "kind": "record", "topic_id": tp(1, 2).topic, "partition": 2, "offset": 0,
        "leader_epoch": 3, "timestamp": 5000, "key": null, "value": "hello",
    });
    assert_eq!(lines[3], record);
    assert_eq!(lines[4]["value_base64"], "/wA=");
    let last = (
        &lines[6]["offset"],
        &lines[6]["leader_epoch"],
        &lines[6]["value"],
    );
    assert_eq!(last, (&json!(2), &json!(5), &json!("kept")));
    assert_eq!(kinds(&dumped(&disk, false)), ["wal", "partition"]);
    assert_eq!(disk.files(), before, "nothing was changed");
}

#[test]
fn a_torn_tail_is_told_and_left_as_it_is() {
    let disk = MemoryStorage::new();
    let store = healthy(&disk);
    let mut log = take(&store, tp(1, 0));
    for serial in 0..2 {
        log.append(LeaderEpoch(0), &produced(&batch(serial, 1, 10)))
            .unwrap();
        store.commit_pending();
    }
    drop((log, store));
    let (path, size) = disk.files().remove(0);
    disk.tamper(&path, |bytes| bytes.truncate(size - 9));
    for _ in 0..2 {
        let lines = dumped(&disk, true);
        assert_eq!(lines[0]["torn"]["reason"], "the file ends within the frame");
        assert_eq!(lines[1]["log_end"], 1);
    }
    assert_eq!(disk.files(), [(path, size - 9)]);
}

#[test]
fn a_real_directory_is_found_by_either_name() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(LOG_DIR);
    let store = crate::log::LogStore::open(crate::log::LogConfig::new(dir.clone())).unwrap();
    take(&store, tp(1, 0))
        .append(LeaderEpoch(0), &produced(&batch(1, 1, 10)))
        .unwrap();
    store.close(BrokerEpoch(1)).unwrap();
    let mut dumps = [root.path(), &dir].map(|dir| {
        let mut out = Vec::new();
        dump_log(dir, DumpOptions { records: true }, &mut out).unwrap();
        out
    });
    assert_eq!(dumps[0], dumps[1]);
    dumps[0].retain(|byte| *byte == b'\n');
    assert_eq!(dumps[0].len(), 4);
    let missing = root.path().join("nowhere");
    let error = dump_log(&missing, DumpOptions { records: true }, &mut Vec::new());
    assert!(error.unwrap_err().to_string().contains("nowhere"));
}

proptest! {
    #![proptest_config(cases(500))]

    /// Records are the producer's bytes: whatever they are, decoding ends, and never panics.
    #[test]
    fn any_bytes_decode_or_not(
        records in prop::collection::vec(any::<u8>(), 0..200),
        count in 0..20i32,
    ) {
        let mut header = BatchHeader::parse(&batch(1, 1, 1)).unwrap();
        header.record_count = count;
        header.last_offset_delta = count - 1;
        if let Ok(decoded) = decode(&header, &records) {
            prop_assert_eq!(decoded.len(), count as usize);
        }
    }
}
