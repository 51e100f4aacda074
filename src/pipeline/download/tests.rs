use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::chain::Written;
use super::disk::{Begin, Disk, Told, Unsafe};
use super::record::{Left, Record};
use super::*;
use crate::files::sink::{Directory, Existing, Part};
use crate::transfer::{Chain, Item, Ranges};
use crate::wire::{Frame, Part as Of, Piece};

const CHUNK: usize = 256 * 1024;

/// Bytes that differ from place to place.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at ^ (at / 7) ^ (at / 977)) as u8).collect()
}

fn listed(sizes: &[Option<u64>]) -> Listed {
    let item = |(n, size): (usize, &Option<u64>)| Item {
        path: vec![format!("file {n}")],
        size: *size,
        ..Item::default()
    };
    let manifest = Manifest::new(sizes.iter().enumerate().map(item).collect(), Rules::default()).unwrap();
    let layout = Layout::new(&manifest, CHUNK as u64).unwrap();
    Listed {
        id: OfferId([7; 16]),
        room: "test".into(),
        size: manifest.total(),
        manifest,
        layout,
        hidden: true,
    }
}

fn chunks(stream: &[u8]) -> Vec<Frame> {
    let piece = |index| Piece { offer: OfferNumber(1), part: Of::Chunk, index };
    stream.chunks(CHUNK).zip(0..).map(|(bytes, index)| Frame::file(piece(index), bytes, 0)).collect()
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut chain = Chain::new();
    chain.update(bytes);
    chain.finish()
}

struct Bench {
    dir: tempfile::TempDir,
    listed: Listed,
    tree: bool,
    sync: disk::Sync,
}

impl Bench {
    fn new(sizes: &[Option<u64>]) -> Self {
        let sync: disk::Sync = Arc::new(|these| these.sync());
        let tree = sizes.len() > 1;
        Self { dir: tempfile::tempdir().unwrap(), listed: listed(sizes), tree, sync }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn directory(&self) -> Directory {
        Directory::open(self.dir.path()).unwrap()
    }

    fn begin(&self) -> (Part, Record) {
        let part = Part::create(&self.directory(), "it", self.tree).unwrap();
        let record = Record::begin(&part, &self.listed).unwrap();
        (part, record)
    }

    fn find(&self) -> Option<Left> {
        Record::find(&self.directory(), "it", self.tree, &self.listed).unwrap()
    }

    fn disk(&self, part: &Part, record: Record, there: Ranges, saved: Option<transfer::Saved>) -> Disk {
        Disk::start(Begin {
            layout: self.listed.layout.clone(),
            wanted: vec![true; self.listed.manifest.files().len()],
            stages: [part.stage(), part.stage()],
            written: Written::new(there),
            saved,
            record,
            sync: Arc::clone(&self.sync),
        })
        .unwrap()
    }

    /// Writes these and waits until they are safe, or until something is wrong.
    fn write(&self, disk: &mut Disk, frames: &[Frame]) -> Vec<Told> {
        let mut other = Vec::new();
        let mut left = frames.len();
        for frame in frames {
            disk.frames.as_ref().unwrap().blocking_send(frame.clone()).unwrap();
        }
        while left > 0 {
            match disk.told.blocking_recv().unwrap() {
                Told::Kept(kept) => left -= kept.len(),
                Told::Bad(chunk) => {
                    left -= 1;
                    other.push(Told::Bad(chunk));
                }
                Told::Failed(error) => {
                    other.push(Told::Failed(error));
                    break;
                }
                told => other.push(told),
            }
        }
        other
    }
}

fn finish(disk: Disk) -> Option<Record> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(disk.finish())
}

/// The sums that the thread tells.
fn sums(disk: &mut Disk, told: Vec<Told>) -> Vec<Option<[u8; 16]>> {
    let mut told = told.into_iter();
    loop {
        match told.next().unwrap_or_else(|| disk.told.blocking_recv().unwrap()) {
            Told::Sums(sums) => return sums,
            Told::Failed(error) => panic!("{error}"),
            Told::Kept(_) | Told::Bad(_) => {}
        }
    }
}

#[test]
fn f22_every_file_has_its_sum_whatever_its_size_and_in_whatever_order_chunks_come() {
    let sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 0, 3 * CHUNK, 5, 5, 0];
    let bench = Bench::new(&sizes.map(|size| Some(size as u64)));
    let stream = bytes(sizes.iter().sum());
    let mut frames = chunks(&stream);
    for step in 0..3 {
        let (part, record) = bench.begin();
        let mut disk = bench.disk(&part, record, Ranges::new(), None);
        let told = bench.write(&mut disk, &frames);
        let sums = sums(&mut disk, told);
        let mut at = 0;
        for (file, size) in sizes.into_iter().enumerate() {
            assert_eq!(sums[file], Some(md5(&stream[at..at + size])), "file {file} in step {step}");
            let there = fs::read(bench.path("it.part").join(file.to_string())).unwrap_or_default();
            assert_eq!(there, stream[at..at + size], "file {file} in step {step}");
            at += size;
        }
        finish(disk).unwrap().discard().unwrap();
        part.discard().unwrap();
        frames.rotate_left(2);
        frames.reverse();
    }
}

#[test]
fn f21_a_stream_of_unknown_length_has_its_sum_when_its_end_is_known() {
    for size in [0, 1, CHUNK, CHUNK * 2 + 7] {
        let mut bench = Bench::new(&[None]);
        let stream = bytes(size);
        let (part, record) = bench.begin();
        let mut disk = bench.disk(&part, record, Ranges::new(), None);
        let told = bench.write(&mut disk, &chunks(&stream));
        assert!(told.is_empty(), "{told:?}");
        bench.listed.layout.close(size as u64).unwrap();
        disk.written.close(bench.listed.layout.clone());
        assert_eq!(sums(&mut disk, told), [Some(md5(&stream))], "{size}");
    }
}

#[test]
fn f24_chunks_that_are_damaged_or_of_another_length_are_not_written() {
    let bench = Bench::new(&[Some(2 * CHUNK as u64)]);
    let stream = bytes(2 * CHUNK);
    let piece = |index| Piece { offer: OfferNumber(1), part: Of::Chunk, index };
    let mut damaged = chunks(&stream)[0].clone();
    damaged.header.checksum[3] ^= 1;
    let wrong = [
        damaged,
        Frame::file(piece(0), &stream[..100], 0),
        Frame::file(piece(0), &stream[..CHUNK + 1], 0),
        Frame::file(piece(2), &stream[..CHUNK], 0),
        Frame::file(piece(u32::MAX), &stream[..CHUNK], 0),
        Frame::file(piece(1), &[], 0),
    ];
    let (part, record) = bench.begin();
    let mut disk = bench.disk(&part, record, Ranges::new(), None);
    let told = bench.write(&mut disk, &wrong);
    assert_eq!(told.len(), wrong.len());
    assert!(told.iter().all(|told| matches!(told, Told::Bad(_))), "{told:?}");
    assert_eq!(fs::metadata(bench.path("it.part")).unwrap().len(), 0);
}

#[test]
fn f16_f35_what_counts_is_in_the_journal_that_a_power_cut_leaves() {
    let mut bench = Bench::new(&[Some(40 * CHUNK as u64)]);
    let path = bench.path("it.part.journal");
    // What would be found after a power cut: the journal as it was when it was last made safe.
    let survives = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&survives);
    bench.sync = Arc::new(move |these| {
        these.sync()?;
        if let Unsafe::Journal(_) = these {
            *kept.lock().unwrap() = fs::read(&path).unwrap();
        }
        Ok(())
    });
    let (part, record) = bench.begin();
    let mut disk = bench.disk(&part, record, Ranges::new(), None);
    let mut counts = Ranges::new();
    for frame in chunks(&bytes(40 * CHUNK)) {
        disk.frames.as_ref().unwrap().blocking_send(frame).unwrap();
    }
    while counts.count() < 40 {
        let Some(Told::Kept(chunks)) = disk.told.blocking_recv() else { continue };
        chunks.iter().for_each(|kept| assert!(counts.add(kept.chunk)));
        let journal = transfer::Journal::open(&survives.lock().unwrap()).unwrap().journal;
        let mut lost = counts.clone();
        lost.subtract(journal.chunks());
        assert!(lost.is_empty(), "{lost:?}");
    }
}

#[tokio::test]
async fn a_disk_that_never_answers_is_left_to_itself() {
    let mut bench = Bench::new(&[Some(CHUNK as u64)]);
    bench.sync = Arc::new(|_| {
        loop {
            std::thread::park();
        }
    });
    let (part, record) = bench.begin();
    let disk = bench.disk(&part, record, Ranges::new(), None);
    disk.frames.as_ref().unwrap().send(chunks(&bytes(CHUNK)).remove(0)).await.unwrap();
    disk.abandon();
}

#[test]
fn f15_what_a_failed_sync_was_about_does_not_count() {
    let mut bench = Bench::new(&[Some(8 * CHUNK as u64)]);
    let stream = bytes(8 * CHUNK);
    let frames = chunks(&stream);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    bench.sync = Arc::new(move |these| {
        if matches!(these, Unsafe::Data(_)) && counted.fetch_add(1, Ordering::Relaxed) == 1 {
            let error = std::io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
            return Err(sink::Error::Io { doing: "write to", path: "it.part".into(), error });
        }
        these.sync()
    });
    let (part, record) = bench.begin();
    let mut disk = bench.disk(&part, record, Ranges::new(), None);
    assert!(bench.write(&mut disk, &frames[..3]).is_empty());
    let told = bench.write(&mut disk, &frames[3..]);
    assert!(
        matches!(&told[..], [.., Told::Failed(error)] if error.to_string().contains("it.part")),
        "{told:?}"
    );
    assert!(finish(disk).is_none(), "nothing is noted behind it");
    drop(part);
    let left = bench.find().expect("the part stays");
    assert_eq!(left.found.kept(), Ranges::from_pairs([[0, 3]]), "only what was safe before counts");
    // The rest comes again, and all is well.
    let Left { part, record, found } = left;
    let mut disk = bench.disk(&part, record.unwrap(), found.kept(), found.saved);
    let told = bench.write(&mut disk, &frames[3..]);
    assert_eq!(sums(&mut disk, told), [Some(md5(&stream))]);
}

#[test]
fn f17_what_was_written_last_is_read_again_and_a_lie_of_the_journal_found() {
    let bench = Bench::new(&[Some(6 * CHUNK as u64)]);
    let stream = bytes(6 * CHUNK);
    let (part, record) = bench.begin();
    let mut disk = bench.disk(&part, record, Ranges::new(), None);
    bench.write(&mut disk, &chunks(&stream));
    drop(finish(disk));
    drop(part);
    // As if the journal had come to the disk before the data.
    let path = bench.path("it.part");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(5 * CHUNK as u64 + 100).unwrap();
    let mut left = bench.find().unwrap();
    assert!(left.found.saved.is_none(), "somebody touched it since");
    let lost =
        whole::look_at_the_end(left.part.stage(), &bench.listed.layout, &[true], &mut left.found).unwrap();
    assert_eq!(lost, Ranges::from_pairs([[5, 6]]));
    assert_eq!(left.found.kept(), Ranges::from_pairs([[0, 5]]));
    assert!(left.found.notice.unwrap().contains("1 of 6 chunks"));
}

#[test]
fn f18_of_a_damaged_journal_nothing_wrong_is_believed() {
    let bench = Bench::new(&[Some(6 * CHUNK as u64)]);
    let stream = bytes(6 * CHUNK);
    let (part, record) = bench.begin();
    let mut disk = bench.disk(&part, record, Ranges::new(), None);
    for frame in chunks(&stream) {
        bench.write(&mut disk, &[frame]);
    }
    drop(finish(disk));
    drop(part);
    let path = bench.path("it.part.journal");
    let good = fs::read(&path).unwrap();
    assert_eq!(bench.find().unwrap().found.kept().count(), 6);
    let sums: Vec<[u8; 16]> = stream.chunks(CHUNK).map(md5).collect();
    let mut used = 0;
    for at in (0..good.len()).step_by(13) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        check(&bench, &sums, &mut used);
        fs::write(&path, &good[..at]).unwrap();
        check(&bench, &sums, &mut used);
    }
    assert!(used > 0, "what stands before the damage is used");
    // What is somebody else's is left alone.
    fs::write(&path, "not a journal at all").unwrap();
    assert!(bench.find().is_none());
    fs::write(&path, &good).unwrap();
    let other = Listed { id: OfferId([8; 16]), ..bench.listed.clone() };
    assert!(Record::find(&bench.directory(), "it", false, &other).unwrap().is_none());
}

fn check(bench: &Bench, sums: &[[u8; 16]], used: &mut usize) {
    let Some(left) = bench.find() else { return };
    for (chunk, md5) in &left.found.md5s {
        assert_eq!(sums[*chunk as usize], *md5);
        *used += 1;
    }
}

#[test]
fn a_second_run_goes_on_with_the_sum_where_the_first_one_stopped() {
    let bench = Bench::new(&[Some(20 * CHUNK as u64)]);
    let stream = bytes(20 * CHUNK);
    let frames = chunks(&stream);
    let (part, record) = bench.begin();
    let mut disk = bench.disk(&part, record, Ranges::new(), None);
    bench.write(&mut disk, &frames[..10]);
    drop(finish(disk));
    drop(part);
    let Left { part, record, found } = bench.find().unwrap();
    assert!(found.saved.as_ref().is_none_or(|saved| saved.length() <= 10 * CHUNK as u64));
    let mut chain = Chain::new();
    chain.update(&stream[..9 * CHUNK + 77]);
    // What went through the chain before is not read again.
    fs::OpenOptions::new().write(true).open(bench.path("it.part")).unwrap().write_at(b"other", 77).unwrap();
    let mut disk = bench.disk(&part, record.unwrap(), found.kept(), Some(chain.save()));
    let told = bench.write(&mut disk, &frames[10..]);
    assert_eq!(sums(&mut disk, told), [Some(md5(&stream))]);
}

#[test]
fn f16_a_file_has_its_name_when_it_is_whole_and_not_before() {
    let bench = Bench::new(&[Some(CHUNK as u64)]);
    let stream = bytes(CHUNK);
    let directory = bench.directory();
    let target = Target::look(bench.listed.clone(), directory, None).unwrap();
    target.check().unwrap();
    let opened = target.open(IfExists::Fail).unwrap().unwrap();
    let name = bench.path("file 0");
    let mut disk = bench.disk(&opened.place.part, opened.record, Ranges::new(), None);
    let told = bench.write(&mut disk, &chunks(&stream));
    sums(&mut disk, told);
    let record = finish(disk).unwrap();
    assert!(!name.exists());
    let placed = opened.place.put(record, &bench.listed, 1).unwrap();
    assert_eq!(placed.places, [Some(name.clone())]);
    assert_eq!(fs::read(name).unwrap(), stream);
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 1, "nothing else stays");
}

#[test]
fn f08_what_is_there_decides_with_the_user_what_is_received() {
    let bench = Bench::new(&[Some(3), Some(4), Some(5)]);
    fs::write(bench.path("file 1"), "mine").unwrap();
    let look = || Target::look(bench.listed.clone(), bench.directory(), None).unwrap();
    assert_eq!(look().in_the_way(), ["file 1"]);
    assert!(matches!(look().open(IfExists::Fail), Err(Error::Exists(name, 1)) if name.ends_with("file 1")));
    let skipping = look().open(IfExists::Skip).unwrap().unwrap();
    assert_eq!(skipping.place.wanted, [true, false, true]);
    drop(skipping);
    look().discard().unwrap();
    for (policy, mine, other) in
        [(IfExists::Rename, "mine", Some("file 1 (1)")), (IfExists::Overwrite, "3456", None)]
    {
        let opened = look().open(policy).unwrap().unwrap();
        let mut disk = bench.disk(&opened.place.part, opened.record, Ranges::new(), None);
        let told = bench.write(&mut disk, &chunks(b"012345678901"));
        sums(&mut disk, told);
        let record = finish(disk).unwrap();
        let placed = opened.place.put(record, &bench.listed, 1).unwrap();
        assert_eq!(fs::read_to_string(bench.path("file 1")).unwrap(), mine);
        if let Some(other) = other {
            assert_eq!(placed.places[1].as_deref(), Some(bench.path(other).as_path()));
            assert_eq!(fs::read_to_string(bench.path(other)).unwrap(), "3456");
            for file in ["file 0", "file 2", other] {
                fs::remove_file(bench.path(file)).unwrap();
            }
        }
    }
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 3);
}

#[test]
fn f07_what_is_hidden_is_left_out_and_the_rest_has_its_place() {
    let mut bench = Bench::new(&[Some(1), Some(1)]);
    let item = |path: &str, size: Option<u64>| Item {
        path: path.split('/').map(str::to_owned).collect(),
        size,
        dir: size.is_none(),
        ..Item::default()
    };
    let items = vec![
        item("d/.env", Some(2)),
        item("d/a", Some(3)),
        item("d/.git/config", Some(4)),
        item("d/.cache", None),
        item("d/empty", None),
    ];
    let manifest = Manifest::new(items, Rules { hidden: true }).unwrap();
    let layout = Layout::new(&manifest, CHUNK as u64).unwrap();
    bench.listed = Listed { size: manifest.total(), manifest, layout, hidden: false, ..bench.listed };
    let listed = &bench.listed;
    assert_eq!((listed.left_out(), listed.files(), listed.bytes()), (3, 1, Some(3)));
    assert_eq!(listed.lines().map(|(_, path)| path).collect::<Vec<_>>(), ["d/a", "d/empty/"]);
    // One that is there is no matter, and is not touched.
    fs::create_dir(bench.path("d")).unwrap();
    fs::write(bench.path("d/.env"), "mine").unwrap();
    let target = Target::look(bench.listed.clone(), bench.directory(), None).unwrap();
    assert!(target.in_the_way().is_empty());
    let opened = target.open(IfExists::Rename).unwrap().unwrap();
    assert_eq!(opened.place.wanted, [false, true, false]);
    let mut disk = Disk::start(Begin {
        layout: bench.listed.layout.clone(),
        wanted: opened.place.wanted.clone(),
        stages: [opened.place.part.stage(), opened.place.part.stage()],
        written: Written::new(Ranges::new()),
        saved: None,
        record: opened.record,
        sync: Arc::clone(&bench.sync),
    })
    .unwrap();
    let told = bench.write(&mut disk, &chunks(b"eeaaagggg"));
    assert_eq!(sums(&mut disk, told), [None, Some(md5(b"aaa")), None]);
    let record = finish(disk).unwrap();
    opened.place.put(record, &bench.listed, 1).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(bench.path("d")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".env", "a", "empty"]);
    assert_eq!(fs::read_to_string(bench.path("d/.env")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(bench.path("d/a")).unwrap(), "aaa");
    assert!(!bench.path("d.part").exists());
}

#[test]
fn f31_the_second_program_takes_another_name() {
    let bench = Bench::new(&[Some(3)]);
    let first = Target::look(bench.listed.clone(), bench.directory(), None).unwrap();
    let first = first.open(IfExists::Fail).unwrap().unwrap();
    let second = Target::look(bench.listed.clone(), bench.directory(), None).unwrap();
    let second = second.open(IfExists::Fail).unwrap().unwrap();
    assert_eq!((first.place.part.name(), second.place.part.name()), ("file 0", "file 0 (1)"));
}

#[test]
fn somebody_elses_part_is_left_alone() {
    let bench = Bench::new(&[Some(3)]);
    fs::write(bench.path("file 0.part"), "of another program").unwrap();
    let target = Target::look(bench.listed.clone(), bench.directory(), None).unwrap();
    let opened = target.open(IfExists::Fail).unwrap().unwrap();
    assert_eq!(opened.place.part.name(), "file 0 (1)");
    assert_eq!(fs::read_to_string(bench.path("file 0.part")).unwrap(), "of another program");
    let left = |name: &str| Leftover::find(bench.dir.path(), name).unwrap();
    assert!(left("file 0").unwrap().doubt().is_some(), "nobody knows what it is");
    drop(opened);
    let own = left("file 0 (1)").unwrap();
    assert_eq!(own.doubt(), None);
    own.remove().unwrap();
    assert!(left("../file 0").is_none());
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 1);
}

#[test]
fn f16_a_part_that_is_placed_already_is_not_placed_twice() {
    let bench = Bench::new(&[Some(1)]);
    let (part, _record) = bench.begin();
    part.stage().write(0, 0, b"x").unwrap();
    part.place("file 0", None, Existing::Keep, 1).unwrap();
    assert!(bench.find().is_none(), "the journal that a crash left behind means nothing without its part");
    let target = Target::look(bench.listed.clone(), bench.directory(), None).unwrap();
    assert_eq!(target.in_the_way(), ["file 0"]);
}
