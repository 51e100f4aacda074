//! The window. For the main thread only, as window systems want it.
//!
//! It is told when something new is to be seen through a [`Bell`] and paints at most
//! [`PER_SECOND`] times a second; keys and clicks are taken as often, and none is too short to be noticed.

mod x11;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use minifb::{HasWindowHandle, InputCallback, Key, MouseButton, MouseMode, Scale, ScaleMode, WindowOptions};
use raw_window_handle::RawWindowHandle;

use self::x11::Companion;
use super::Canvas;

/// The most pictures of the window a second.
pub const PER_SECOND: u64 = 60;
/// The size of the window unless it is asked for otherwise.
pub const DEFAULT_SIZE: (usize, usize) = (960, 600);
/// Keys between two looks at them; more are lost.
const TYPED: usize = 64;
/// The largest window that is painted, against a window system that lies: 8K.
const LARGEST: usize = 8192;

/// There is no window.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot open a window: {reason}. There may be no display here: try --no-window with --snapshot FILE.png, or -o -"
)]
pub struct NoWindow {
    reason: String,
}

/// Rung when something new is to be seen. Rings that nobody has heard yet are one.
#[derive(Debug, Default, Clone)]
pub struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    /// Something new is to be seen.
    pub fn ring(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }

    /// Waits until it is rung, at most for `limit`; whether it was.
    pub fn wait(&self, limit: Duration) -> bool {
        let rung = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) =
            self.0.1.wait_timeout_while(rung, limit, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *rung)
    }
}

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A letter, as the keyboard's layout has it.
    Letter(char),
    /// On to the next tile.
    Next,
    /// Back to the previous tile.
    Previous,
    /// Back to the previous page.
    PageUp,
    /// On to the next page.
    PageDown,
    /// One tile large, or all alike.
    Enter,
    /// Out of what one is in.
    Escape,
    /// Over the whole screen, or back.
    Fullscreen,
    /// A click at this pixel.
    Click(usize, usize),
    /// A second click at once behind a click.
    DoubleClick,
    /// The window was closed.
    Close,
}

/// Takes keys as they come: whoever looks only now and then at which ones are down misses the short ones.
struct Typed {
    out: SyncSender<Input>,
    /// Those that are down, so that a key that is held counts once.
    down: Vec<Key>,
}

impl Typed {
    fn tell(&self, input: Input) {
        // A full queue means that nobody looks: the key is lost.
        let _ = self.out.try_send(input);
    }
}

impl InputCallback for Typed {
    fn add_char(&mut self, letter: u32) {
        if let Some(letter) = char::from_u32(letter).filter(|letter| !letter.is_control()) {
            self.tell(Input::Letter(letter));
        }
    }

    fn set_key_state(&mut self, key: Key, is_down: bool) {
        let input = match key {
            Key::Tab | Key::Right | Key::Down => Input::Next,
            Key::Left | Key::Up => Input::Previous,
            Key::PageUp => Input::PageUp,
            Key::PageDown => Input::PageDown,
            Key::Enter => Input::Enter,
            Key::Escape => Input::Escape,
            Key::F11 => Input::Fullscreen,
            _ => return,
        };
        let was_down = self.down.contains(&key);
        self.down.retain(|other| *other != key);
        if is_down {
            self.down.push(key);
        }
        if is_down && !was_down {
            self.tell(input);
        }
    }
}

/// An open window.
pub struct Window {
    window: minifb::Window,
    typed: Receiver<Input>,
    /// On X11 only.
    companion: Option<Companion>,
    /// Whether the mouse was down at the last look, where there is no companion.
    pressed: AtomicBool,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Window({:?})", self.window.get_size())
    }
}

impl Window {
    /// Opens a window with `title` and room for `width` x `height` pixels.
    ///
    /// # Errors
    /// When there is no display.
    pub fn open(title: &str, width: usize, height: usize) -> Result<Self, NoWindow> {
        let options = WindowOptions {
            resize: true,
            scale: Scale::X1,
            scale_mode: ScaleMode::UpperLeft,
            ..Default::default()
        };
        let has_display =
            ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|v| std::env::var_os(v).is_some_and(|v| !v.is_empty()));
        if !has_display {
            return Err(NoWindow { reason: "neither DISPLAY nor WAYLAND_DISPLAY is set".into() });
        }
        let opened = minifb::Window::new(title, width.max(1), height.max(1), options);
        let mut window = opened.map_err(|e| NoWindow { reason: e.to_string() })?;
        // The caller paces itself by the bell.
        window.set_target_fps(0);
        window.set_background_color(0x11, 0x14, 0x18);
        let (out, typed) = sync_channel(TYPED);
        window.set_input_callback(Box::new(Typed { out, down: Vec::new() }));
        let companion = match window.window_handle().map(|handle| handle.as_raw()) {
            Ok(RawWindowHandle::Xlib(handle)) => u32::try_from(handle.window).ok().and_then(Companion::new),
            _ => None,
        };
        Ok(Self { window, typed, companion, pressed: AtomicBool::new(false) })
    }

    /// Whether nobody can see it, as far as that is known.
    pub fn is_hidden(&self) -> bool {
        self.companion.as_ref().is_some_and(Companion::is_hidden)
    }

    /// Whether it covers the whole screen.
    pub fn is_full(&self) -> bool {
        self.companion.as_ref().is_some_and(Companion::is_full)
    }

    /// Over the whole screen, or back to where it was; `false` where only the window system can do that.
    pub fn set_full(&mut self, full: bool) -> bool {
        self.companion.as_mut().map(|companion| companion.set_full(full)).is_some()
    }

    /// The room there is now, in pixels.
    pub fn size(&self) -> (usize, usize) {
        let (width, height) = self.window.get_size();
        (width.min(LARGEST), height.min(LARGEST))
    }

    /// Changes the title.
    pub fn set_title(&mut self, title: &str) {
        self.window.set_title(title);
    }

    /// Shows `canvas`, or lets the window live on without a new picture; then what a person did.
    pub fn update(&mut self, canvas: Option<&Canvas>) -> Vec<Input> {
        match canvas {
            Some(canvas) if canvas.width() > 0 && canvas.height() > 0 => {
                let shown = self.window.update_with_buffer(canvas.pixels(), canvas.width(), canvas.height());
                if let Err(error) = shown {
                    tracing::debug!(%error, "the window did not take a picture");
                }
            }
            _ => self.window.update(),
        }
        self.inputs()
    }

    fn inputs(&mut self) -> Vec<Input> {
        let mut inputs: Vec<Input> = self.typed.try_iter().collect();
        match &mut self.companion {
            Some(companion) => inputs.extend(companion.poll()),
            None => inputs.extend(self.polled_click()),
        }
        if !self.window.is_open() {
            inputs.push(Input::Close);
        }
        inputs
    }

    fn polled_click(&self) -> Option<Input> {
        let down = self.window.get_mouse_down(MouseButton::Left);
        let was_down = self.pressed.swap(down, Ordering::Relaxed);
        let (x, y) = self.window.get_mouse_pos(MouseMode::Discard).filter(|_| down && !was_down)?;
        Some(Input::Click(x as usize, y as usize))
    }
}
