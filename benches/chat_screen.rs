//! What conf-chat's screen costs: a key until it is drawn with 10,000 messages, and while 10,000 more
//! come every second: `make bench-terminal`.
#![allow(missing_docs, clippy::print_stdout)]

use std::sync::mpsc;
use std::time::Duration;

use confkit::id::MemberId;
use confkit::terminal::{Event, Kind, Message, Now, Person, Screen, Sender, Settings, Theme, hue, paint};
use confkit::time::{self, Moment};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const MESSAGES: usize = 10_000;
const RATE: u64 = 10_000;
const SECONDS: u64 = 5;

fn main() {
    println!("{:<64} {:>8} {:>8}  target", "milliseconds", "p50", "p99");
    keystrokes();
    layout();
    flood();
}

fn row(what: &str, mut micros: Vec<u64>, target: &str) {
    micros.sort_unstable();
    let at = |share: f64| micros[(((micros.len() - 1) as f64) * share) as usize] as f64 / 1e3;
    println!("{what:<64} {:>8.3} {:>8.3}  {target}", at(0.5), at(0.99));
}

fn now() -> Now {
    Now { moment: time::now(), wall: time::wall() as f64 / 1e6 }
}

fn message(n: usize) -> Event {
    let texts = [
        "good morning",
        "a longer message that needs more than one row on most terminals, so that it has to be wrapped somewhere",
        "早上好，大家好。今天的会议十点开始。",
        "👩‍👩‍👧 ❤\u{fe0f} שלום e\u{301}",
        "several\nlines\nof\ntext",
    ];
    let name = format!("member {}", n % 50);
    Event::Said(Message {
        seq: n as u64,
        from: Sender { member: MemberId((n % 50) as u32), hue: hue(name.as_bytes()), name },
        to: None,
        mine: false,
        own: None,
        sent: 1_795_338_000.0,
        received: 1_795_338_000.0,
        kind: Kind::Text,
        text: texts[n % texts.len()].to_owned(),
    })
}

fn filled() -> Screen {
    let settings = Settings {
        room: "bench".into(),
        name: "Ann".into(),
        zone: TimeZone::system(),
        theme: Theme::Indexed,
    };
    let mut screen = Screen::new(settings);
    let people = (0..100).map(|n| Person::new(MemberId(n), &format!("member {n}"), u64::from(n))).collect();
    screen.handle_event(Event::People(people), now());
    screen.handle_event(Event::CaughtUp, now());
    (0..MESSAGES).for_each(|n| drop(screen.handle_event(message(n), now())));
    screen
}

/// The cells that a terminal shows, and the bytes to it.
struct Glass {
    shown: Option<Buffer>,
    next: Buffer,
    bytes: Vec<u8>,
}

impl Glass {
    fn new(width: u16, height: u16) -> Self {
        Self { shown: None, next: Buffer::empty(Rect::new(0, 0, width, height)), bytes: Vec::new() }
    }

    fn draw(&mut self, screen: &mut Screen) {
        let cursor = screen.draw(&mut self.next, now());
        self.bytes.clear();
        paint(self.shown.as_ref(), &self.next, cursor, &mut self.bytes);
        let next = self.shown.take().unwrap_or_else(|| self.next.clone());
        self.shown = Some(std::mem::replace(&mut self.next, next));
    }
}

fn key(n: usize) -> KeyEvent {
    match n % 60 {
        0 => KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL),
        _ => KeyEvent::new(KeyCode::Char('x'), KeyModifiers::NONE),
    }
}

fn timed(mut what: impl FnMut(usize)) -> Vec<u64> {
    let one = |n| {
        let began = time::now();
        what(n);
        time::now().since(began).as_micros() as u64
    };
    (0..2_000).map(one).collect()
}

fn keystrokes() {
    for (width, height) in [(80, 24), (200, 60), (400, 100)] {
        let (mut screen, mut glass) = (filled(), Glass::new(width, height));
        let taken = timed(|n| {
            screen.handle_key(key(n), now());
            glass.draw(&mut screen);
        });
        row(&format!("key until drawn, {MESSAGES} messages, {width}x{height}"), taken, "< 16");
    }
}

fn layout() {
    let (mut screen, mut glass) = (filled(), Glass::new(120, 40));
    let page = KeyEvent::new(KeyCode::PageUp, KeyModifiers::NONE);
    let taken = timed(|_| {
        screen.handle_key(page, now());
        glass.draw(&mut screen);
    });
    row("a page back", taken, "< 16");
    let mut screen = filled();
    let taken = timed(|n| Glass::new(60 + (n % 140) as u16, 40).draw(&mut screen));
    row("another width, all drawn anew", taken, "< 16");
}

/// As the program does it: keys first, at most 60 pictures a second for what comes.
fn flood() {
    let (tell, told) = mpsc::sync_channel(64);
    let (press, pressed) = mpsc::sync_channel(64);
    let end = time::now() + Duration::from_secs(SECONDS);
    let sender = std::thread::spawn(move || {
        let began = time::now();
        let mut sent = 0;
        while end.since(time::now()) > Duration::ZERO {
            let due = time::now().since(began).as_micros() as u64 * RATE / 1_000_000;
            (sent..due).for_each(|n| drop(tell.send(message(n as usize))));
            sent = due;
            std::thread::park_timeout(Duration::from_millis(1));
        }
        sent as f64 / time::now().since(began).as_secs_f64()
    });
    let typist = std::thread::spawn(move || {
        for n in 0.. {
            if end.since(time::now()).is_zero() || press.send((key(n), time::now())).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(37));
        }
    });
    let (mut screen, mut glass) = (filled(), Glass::new(120, 40));
    let (mut delays, mut drawn) = (Vec::new(), Moment::default());
    let mut busy = Duration::ZERO;
    loop {
        let began = time::now();
        let mut keys = Vec::new();
        while let Ok((key, at)) = pressed.try_recv() {
            screen.handle_key(key, now());
            keys.push(at);
        }
        let event = told.try_recv();
        let idle = matches!(event, Err(mpsc::TryRecvError::Empty)) && keys.is_empty();
        let over = matches!(event, Err(mpsc::TryRecvError::Disconnected));
        if let Ok(event) = event {
            screen.handle_event(event, now());
        }
        if !keys.is_empty() || began.since(drawn) >= Duration::from_micros(16_667) {
            glass.draw(&mut screen);
            drawn = time::now();
            delays.extend(keys.into_iter().map(|at| drawn.since(at).as_micros() as u64));
        }
        if over {
            break;
        }
        if idle {
            std::thread::park_timeout(Duration::from_micros(200));
        } else {
            busy += time::now().since(began);
        }
    }
    let rate = sender.join().expect("no panic");
    drop(pressed);
    typist.join().expect("no panic");
    row(&format!("key until drawn while {rate:.0} messages/s come, 120x40"), delays, "< 16");
    println!("{:<64} {:>8.2}", "  of one core used by it", busy.as_secs_f64() / SECONDS as f64);
}
