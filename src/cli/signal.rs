//! Ctrl-C and SIGTERM: the first asks the program to finish, the second ends it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use tokio_util::sync::CancellationToken;

static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// A token that the first SIGINT or SIGTERM cancels. The second ends the process with 130 or 143,
/// whatever it is doing.
pub fn install() -> io::Result<CancellationToken> {
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
