//! Files on their way to the room and from it, beside the conversation.
//!
//! Each has a session of its own, so that it steps back behind nothing and nothing waits behind it. At most
//! [`AT_ONCE`] run, [`WAITING`] wait for their turn, and what is beyond that is refused. What breaks off is kept
//! by the rules of conf-send and conf-recv: the same command goes on from there, here or with these programs.
//!
//! Reports about what runs may be dropped when nobody takes them: the next one says more. How a transfer
//! ended is never dropped.

mod get;
mod send;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cli::progress::meter::Meter;
use crate::cli::{Exit, Failure};
use crate::id::{OfferId, OfferNumber};
use crate::limits;
use crate::net::client::Config;
use crate::pipeline::figures::{Doing, Figures};
use crate::time;

/// Transfers that run at a time.
const AT_ONCE: usize = limits::TRANSFERS;
/// Transfers that wait for their turn.
const WAITING: usize = 100;
/// Reports that wait to be looked at; more are dropped.
const REPORTS: usize = 64;

/// What is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// From the room.
    Get(Get),
    /// To the room.
    Send(Send),
}

/// An offer that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Get {
    pub(super) offer: OfferId,
    pub(super) number: OfferNumber,
    pub(super) title: String,
    /// Into which directory.
    pub(super) directory: PathBuf,
    /// It is a text, which is to be read at once.
    pub(super) text: bool,
}

/// Files that are offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Send {
    pub(super) paths: Vec<PathBuf>,
    /// For this member only.
    pub(super) to: Option<String>,
    pub(super) title: String,
}

/// What is known of a transfer.
#[derive(Debug)]
pub(super) struct About {
    pub(super) job: Job,
    /// The number of the offer.
    pub(super) offer: Option<OfferNumber>,
    /// What it is called.
    pub(super) title: String,
    /// What an answer to whoever asked for it carries.
    pub(super) tag: Option<serde_json::Value>,
    stop: CancellationToken,
    meter: Meter,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) enum News {
    /// It has a number, and so many bytes were there before.
    Begun { id: u32, before: u64 },
    /// How it goes.
    Figures { id: u32, figures: Box<Figures>, rate: Option<f64>, left: Option<Duration> },
    /// Something for people.
    Note { id: u32, text: String },
    /// It is over.
    Ended { id: u32, about: Box<About>, end: End },
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// All of it is where it belongs.
    Whole(Vec<Whole>),
    /// It was a text.
    Text(String),
    /// It was all there before.
    Skipped,
    /// It was broken off, and can go on.
    Stopped,
    /// It went wrong.
    Failed(Failure),
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    /// Its path in the offer.
    pub(super) path: String,
    /// Where it is.
    pub(super) place: PathBuf,
    pub(super) size: u64,
    pub(super) md5: [u8; 16],
}

/// What a task reports.
enum Report {
    Begun { offer: OfferNumber, title: String, before: u64 },
    Figures(Box<Figures>),
    Note(String),
}

/// How a task reports; it never waits for whoever listens.
#[derive(Clone)]
struct Teller {
    id: u32,
    out: mpsc::Sender<(u32, Report)>,
}

impl Teller {
    fn tell(&self, report: Report) {
        // See the module: what finds no room is dropped.
        let _ = self.out.try_send((self.id, report));
    }
}

/// See the module.
pub(super) struct Transfers {
    config: Config,
    known: BTreeMap<u32, About>,
    waiting: VecDeque<u32>,
    tasks: JoinSet<End>,
    /// Which transfer a task carries.
    running: BTreeMap<Id, u32>,
    tell: mpsc::Sender<(u32, Report)>,
    reports: mpsc::Receiver<(u32, Report)>,
    last: u32,
    stopped: bool,
}

impl Transfers {
    /// For a room that is joined as `config` says.
    pub(super) fn new(config: &Config) -> Self {
        let (tell, reports) = mpsc::channel(REPORTS);
        let config = Config { messages: None, subscribe: Vec::new(), offers: false, ..config.clone() };
        Self {
            config,
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            tell,
            reports,
            last: 0,
            stopped: false,
        }
    }

    /// Begins, now or when it is its turn; the error is a sentence.
    pub(super) fn begin(&mut self, job: Job, tag: Option<serde_json::Value>) -> Result<u32, String> {
        let same = |about: &&About| match (&about.job, &job) {
            (Job::Get(one), Job::Get(other)) => one.offer == other.offer,
            (Job::Send(one), Job::Send(other)) => one == other,
            _ => false,
        };
        if let Some(about) = self.known.values().find(same) {
            return Err(format!("{} is on its way already", about.title));
        }
        if self.waiting.len() >= WAITING {
            return Err(format!("{WAITING} transfers wait already; some of them have to end first"));
        }
        self.last += 1;
        let id = self.last;
        let (offer, title) = match &job {
            Job::Get(get) => (Some(get.number), get.title.clone()),
            Job::Send(send) => (None, send.title.clone()),
        };
        let (stop, meter) = (CancellationToken::new(), Meter::default());
        self.known.insert(id, About { job, offer, title, tag, stop, meter });
        self.waiting.push_back(id);
        self.start();
        Ok(id)
    }

    /// What is known of a transfer that is not over.
    pub(super) fn about(&self, id: u32) -> Option<&About> {
        self.known.get(&id)
    }

    /// How many are not over.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// Whether it waits for its turn.
    pub(super) fn is_waiting(&self, id: u32) -> bool {
        self.waiting.contains(&id)
    }

    /// Breaks one off; what it has done is kept. Its end is told.
    pub(super) fn cancel(&mut self, id: u32) {
        let Some(about) = self.known.get(&id) else { return };
        about.stop.cancel();
        // What has not begun needs a task all the same, which says that it has ended.
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == id) {
            self.waiting.remove(at);
            self.spawn(id, async { End::Stopped });
        }
    }

    /// Breaks all off.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        let all: Vec<u32> = self.known.keys().copied().collect();
        for id in all {
            self.cancel(id);
        }
    }

    /// What happens next; for ever where nothing runs. Can be given up while it waits.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let running = !self.tasks.is_empty();
            tokio::select! {
                biased;
                Some((id, report)) = self.reports.recv() => if let Some(news) = self.handle(id, report) {
                    return news;
                },
                Some(ended) = self.tasks.join_next_with_id(), if running => {
                    let (task, end) = match ended {
                        Ok((task, end)) => (task, end),
                        Err(error) => {
                            let why = format!("an internal error ended the transfer: {error}");
                            (error.id(), End::Failed(Failure::new(Exit::Other, why)))
                        }
                    };
                    if let Some(id) = self.running.remove(&task) && let Some(about) = self.known.remove(&id) {
                        self.start();
                        return News::Ended { id, about: Box::new(about), end };
                    }
                }
            }
        }
    }

    fn handle(&mut self, id: u32, report: Report) -> Option<News> {
        let about = self.known.get_mut(&id)?;
        Some(match report {
            Report::Begun { offer, title, before } => {
                (about.offer, about.title) = (Some(offer), title);
                News::Begun { id, before }
            }
            Report::Figures(figures) => {
                about.meter.push(figures.done, time::now());
                let moving = figures.doing == Doing::Moving;
                let rate = about.meter.rate().filter(|_| moving);
                let left = figures.total.filter(|_| moving).map(|total| total.saturating_sub(figures.done));
                let left = left.and_then(|bytes| about.meter.left(bytes));
                News::Figures { id, figures, rate, left }
            }
            Report::Note(text) => News::Note { id, text },
        })
    }

    fn start(&mut self) {
        while self.tasks.len() < AT_ONCE && !self.stopped {
            let Some(id) = self.waiting.pop_front() else { return };
            let Some(about) = self.known.get(&id) else { continue };
            let (config, stop) = (self.config.clone(), about.stop.clone());
            let tell = Teller { id, out: self.tell.clone() };
            match about.job.clone() {
                Job::Get(job) => self.spawn(id, get::run(job, config, stop, tell)),
                Job::Send(job) => self.spawn(id, send::run(job, config, stop, tell)),
            }
        }
    }

    fn spawn(&mut self, id: u32, task: impl Future<Output = End> + std::marker::Send + 'static) {
        let task = self.tasks.spawn(task);
        self.running.insert(task.id(), id);
    }
}

impl About {
    /// Whether it goes to the room.
    pub(super) fn sends(&self) -> bool {
        matches!(self.job, Job::Send(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nobody listens.
    fn nowhere() -> Config {
        Config {
            address: "conf://127.0.0.1:1/r".parse().unwrap(),
            name: "Ann".parse().unwrap(),
            key: None,
            password: None,
            client: "test".into(),
            subscribe: Vec::new(),
            messages: None,
            offers: false,
            look: false,
            reconnect: None,
            connect_timeout: Duration::from_secs(10),
            ask: None,
        }
    }

    fn get(number: u8) -> Job {
        Job::Get(Get {
            offer: OfferId([number; 16]),
            number: OfferNumber(number.into()),
            title: "a".into(),
            directory: PathBuf::new(),
            text: false,
        })
    }

    #[tokio::test]
    async fn few_run_many_wait_and_too_many_are_refused() {
        let mut transfers = Transfers::new(&nowhere());
        let ids: Vec<u32> =
            (0..(AT_ONCE + WAITING) as u8).map(|n| transfers.begin(get(n), None).unwrap()).collect();
        assert_eq!(transfers.running.len(), AT_ONCE);
        assert!(!transfers.is_waiting(ids[0]) && transfers.is_waiting(ids[AT_ONCE]));
        assert!(transfers.begin(get(200), None).unwrap_err().contains("wait already"));
        assert!(transfers.begin(get(0), None).unwrap_err().contains("on its way already"));
        // What has not begun ends at once, and what runs in order.
        transfers.stop();
        let mut ended = Vec::new();
        while transfers.count() > 0 {
            if let News::Ended { id, end, .. } = transfers.next().await {
                assert!(matches!(end, End::Stopped | End::Failed(_)), "{end:?}");
                ended.push(id);
            }
        }
        ended.sort_unstable();
        assert_eq!(ended, ids);
    }

    #[tokio::test]
    async fn what_cannot_connect_fails_and_the_next_has_its_turn() {
        let mut transfers = Transfers::new(&nowhere());
        for number in 0..=AT_ONCE as u8 {
            transfers.begin(get(number), None).unwrap();
        }
        let mut failed = 0;
        while transfers.count() > 0 {
            if let News::Ended { end: End::Failed(failure), .. } = transfers.next().await {
                assert!(matches!(failure.exit, Exit::Connect | Exit::Incomplete), "{failure}");
                failed += 1;
            }
        }
        assert_eq!(failed, AT_ONCE + 1);
    }
}
