//! What minifb leaves out on X11, over a connection of its own: clicks that are shorter than a look at the mouse, the full
//! screen, whether the window is to be seen at all, and what window managers know a program by.
//!
//! All of it is optional: without it the window works as minifb has it.

use x11rb::connection::Connection;
use x11rb::errors::ReplyError;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ButtonPressEvent, ChangeWindowAttributesAux, ClientMessageEvent, ConfigureWindowAux,
    ConnectionExt as _, CreateWindowAux, EventMask, GetGeometryReply, PropMode, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::Input;

/// A second click within so many milliseconds of the first, and not further away, makes it a double click.
const DOUBLE_MS: u32 = 400;
const DOUBLE_PIXELS: u16 = 8;
/// What window managers and their rules know the window by.
const CLASS: &[u8] = b"conf-view\0conf-view\0";
/// Larger than any window.
const GLASS: u16 = 16_384;
/// The button that clicks.
const LEFT: u8 = 1;
/// `_NET_WM_STATE`, EWMH 1.5: take the state away, set it.
const REMOVE: u32 = 0;
const ADD: u32 = 1;
/// The source of a request is a program that a person uses.
const APPLICATION: u32 = 1;

x11rb::atom_manager! {
    Atoms: AtomsCookie {
        _NET_SUPPORTING_WM_CHECK,
        _NET_WM_PID,
        _NET_WM_STATE,
        _NET_WM_STATE_FULLSCREEN,
        _NET_WM_STATE_HIDDEN,
    }
}

/// See the module.
pub(super) struct Companion {
    connection: RustConnection,
    window: u32,
    root: u32,
    screen: (u16, u16),
    atoms: Atoms,
    mapped: bool,
    /// The window manager says that it is minimised.
    hidden: bool,
    /// The window manager shows it over the whole screen.
    full: bool,
    /// Where it was before it was made as large as the screen, where there is no window manager.
    before: Option<GetGeometryReply>,
    last: Option<ButtonPressEvent>,
}

impl Companion {
    /// For the window with this number, on the display that the environment names.
    pub(super) fn new(window: u32) -> Option<Self> {
        Self::open(window).inspect_err(|error| tracing::debug!(%error, "no second connection to X11")).ok()
    }

    fn open(window: u32) -> Result<Self, Box<dyn std::error::Error>> {
        let (connection, screen) = x11rb::connect(None)?;
        let screen = connection.setup().roots.get(screen).ok_or("no screen")?;
        let (root, size) = (screen.root, (screen.width_in_pixels, screen.height_in_pixels));
        let atoms = Atoms::new(&connection)?.reply()?;
        let events = EventMask::STRUCTURE_NOTIFY | EventMask::PROPERTY_CHANGE;
        let attributes = ChangeWindowAttributesAux::new().event_mask(events);
        connection.change_window_attributes(window, &attributes)?.check()?;
        // Only one client can ask a window for presses, and minifb has; a grab would quarrel with those of window managers.
        // So an invisible window of our own lies over it: each press there comes as an event, however short it is.
        // Keys pass through it.
        let glass = connection.generate_id()?;
        let attributes = CreateWindowAux::new().event_mask(EventMask::BUTTON_PRESS);
        connection
            .create_window(0, glass, window, 0, 0, GLASS, GLASS, 0, WindowClass::INPUT_ONLY, 0, &attributes)?
            .check()?;
        connection.map_window(glass)?.check()?;
        let this = Self {
            connection,
            window,
            root,
            screen: size,
            atoms,
            mapped: true,
            hidden: false,
            full: false,
            before: None,
            last: None,
        };
        this.introduce()?;
        Ok(this)
    }

    /// Class, process and machine. minifb has shown the window already: window managers that look at these only before
    /// that miss them.
    fn introduce(&self) -> Result<(), ReplyError> {
        let (text, replace) = (AtomEnum::STRING, PropMode::REPLACE);
        let connection = &self.connection;
        connection.change_property8(replace, self.window, AtomEnum::WM_CLASS, text, CLASS)?.check()?;
        // A process number without the machine that it counts on means nothing (EWMH).
        if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
            let host = host.trim().as_bytes();
            connection
                .change_property8(replace, self.window, AtomEnum::WM_CLIENT_MACHINE, text, host)?
                .check()?;
            let (pid, number) = (self.atoms._NET_WM_PID, AtomEnum::CARDINAL);
            connection
                .change_property32(replace, self.window, pid, number, &[std::process::id()])?
                .check()?;
        }
        Ok(())
    }

    /// What has happened since the last time.
    pub(super) fn poll(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        // An error means that the display has gone, which minifb notices as well.
        while let Ok(Some(event)) = self.connection.poll_for_event() {
            match event {
                Event::ButtonPress(press) if press.detail == LEFT => inputs.push(self.click(press)),
                Event::UnmapNotify(event) if event.window == self.window => self.mapped = false,
                Event::MapNotify(event) if event.window == self.window => self.mapped = true,
                Event::PropertyNotify(change) if change.atom == self.atoms._NET_WM_STATE => self.look(),
                _ => {}
            }
        }
        inputs
    }

    fn click(&mut self, press: ButtonPressEvent) -> Input {
        let twice = self.last.take().is_some_and(|last| {
            press.time.wrapping_sub(last.time) <= DOUBLE_MS
                && press.event_x.abs_diff(last.event_x) <= DOUBLE_PIXELS
                && press.event_y.abs_diff(last.event_y) <= DOUBLE_PIXELS
        });
        if twice {
            return Input::DoubleClick;
        }
        self.last = Some(press);
        Input::Click(press.event_x.max(0) as usize, press.event_y.max(0) as usize)
    }

    /// What the window manager says about it.
    fn look(&mut self) {
        let asked =
            self.connection.get_property(false, self.window, self.atoms._NET_WM_STATE, AtomEnum::ATOM, 0, 64);
        let Some(state) = asked.ok().and_then(|cookie| cookie.reply().ok()) else { return };
        let has = |atom| state.value32().is_some_and(|mut states| states.any(|one| one == atom));
        self.hidden = has(self.atoms._NET_WM_STATE_HIDDEN);
        self.full = has(self.atoms._NET_WM_STATE_FULLSCREEN);
    }

    /// Whether nobody can see it.
    pub(super) fn is_hidden(&self) -> bool {
        !self.mapped || self.hidden
    }

    pub(super) fn is_full(&self) -> bool {
        self.full || self.before.is_some()
    }

    /// Over the whole screen, or back to where it was.
    pub(super) fn set_full(&mut self, full: bool) {
        if full != self.is_full()
            && let Err(error) = self.try_full(full)
        {
            tracing::debug!(%error, "no full screen");
        }
    }

    fn try_full(&mut self, full: bool) -> Result<(), ReplyError> {
        if self.is_managed()? {
            let (state, which) = (self.atoms._NET_WM_STATE, self.atoms._NET_WM_STATE_FULLSCREEN);
            let data = [if full { ADD } else { REMOVE }, which, 0, APPLICATION, 0];
            let request = ClientMessageEvent::new(32, self.window, state, data);
            let to = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
            return self.connection.send_event(false, self.root, to, request)?.check();
        }
        let target = match self.before.take() {
            Some(before) => ConfigureWindowAux::new()
                .x(i32::from(before.x))
                .y(i32::from(before.y))
                .width(u32::from(before.width))
                .height(u32::from(before.height)),
            None => {
                self.before = Some(self.connection.get_geometry(self.window)?.reply()?);
                let (width, height) = self.screen;
                ConfigureWindowAux::new().x(0).y(0).width(u32::from(width)).height(u32::from(height))
            }
        };
        self.connection.configure_window(self.window, &target)?.check()
    }

    /// Whether there is a window manager that knows such requests.
    fn is_managed(&self) -> Result<bool, ReplyError> {
        let check = self.atoms._NET_SUPPORTING_WM_CHECK;
        let asked = self.connection.get_property(false, self.root, check, AtomEnum::WINDOW, 0, 1)?;
        Ok(asked.reply()?.value_len > 0)
    }
}
