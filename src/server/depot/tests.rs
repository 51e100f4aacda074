//! What the index and the files of a directory come to after a crash.

use rusqlite::Connection;
use tempfile::TempDir;

use super::thread::Thread;
use super::*;
use crate::id::{OfferId, OfferNumber};
use crate::time;
use crate::wire::Piece;

const ANN: PublicKey = PublicKey([1; 32]);
const CHUNK: u32 = crate::limits::CHUNK_MIN;

/// A depot whose thread does what it is told, and nothing by itself. Dropped it is killed: it writes nothing more.
struct Scene {
    inner: Arc<Inner>,
    thread: Thread,
    told: mpsc::Receiver<Report>,
}

impl Scene {
    fn open(directory: &Path) -> Self {
        let (inner, thread, told) =
            prepare(Some(directory), Keep::default(), Arc::new(File::sync_data)).unwrap();
        Self { inner, thread, told }
    }

    fn tell(&mut self, commands: Vec<Command>) -> Vec<News> {
        assert!(self.thread.work(commands).is_none());
        std::iter::from_fn(|| self.told.try_recv().ok()).map(|report| report.news).collect()
    }

    fn create(&mut self, room: &str, number: u32, size: Option<u64>, owner: Option<PublicKey>) -> Arc<Stock> {
        let record = Record {
            number: OfferNumber(number),
            id: OfferId([number as u8; 16]),
            owner,
            name: "Ann".into(),
            direct: false,
            to: None,
            size,
            chunk_size: CHUNK,
            chunks: None,
            sealed: false,
            since: 0,
            touched: 0,
        };
        let news = self.tell(vec![Command::Create(room.parse().unwrap(), Box::new(record))]);
        let [News::Created(_, stock)] = news.as_slice() else { panic!("{news:?}") };
        Arc::clone(stock)
    }

    /// A chunk that is in the file, and of which the index has not heard.
    fn write(&self, stock: &Arc<Stock>, index: u32) -> Command {
        let frame = frame(stock, Part::Chunk, index, &[7; CHUNK as usize]);
        vault::write(&self.inner.vault.file(stock.row).unwrap(), stock, index, &frame).unwrap();
        stock.holding().written.add(index);
        Command::Written(Arc::clone(stock), index, 0)
    }

    fn load(&mut self, room: &str) -> Vec<Arc<Stock>> {
        let (answer, mut wait) = oneshot::channel();
        self.tell(vec![Command::Load(room.parse().unwrap(), answer)]);
        wait.try_recv().unwrap().unwrap().offers.into_iter().map(|kept| kept.stock).collect()
    }

    fn numbers(&mut self, room: &str) -> Vec<u32> {
        self.load(room).iter().map(|stock| stock.number.0).collect()
    }
}

fn frame(stock: &Stock, part: Part, index: u32, payload: &[u8]) -> Frame {
    Frame::file(Piece { offer: stock.number, part, index }, payload, 0)
}

fn piece(stock: &Arc<Stock>, part: Part, index: u32) -> Command {
    Command::Piece(Arc::clone(stock), ConnectionId(1), Box::new(frame(stock, part, index, b"{}")))
}

fn end(stock: &Stock) -> Option<u32> {
    stock.holding().end(Part::Manifest)
}

fn seal(stock: &Arc<Stock>, chunks: u32, manifest: u32) -> Command {
    let request = Request { connection: ConnectionId(1), id: 3 };
    let seal = Seal { id: 3, offer: stock.number, chunks, manifest, sums: 1 };
    Command::Seal(Arc::clone(stock), request, seal)
}

#[test]
fn f09_a_list_of_which_a_crash_has_left_a_part_does_not_end_there() {
    let home = TempDir::new().unwrap();
    let mut scene = Scene::open(home.path());
    let stock = scene.create("r", 1, Some(3 * u64::from(CHUNK)), Some(ANN));
    scene.tell(vec![piece(&stock, Part::Manifest, 0)]);
    // The second piece came with the first chunk, and the server was killed before that was in the index.
    scene.write(&stock, 0);
    drop(scene);

    let mut scene = Scene::open(home.path());
    let stock = scene.load("r").remove(0);
    assert!(stock.holding().has(Part::Chunk, 0), "the chunk is found");
    assert!(stock.holding().has(Part::Manifest, 0));
    assert_eq!(end(&stock), None, "a receiver waits for the rest");
    let chunk = scene.write(&stock, 1);
    scene.tell(vec![piece(&stock, Part::Manifest, 1), chunk]);
    assert_eq!(end(&stock), Some(2));
    drop(scene);

    // Killed again, before any checkpoint.
    let stock = Scene::open(home.path()).load("r").remove(0);
    assert_eq!((end(&stock), stock.holding().kept.count()), (Some(2), 2));
}

#[test]
fn f09_a_list_of_which_the_index_did_not_take_a_piece_ends_only_with_the_seal() {
    let home = TempDir::new().unwrap();
    let mut scene = Scene::open(home.path());
    let stock = scene.create("r", 1, Some(u64::from(CHUNK)), Some(ANN));
    scene.tell(vec![piece(&stock, Part::About, 0), piece(&stock, Part::Manifest, 0)]);
    // What is committed with the second piece cannot be.
    let index = Connection::open(home.path().join("index.db")).unwrap();
    let failing = "CREATE TABLE above (key INTEGER PRIMARY KEY);
        CREATE TABLE below (key INTEGER REFERENCES above DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER failing AFTER INSERT ON piece WHEN NEW.number = 1 BEGIN INSERT INTO below VALUES (7); END;";
    index.execute_batch(failing).unwrap();
    let news = scene.tell(vec![piece(&stock, Part::Manifest, 1)]);
    assert!(matches!(news.as_slice(), [News::Answer(_, Control::Error(_))]), "{news:?}");
    index.execute_batch("DROP TRIGGER failing").unwrap();

    let chunk = scene.write(&stock, 0);
    let news = scene.tell(vec![chunk]);
    assert!(matches!(news.as_slice(), [News::Kept(..)]), "{news:?}");
    assert_eq!(end(&stock), None);
    // All that is known is written, and then the server is killed.
    scene.tell(vec![Command::Release("r".parse().unwrap())]);
    drop(scene);
    let mut scene = Scene::open(home.path());
    let stock = scene.load("r").remove(0);
    assert_eq!((end(&stock), stock.holding().kept.count()), (None, 1));

    scene.tell(vec![piece(&stock, Part::Manifest, 1), piece(&stock, Part::Sums, 0), seal(&stock, 1, 2)]);
    assert_eq!(end(&stock), Some(2));
}

#[test]
fn f21_what_nobody_can_complete_is_forgotten_also_in_rooms_that_nobody_opens_again() {
    let home = TempDir::new().unwrap();
    let mut scene = Scene::open(home.path());
    for (number, size, owner) in [(1, None, Some(ANN)), (2, Some(9), Some(ANN)), (3, Some(9), None)] {
        let stock = scene.create("left", number, size, owner);
        scene.write(&stock, 0);
    }
    let whole = scene.create("left", 4, None, Some(ANN));
    let parts = [Part::About, Part::Manifest, Part::Sums].map(|part| piece(&whole, part, 0));
    scene.tell(parts.into_iter().chain([seal(&whole, 0, 1)]).collect());
    scene.create("open", 1, None, Some(ANN));
    drop(scene);

    let mut scene = Scene::open(home.path());
    scene.load("open");
    let files = || std::fs::read_dir(home.path()).unwrap().filter(is_file_of_an_offer).count();
    let now = time::now();
    scene.thread.prune(now);
    assert_eq!(files(), 5, "their senders may still come back");
    let used = scene.inner.used.load(Ordering::Relaxed);
    scene.thread.prune(now + Duration::from_secs(61));
    assert_eq!(files(), 3);
    assert!(scene.inner.used.load(Ordering::Relaxed) < used);
    assert_eq!(scene.numbers("left"), [2, 4]);
    assert_eq!(scene.numbers("open"), [1], "of what is in an open room that decides");
}

fn is_file_of_an_offer(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "chunks"))
}
