//! The window. For the main thread only, as window systems want it.
//!
//! It is told when something new is to be seen through a [`Bell`] and paints at most
//! [`PER_SECOND`] times a second; keys and clicks are looked for as often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use minifb::{InputCallback, Key, KeyRepeat, MouseButton, MouseMode, Scale, ScaleMode, WindowOptions};

use super::Canvas;

/// The most pictures of the window a second.
pub const PER_SECOND: u64 = 60;
/// The size of the window unless it is asked for otherwise.
pub const DEFAULT_SIZE: (usize, usize) = (960, 600);
/// Letters typed between two looks at the keyboard; more are lost.
const TYPED: usize = 32;
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
    /// The key for the next tile.
    Tab,
    /// Back to the previous page.
    PageUp,
    /// On to the next page.
    PageDown,
    /// A click at this pixel.
    Click(usize, usize),
    /// The window was closed.
    Close,
}

struct Typed(SyncSender<char>);

impl InputCallback for Typed {
    fn add_char(&mut self, letter: u32) {
        if let Some(letter) = char::from_u32(letter) {
            // A full queue means that nobody looks: the letter is lost.
            let _ = self.0.try_send(letter);
        }
    }
}

/// An open window.
pub struct Window {
    window: minifb::Window,
    typed: Receiver<char>,
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
        let (letters, typed) = sync_channel(TYPED);
        window.set_input_callback(Box::new(Typed(letters)));
        Ok(Self { window, typed, pressed: AtomicBool::new(false) })
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

    fn inputs(&self) -> Vec<Input> {
        let mut inputs: Vec<Input> = self.typed.try_iter().map(Input::Letter).collect();
        for key in self.window.get_keys_pressed(KeyRepeat::No) {
            match key {
                Key::Tab => inputs.push(Input::Tab),
                Key::PageUp => inputs.push(Input::PageUp),
                Key::PageDown => inputs.push(Input::PageDown),
                _ => {}
            }
        }
        let down = self.window.get_mouse_down(MouseButton::Left);
        let was_down = self.pressed.swap(down, Ordering::Relaxed);
        if down
            && !was_down
            && let Some((x, y)) = self.window.get_mouse_pos(MouseMode::Discard)
        {
            inputs.push(Input::Click(x as usize, y as usize));
        }
        if !self.window.is_open() {
            inputs.push(Input::Close);
        }
        inputs
    }
}
