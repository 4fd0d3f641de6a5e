//! Values of the operations that carry no messages: samples, passes, audits, faults, settings.

use serde_json::Value as Json;

use crate::history::batch::Batch;
use crate::history::events::{AuditRecord, Step};
use crate::history::{KeyId, Value};

use super::micro_op::key;
use super::scan::{Scan, Scanner, Within};

/// One key's part of a `list-offsets` value.
#[derive(Debug)]
pub struct SampleValue {
    pub key: KeyId,
    pub log_start: Option<i64>,
    pub last_stable: Option<i64>,
    pub high_watermark: Option<i64>,
    pub leader: Option<i64>,
    pub epoch: Option<i64>,
    pub asked: Option<i64>,
}

/// One key's part of an `audit` value.
#[derive(Debug)]
pub struct AuditValue {
    pub key: KeyId,
    pub broker: i64,
    pub high_watermark: Option<i64>,
    pub records: Vec<AuditRecord>,
}

/// One member of an object whose names are keys.
fn by_key(
    batch: &mut Batch,
    scanner: &mut Scanner,
    mut member: impl FnMut(&mut Batch, &mut Scanner, KeyId) -> Scan<()>,
) -> Scan<()> {
    if scanner.null()? {
        return Ok(());
    }
    scanner.expect(b'{', "an object by key")?;
    if scanner.eat(b'}') {
        return Ok(());
    }
    loop {
        let key = key(batch, scanner)?;
        scanner.expect(b':', "`:`")?;
        if let Err(fault) = member(batch, scanner, key) {
            return Err(fault).within(batch.keys.name(key));
        }
        if !scanner.more(b'}', "`,` or `}`")? {
            return Ok(());
        }
    }
}

/// `{key: {"log-start", "lso", "high-watermark", "leader", "epoch", "asked"}}`.
pub(super) fn samples(batch: &mut Batch, scanner: &mut Scanner) -> Scan<Vec<SampleValue>> {
    let mut samples = Vec::new();
    by_key(batch, scanner, |_, scanner, key| {
        let start = scanner.clone();
        if scanner.null()? {
            return Ok(());
        }
        if !scanner.eat(b'{') {
            return start.fault("an object");
        }
        let mut sample = SampleValue {
            key,
            log_start: None,
            last_stable: None,
            high_watermark: None,
            leader: None,
            epoch: None,
            asked: None,
        };
        while !scanner.eat(b'}') {
            sample_field(scanner, &mut sample)?;
            if !scanner.more(b'}', "`,` or `}`")? {
                break;
            }
        }
        samples.push(sample);
        Ok(())
    })?;
    Ok(samples)
}

fn sample_field(scanner: &mut Scanner, sample: &mut SampleValue) -> Scan<()> {
    let name = scanner.raw_text()?.0;
    scanner.expect(b':', "`:`")?;
    let field = match name {
        b"log-start" => &mut sample.log_start,
        b"lso" => &mut sample.last_stable,
        b"high-watermark" => &mut sample.high_watermark,
        b"leader" => &mut sample.leader,
        b"epoch" => &mut sample.epoch,
        b"asked" => &mut sample.asked,
        _ => return scanner.skip(),
    };
    match nullable(scanner) {
        Ok(integer) => *field = integer,
        Err(fault) => return Err(fault).within(&String::from_utf8_lossy(name)),
    }
    Ok(())
}

#[inline]
fn nullable(scanner: &mut Scanner) -> Scan<Option<i64>> {
    if scanner.null()? {
        Ok(None)
    } else {
        scanner.integer().map(Some)
    }
}

/// `{key: [from, to]}`.
pub(super) fn ranges(batch: &mut Batch, scanner: &mut Scanner) -> Scan<Vec<(KeyId, i64, i64)>> {
    let mut ranges = Vec::new();
    by_key(batch, scanner, |_, scanner, key| {
        scanner.expect(b'[', "[from, to]")?;
        let from = scanner.integer().within("from")?;
        scanner.expect(b',', "`,`")?;
        let to = scanner.integer().within("to")?;
        scanner.expect(b']', "`]`")?;
        ranges.push((key, from, to));
        Ok(())
    })?;
    Ok(ranges)
}

/// `{key: {"broker", "high-watermark", "records": [[offset, epoch, v], ...]}}`.
pub(super) fn audits(batch: &mut Batch, scanner: &mut Scanner) -> Scan<Vec<AuditValue>> {
    let mut audits = Vec::new();
    by_key(batch, scanner, |batch, scanner, key| {
        scanner.expect(
            b'{',
            "an object with `broker`, `high-watermark` and `records`",
        )?;
        let mut audit = AuditValue {
            key,
            broker: -1,
            high_watermark: None,
            records: Vec::new(),
        };
        let mut broker = None;
        loop {
            let name = scanner.raw_text()?.0;
            scanner.expect(b':', "`:`")?;
            match name {
                b"broker" => broker = Some(scanner.integer().within("broker")?),
                b"high-watermark" => audit.high_watermark = integer(scanner, "high-watermark")?,
                b"records" => audit_records(batch, scanner, &mut audit).within("records")?,
                _ => scanner.skip()?,
            }
            if !scanner.more(b'}', "`,` or `}`")? {
                break;
            }
        }
        match broker {
            Some(broker) => audit.broker = broker,
            None => return scanner.fault("an integer").within("broker"),
        }
        audits.push(audit);
        Ok(())
    })?;
    Ok(audits)
}

fn integer(scanner: &mut Scanner, field: &str) -> Scan<Option<i64>> {
    nullable(scanner).within(field)
}

fn audit_records(batch: &mut Batch, scanner: &mut Scanner, audit: &mut AuditValue) -> Scan<()> {
    scanner.expect(b'[', "a list of [offset, epoch, value]")?;
    if scanner.eat(b']') {
        return Ok(());
    }
    loop {
        let record = audit_record(batch, scanner).within_item(audit.records.len())?;
        audit.records.push(record);
        if !scanner.more(b']', "`,` or `]`")? {
            return Ok(());
        }
    }
}

fn audit_record(batch: &mut Batch, scanner: &mut Scanner) -> Scan<AuditRecord> {
    if let Some((offset, epoch, value)) = scanner.triple() {
        return Ok(AuditRecord {
            offset,
            epoch,
            value,
        });
    }
    scanner.expect(b'[', "[offset, epoch, value]")?;
    let offset = scanner.integer().within("offset")?;
    scanner.expect(b',', "`,`")?;
    let epoch = integer(scanner, "epoch")?.unwrap_or(-1);
    scanner.expect(b',', "`,`")?;
    let value = match scanner.try_integer() {
        Some(integer) => batch.values.integer(integer),
        None => match scanner.scalar()? {
            Json::Null => Value::NULL,
            scalar => batch.values.scalar(scalar),
        },
    };
    while scanner.more(b']', "`,` or `]`")? {
        scanner.skip()?;
    }
    Ok(AuditRecord {
        offset,
        epoch,
        value,
    })
}

/// What a nemesis operation says of itself: fault, instance, step. Operations of other nemeses
/// (imported histories) have none of it.
pub(super) fn nemesis_step(value: &Json) -> Option<(String, String, Step)> {
    let step = match value.get("step")?.as_str()? {
        "asked" => Step::Asked,
        "effective" => Step::Effective,
        "healed" => Step::Healed,
        "verified" => Step::Verified,
        "skipped" => Step::Skipped,
        _ => Step::Other,
    };
    let text = |name: &str| match value.get(name) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    Some((text("fault"), text("id"), step))
}

/// A group, and its offset for each key (`None` where it has none).
pub type GroupValue = (String, Vec<(KeyId, Option<i64>)>);

/// `{"group": g, "offsets": {key: offset}}`.
pub(super) fn group_offsets(batch: &mut Batch, value: &Json) -> Option<GroupValue> {
    let group = value.get("group")?;
    let group = group
        .as_str()
        .map_or_else(|| group.to_string(), str::to_owned);
    let offsets = value.get("offsets")?.as_object()?;
    let offsets = offsets
        .iter()
        .map(|(name, offset)| (batch.keys.intern(name), offset.as_i64()))
        .collect();
    Some((group, offsets))
}
