//! Event files for TensorBoard: records of length, masked CRC-32C and a protocol buffer `Event` (tensorflow/core/util/
//! event.proto, core/framework/summary.proto, core/lib/io/record_writer.cc), as far as scalars need them.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::checkpoint;
use crate::metrics::{Kind, Record};

/// A name that has it is an event file.
const MARK: &str = "tfevents";

/// The events of one session of a run.
pub struct Events {
    path: PathBuf,
    file: File,
    /// Step of the last learning rate and factors, which records of both kinds hold.
    last: u64,
}

impl Events {
    /// Begins a file for what comes after `step`. Later events, from a session that ended without saving, are removed.
    pub fn open(folder: &Path, step: u64) -> Result<Self, Error> {
        for path in event_files(folder)? {
            truncate(&path, step)?;
        }
        // Chart viewers read the files of a folder in the order of their names.
        let path = folder.join(format!("events.out.{MARK}.{step:012}.blkc"));
        let file = File::create(&path).map_err(|cause| Error::file("create", &path, cause))?;
        let mut events = Events { path, file, last: step };
        let version = Message::default().double(1, now()).bytes(3, b"brain.Event:2");
        events.write(&version)?;
        Ok(events)
    }

    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let summary = scalars(record, record.step > self.last).iter().fold(
            Message::default(),
            |summary, (tag, value)| {
                summary.message(1, &Message::default().bytes(1, tag.as_bytes()).float(2, *value as f32))
            },
        );
        self.last = record.step;
        self.write(&Message::default().double(1, now()).integer(2, record.step).message(5, &summary))
    }

    fn write(&mut self, event: &Message) -> Result<(), Error> {
        self.file.write_all(&framed(&event.0)).map_err(|cause| Error::file("write", &self.path, cause))
    }

    /// On the disk, before the state that follows these events is.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|cause| Error::file("write", &self.path, cause))
    }
}

/// Tags and values of a record. `shared`: with what records of both kinds hold.
fn scalars(record: &Record, shared: bool) -> Vec<(String, f64)> {
    let set = if record.kind == Kind::Step { "batch" } else { "train" };
    let mut found =
        vec![(format!("{set}/loss"), Some(record.loss)), (format!("{set}/accuracy"), record.accuracy)];
    found.extend([
        ("validation/loss".to_string(), record.validation_loss),
        ("validation/accuracy".into(), record.validation_accuracy),
        ("validation/top5".into(), record.validation_top5),
        ("validation/rmse".into(), record.validation_rmse),
        ("test/loss".into(), record.test_loss),
        ("test/accuracy".into(), record.test_accuracy),
        ("test/top5".into(), record.test_top5),
        ("test/rmse".into(), record.test_rmse),
    ]);
    if shared {
        found.push(("run/lr".into(), record.lr));
        found.push(("run/samples_per_s".into(), Some(record.samples_per_s)));
        for (block, factors) in &record.blocks {
            found.push((format!("m_z/{block}"), factors.m_z));
            found.push((format!("m/{block}"), factors.m));
            found.extend(factors.m_w.iter().map(|(name, value)| (format!("m_W/{name}"), Some(*value))));
        }
    }
    found.into_iter().filter_map(|(tag, value)| Some((tag, value?))).collect()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn event_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let refused = |cause| Error::file("read", folder, cause);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name();
        if name.to_string_lossy().contains(MARK) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Keeps the whole records up to `step`; a file in which nothing is left goes.
fn truncate(path: &Path, step: u64) -> Result<(), Error> {
    let content = fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    let kept = kept(&content, step);
    if kept == 0 {
        return fs::remove_file(path).map_err(|cause| Error::file("remove", path, cause));
    }
    if kept == content.len() { Ok(()) } else { checkpoint::replace(path, &content[..kept]) }
}

/// Length of the sound records up to `step`; 0 where there is no scalar among them.
fn kept(content: &[u8], step: u64) -> usize {
    let (mut end, mut scalars) = (0, false);
    while let Some((event, length)) = unframed(&content[end..]) {
        let Some(at) = step_of(event) else { break };
        if at > step {
            break;
        }
        scalars |= at > 0;
        end += length;
    }
    if scalars { end } else { 0 }
}

/// A record: length, its checksum, content, its checksum.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked(bytes).to_le_bytes();
    [&length[..], &checksum(&length), content, &checksum(content)].concat()
}

/// The content of the first record, and the record's length; none where it is cut off or damaged.
fn unframed(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let sound = |bytes: &[u8], checksum: &[u8; 4]| u32::from_le_bytes(*checksum) == masked(bytes);
    let size = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|_| sound(length, checksum))?;
    let content = rest.get(..size)?;
    let checksum = rest[size..].first_chunk::<4>()?;
    sound(content, checksum).then_some((content, size + 16))
}

/// A checksum that is stored beside what it is of is masked, as checksums of data that holds checksums do badly.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protocol buffer.
#[derive(Default)]
struct Message(Vec<u8>);

/// How a field is written, in the low bits of its key.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn integer(self, field: u64, value: u64) -> Self {
        self.varint(field << 3 | VARINT).varint(value)
    }

    fn double(self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | FIXED64).raw(&value.to_le_bytes())
    }

    fn float(self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | FIXED32).raw(&value.to_le_bytes())
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | BYTES).varint(value.len() as u64).raw(value)
    }

    fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// The step of an event that this file wrote: field 2, behind the time; 0 where it is left out. None for others.
fn step_of(event: &[u8]) -> Option<u64> {
    let rest = event.get(9..)?;
    match rest.split_first() {
        Some((key, rest)) if u64::from(*key) == (2 << 3 | VARINT) => read_varint(rest),
        _ => Some(0),
    }
}

fn read_varint(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    Some(bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn record(step: u64) -> Record {
        Record {
            kind: Kind::Step,
            step,
            epoch: 0.0,
            loss: 1.0,
            accuracy: None,
            lr: Some(0.1),
            samples_per_s: 1.0,
            validation_loss: None,
            validation_accuracy: None,
            validation_top5: None,
            validation_rmse: None,
            test_loss: None,
            test_accuracy: None,
            test_top5: None,
            test_rmse: None,
            blocks: BTreeMap::new(),
        }
    }

    fn steps(path: &Path) -> Vec<u64> {
        let content = fs::read(path).unwrap();
        let mut rest = &content[..];
        let mut steps = Vec::new();
        while let Some((event, length)) = unframed(rest) {
            steps.push(step_of(event).unwrap());
            rest = &rest[length..];
        }
        assert!(rest.is_empty(), "a broken record was left");
        steps
    }

    #[test]
    fn a_record_is_framed_as_the_format_says() {
        // The first record of any event file of TensorFlow, with its time set to zero.
        let version = Message::default().double(1, 0.0).bytes(3, b"brain.Event:2");
        let framed = framed(&version.0);
        assert_eq!(framed[..8], [24, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(framed[8..12], [0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(unframed(&framed), Some((&version.0[..], framed.len())));
    }

    #[test]
    fn numbers_of_any_length_are_read_back() {
        for step in [0, 1, 127, 128, 300, u64::from(u32::MAX) + 1] {
            let event = Message::default().double(1, 0.0).integer(2, step);
            assert_eq!(step_of(&event.0), Some(step));
        }
    }

    #[test]
    fn later_and_broken_events_go_and_no_step_comes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Events::open(folder.path(), 0).unwrap();
        (1..=5).for_each(|step| first.append(&record(step)).unwrap());
        first.file.write_all(b"cut off").unwrap();
        let mut second = Events::open(folder.path(), 3).unwrap();
        assert_eq!(steps(&first.path), [0, 1, 2, 3]);
        second.append(&record(4)).unwrap();
        // Killed before anything was saved: what it wrote goes with it.
        let third = Events::open(folder.path(), 3).unwrap();
        assert_eq!(event_files(folder.path()).unwrap().len(), 2);
        assert_eq!((steps(&first.path), steps(&third.path)), (vec![0, 1, 2, 3], vec![0]));
    }
}
