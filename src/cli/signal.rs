//! Ctrl-C and SIGTERM: the first asks the program to finish, the second ends it at once.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

static RECEIVED: AtomicI32 = AtomicI32::new(0);
/// What [`hold`] has set up.
static HOLD: Mutex<Option<Hold>> = Mutex::new(None);
/// The program looks after signals itself.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The signals that end a program which does not look after them.
struct Hold {
    /// Whether they do so at once.
    at_once: Arc<AtomicBool>,
    /// Those that came while they did not.
    came: Vec<(i32, Arc<AtomicBool>)>,
}

/// In a program that does not look after signals, those that would end it are kept from here on until
/// [`Held::release`]: the terminal must have its echo back first.
pub fn hold() -> io::Result<Held> {
    if TAKEN.load(Ordering::Relaxed) {
        return Ok(Held(()));
    }
    let mut hold = HOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if hold.is_none() {
        let at_once = Arc::new(AtomicBool::new(true));
        let mut came = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let this = Arc::new(AtomicBool::new(false));
            flag::register_conditional_default(signal, Arc::clone(&at_once))?;
            flag::register(signal, Arc::clone(&this))?;
            came.push((signal, this));
        }
        *hold = Some(Hold { at_once, came });
    }
    if let Some(hold) = hold.as_ref() {
        hold.at_once.store(false, Ordering::SeqCst);
    }
    Ok(Held(()))
}

/// See [`hold`].
#[derive(Debug)]
pub struct Held(());

impl Held {
    /// The signal that came meanwhile.
    pub fn came(&self) -> Option<i32> {
        let hold = HOLD.lock().unwrap_or_else(PoisonError::into_inner);
        let came = hold.as_ref().filter(|_| !TAKEN.load(Ordering::Relaxed))?.came.iter();
        came.filter(|(_, came)| came.load(Ordering::SeqCst)).map(|(signal, _)| *signal).next()
    }

    /// Signals end the program at once again; one that came meanwhile does so now.
    pub fn release(self) {
        if let Some(hold) = HOLD.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            hold.at_once.store(!TAKEN.load(Ordering::Relaxed), Ordering::SeqCst);
        }
        if let Some(signal) = self.came() {
            std::process::exit(128 + signal);
        }
    }
}

/// From here on the program looks after signals itself.
pub fn take() {
    TAKEN.store(true, Ordering::Relaxed);
    if let Some(hold) = HOLD.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        hold.at_once.store(false, Ordering::SeqCst);
    }
}

/// A token that the first SIGINT or SIGTERM cancels. The second ends the process with 130 or 143,
/// whatever it is doing.
pub fn install() -> io::Result<CancellationToken> {
    take();
    let armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag down and puts it up.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let token = CancellationToken::new();
    let asked = token.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            RECEIVED.store(signal, Ordering::Relaxed);
            asked.cancel();
        }
    })?;
    Ok(token)
}

/// Does something at every SIGHUP, instead of ending.
pub fn on_hangup(mut action: impl FnMut() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    std::thread::Builder::new()
        .name("hangup".into())
        .spawn(move || signals.forever().for_each(|_| action()))?;
    Ok(())
}

/// The signal that asked the program to finish, if one did.
pub fn received() -> Option<u8> {
    u8::try_from(RECEIVED.load(Ordering::Relaxed)).ok().filter(|&signal| signal > 0)
}

/// The program ends as if `signal` had asked it to: Ctrl-C is a key where a terminal is in raw mode.
pub fn note(signal: i32) {
    RECEIVED.store(signal, Ordering::Relaxed);
}

/// The program has done what the signal asked for and ends like one that was not interrupted: a server
/// that is told to stop and stops in order has not failed.
pub fn acknowledge() {
    RECEIVED.store(0, Ordering::Relaxed);
}
