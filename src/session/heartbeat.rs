//! Whether the peer is still there, and how far away.
//!
//! Each side lets no [`limits::HEARTBEAT`] pass without a byte of its own and gives the other up after
//! [`limits::SILENCE`] without one. Any byte counts, so a peer that is busy with a large picture needs
//! no ping to stay alive.
//!
//! A program that was stopped itself (a suspended laptop, SIGSTOP, a starved machine) cannot know
//! whether its peer spoke in the meantime. It notices by a deadline that has passed by more than
//! [`limits::PAUSE`]; such a deadline does not count. A server then starts counting anew, because the
//! bytes that wait in its sockets have not been read yet; a client asks at once and wants the answer
//! within [`limits::WAKE`], because a connection seldom outlives a long sleep.

use std::time::Duration;

use crate::limits;
use crate::time::Moment;

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Pings only where it has been quiet, and is patient after a pause.
    Server,
    /// Pings all the time, because it shows the round-trip time, and is impatient after a pause.
    Client,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Send a ping with this id.
    Ping(u64),
    /// The peer is gone: close the connection.
    Dead,
}

/// The heartbeat of one connection.
///
/// The edge calls [`handle_received`](Self::handle_received) for each read and
/// [`handle_sent`](Self::handle_sent) for each write, and [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) has come, until it answers [`Action::None`].
#[derive(Debug, Clone)]
pub struct Heartbeat {
    side: Side,
    received: Moment,
    sent: Moment,
    /// When the last ping went out.
    pinged: Moment,
    /// Its id, while it has not been answered.
    awaited: Option<u64>,
    /// The next id.
    next: u64,
    rtt: Option<Duration>,
    /// After a pause of a client: the pong that proves that the peer is still there, until when.
    proof: Option<(u64, Moment)>,
    /// A pause has been noticed and its ping has not gone out yet.
    check: bool,
    /// Pings go out this often besides, each when the one before is answered; and when the next may.
    watch: Option<(Duration, Moment)>,
}

impl Heartbeat {
    /// The heartbeat of a connection that was made at `now`.
    pub fn new(side: Side, now: Moment) -> Self {
        Self {
            side,
            received: now,
            sent: now,
            pinged: now,
            awaited: None,
            next: 1,
            rtt: None,
            proof: None,
            check: false,
            watch: None,
        }
    }

    /// Pings as often as this, or no more often than needed: shows how long the way is now.
    pub fn watch(&mut self, every: Option<Duration>, now: Moment) {
        match (every, &mut self.watch) {
            (None, watch) => *watch = None,
            (Some(every), Some(watch)) => watch.0 = every,
            (Some(every), watch) => *watch = Some((every, now)),
        }
    }

    /// The round-trip time, or how long an answer has been waited for where that is longer.
    pub fn delay(&self, now: Moment) -> Option<Duration> {
        let waited = self.awaited.map(|_| now.since(self.pinged));
        self.rtt.max(waited)
    }

    /// Bytes of the peer have come in. Also to be called when this side deliberately did not read, since
    /// silence then says nothing about the peer.
    pub fn handle_received(&mut self, now: Moment) {
        self.notice_pause(now);
        self.received = now;
    }

    /// Bytes have been given to the kernel.
    pub fn handle_sent(&mut self, now: Moment) {
        self.notice_pause(now);
        self.sent = now;
    }

    /// A pong has come in.
    pub fn handle_pong(&mut self, id: u64, now: Moment) {
        if self.awaited == Some(id) {
            self.rtt = Some(now.since(self.pinged));
            self.awaited = None;
            if let Some((_, next)) = &mut self.watch {
                *next = now.max(*next);
            }
        }
        if self.proof.is_some_and(|(wanted, _)| id >= wanted) {
            self.proof = None;
        }
    }

    /// What is to be done at `now`; also when it is called too early.
    pub fn handle_timeout(&mut self, now: Moment) -> Action {
        self.notice_pause(now);
        if self.dead_at() <= now {
            return Action::Dead;
        }
        if self.ping_at() > now {
            return Action::None;
        }
        let id = self.next;
        self.next += 1;
        self.sent = now;
        self.pinged = now;
        self.awaited = Some(id);
        if let Some((every, next)) = &mut self.watch {
            *next = now + *every;
        }
        if std::mem::take(&mut self.check) && self.side == Side::Client {
            self.proof = Some((id, now + limits::WAKE));
        }
        Action::Ping(id)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Moment {
        self.ping_at().min(self.dead_at())
    }

    /// The round-trip time of the last ping that was answered, with what waited before it in queues.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    fn ping_at(&self) -> Moment {
        let quiet = match self.side {
            _ if self.check => Moment::default(),
            Side::Server => self.sent + limits::HEARTBEAT,
            Side::Client => self.pinged + limits::HEARTBEAT,
        };
        match self.watch {
            Some((_, next)) if self.awaited.is_none() => quiet.min(next),
            _ => quiet,
        }
    }

    fn dead_at(&self) -> Moment {
        let silent = self.received + limits::SILENCE;
        self.proof.map_or(silent, |(_, until)| until.min(silent))
    }

    /// Every call comes through here, because after a pause the edge may find bytes before it finds
    /// that a timer has run out.
    fn notice_pause(&mut self, now: Moment) {
        if !self.check && now.since(self.poll_timeout()) > limits::PAUSE {
            self.check = true;
            self.received = now;
            self.proof = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment::from_micros(1_000_000_000 + (seconds * 1e6) as u64)
    }

    #[test]
    fn a_quiet_side_pings_and_a_busy_one_does_not() {
        let mut beat = Heartbeat::new(Side::Server, at(0.0));
        assert_eq!(beat.handle_timeout(at(3.9)), Action::None);
        assert_eq!(beat.handle_timeout(at(4.0)), Action::Ping(1));
        assert_eq!(beat.handle_timeout(at(4.0)), Action::None);
        beat.handle_sent(at(6.0));
        assert_eq!(beat.handle_timeout(at(8.0)), Action::None);
        assert_eq!(beat.handle_timeout(at(10.0)), Action::Ping(2));
    }

    #[test]
    fn x05_a_silent_peer_is_dead_after_12_seconds_and_not_before() {
        for side in [Side::Server, Side::Client] {
            let mut beat = Heartbeat::new(side, at(0.0));
            for tick in 0..119 {
                assert_ne!(beat.handle_timeout(at(f64::from(tick) / 10.0)), Action::Dead);
            }
            assert_eq!(beat.handle_timeout(at(12.0)), Action::Dead);
        }
    }

    #[test]
    fn a_peer_that_sends_anything_lives_for_hours() {
        let mut beat = Heartbeat::new(Side::Server, at(0.0));
        let mut pings = 0;
        for second in 1..36_000 {
            if second % 11 == 0 {
                beat.handle_received(at(f64::from(second)));
            }
            match beat.handle_timeout(at(f64::from(second))) {
                Action::Ping(_) => pings += 1,
                Action::None => {}
                Action::Dead => panic!("given up at {second} s"),
            }
        }
        assert_eq!(pings, 36_000 / 4 - 1);
    }

    #[test]
    fn a_pong_measures_the_round_trip_once() {
        let mut beat = Heartbeat::new(Side::Client, at(0.0));
        assert_eq!(beat.handle_timeout(at(4.0)), Action::Ping(1));
        beat.handle_pong(7, at(4.01));
        assert_eq!(beat.rtt(), None);
        beat.handle_pong(1, at(4.03));
        assert_eq!(beat.rtt(), Some(Duration::from_millis(30)));
        beat.handle_pong(1, at(5.0));
        assert_eq!(beat.rtt(), Some(Duration::from_millis(30)));
    }

    #[test]
    fn s24_a_server_that_was_stopped_counts_anew() {
        let mut beat = Heartbeat::new(Side::Server, at(0.0));
        assert_eq!(beat.handle_timeout(at(60.0)), Action::Ping(1));
        assert_eq!(beat.handle_timeout(at(60.0)), Action::None);
        assert_eq!(beat.handle_timeout(at(64.0)), Action::Ping(2));
        assert_eq!(beat.handle_timeout(at(68.0)), Action::Ping(3));
        assert_eq!(beat.handle_timeout(at(72.0)), Action::Dead);
    }

    #[test]
    fn x04_a_client_that_slept_asks_at_once_and_waits_only_briefly() {
        let mut beat = Heartbeat::new(Side::Client, at(0.0));
        beat.handle_received(at(3_600.0));
        assert!(beat.poll_timeout() <= at(3_600.0), "bytes from before the sleep prove nothing");
        assert_eq!(beat.handle_timeout(at(3_600.0)), Action::Ping(1));
        beat.handle_received(at(3_600.5));
        assert!(beat.poll_timeout() <= at(3_600.0) + limits::WAKE);
        assert_eq!(beat.handle_timeout(at(3_600.0) + limits::WAKE), Action::Dead);
    }

    #[test]
    fn x04_a_connection_that_survived_the_sleep_goes_on() {
        let mut beat = Heartbeat::new(Side::Client, at(0.0));
        assert_eq!(beat.handle_timeout(at(3_600.0)), Action::Ping(1));
        beat.handle_received(at(3_600.1));
        beat.handle_pong(1, at(3_600.1));
        assert_eq!(beat.handle_timeout(at(3_604.0)), Action::Ping(2));
        assert_eq!(beat.handle_timeout(at(3_607.0)), Action::None);
    }

    #[test]
    fn who_watches_the_way_pings_often_and_sees_an_answer_that_does_not_come() {
        let at = |ms: u64| Moment::from_micros(60_000_000 + ms * 1_000);
        let mut heart = Heartbeat::new(Side::Server, at(0));
        heart.handle_received(at(3_000));
        heart.handle_sent(at(3_000));
        let every = Duration::from_millis(100);
        heart.watch(Some(every), at(3_500));
        assert_eq!(heart.handle_timeout(at(3_500)), Action::Ping(1));
        assert_eq!(heart.delay(at(3_700)), Some(Duration::from_millis(200)));
        assert_eq!(heart.handle_timeout(at(3_700)), Action::None, "one at a time");
        heart.handle_pong(1, at(3_720));
        assert_eq!(heart.delay(at(3_800)), Some(Duration::from_millis(220)));
        assert_eq!(heart.handle_timeout(at(3_720)), Action::Ping(2));
        heart.handle_pong(2, at(3_725));
        assert_eq!(heart.handle_timeout(at(3_800)), Action::None);
        heart.watch(None, at(3_800));
        assert_eq!(heart.handle_timeout(at(5_000)), Action::None);
    }
}
