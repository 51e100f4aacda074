//! Paints tiles, names and notices; paints again only what has changed.

mod overlay;

use std::sync::Arc;

use super::canvas::Canvas;
use super::layout::{self, Mode, PER_PAGE, Rect, Slot};
use super::scale::Scaler;
use super::text::{Face, Typesetter};
use crate::media::Picture;

const BACKGROUND: u32 = 0x0011_1418;
const EMPTY: u32 = 0x001e_2329;
const TEXT: u32 = 0x00dd_e2e8;
const FAINT: u32 = 0x008b_95a1;
const ACCENT: u32 = 0x006c_b6ff;
const WARNING: u32 = 0x00ff_b454;

/// The shape of a tile that has not had a picture yet.
const UNKNOWN_ASPECT: f32 = 4.0 / 3.0;

/// What a tile has to say about its picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Notice {
    /// Nothing: pictures come.
    #[default]
    Live,
    /// No picture has come yet.
    Waiting,
    /// The member sends no video.
    CameraOff,
    /// No picture for so many seconds; the last one stays, darkened.
    Stalled(u64),
    /// The member, of whom no picture has come, has been reconnecting for so many seconds.
    Reconnecting(u64),
    /// The member reconnects; no picture has come for so many seconds.
    Gone(u64),
    /// A sentence, drawn over the darkened picture: why there is none.
    Because(String),
}

impl Notice {
    fn sentence(&self) -> Option<String> {
        match self {
            Self::Live => None,
            Self::Waiting => Some("waiting for the first picture".into()),
            Self::CameraOff => Some("camera off".into()),
            Self::Stalled(seconds) => Some(format!("no picture for {}", span(*seconds))),
            Self::Reconnecting(seconds) => Some(format!("reconnecting for {}", span(*seconds))),
            Self::Gone(seconds) => Some(format!("no picture for {}, reconnecting", span(*seconds))),
            Self::Because(why) => Some(why.clone()),
        }
    }
}

/// One track on the screen.
#[derive(Debug, Clone, Default)]
pub struct Tile {
    /// What tells it from the others for as long as it is there.
    pub id: u64,
    /// Who it is; already scrubbed.
    pub name: String,
    /// Which track it is, where that has to be said; it gives way to the name.
    pub label: String,
    /// One's own picture.
    pub own: bool,
    /// What stands behind the name, a word or a few each, as many as there is room for; already scrubbed.
    pub states: Vec<String>,
    /// The newest picture.
    pub picture: Option<Arc<Picture>>,
    /// Width over height before the first picture, where that is known.
    pub aspect: Option<f32>,
    /// What to say about it.
    pub notice: Notice,
    /// Shown over the picture when statistics are asked for, one short line each.
    pub statistics: Vec<String>,
}

impl Tile {
    fn aspect(&self) -> f32 {
        let shape = |p: &Arc<Picture>| p.width() as f32 / p.height() as f32;
        self.picture.as_ref().map(shape).or(self.aspect).unwrap_or(UNKNOWN_ASPECT)
    }
}

/// Everything that is to be seen.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// The tracks, in order.
    pub tiles: Vec<Tile>,
    /// How they share the window; a focused index counts from the first tile of all.
    pub mode: Mode,
    /// Which page of [`PER_PAGE`] tiles, from 0.
    pub page: usize,
    /// A line across the top: what the program is doing when that is not showing pictures.
    pub banner: Option<String>,
    /// What to say when there is no tile.
    pub empty: String,
    /// Whether statistics are drawn.
    pub statistics: bool,
    /// Whether the keys are explained.
    pub help: bool,
}

impl Scene {
    /// How many pages there are; at least one.
    pub fn pages(&self) -> usize {
        self.tiles.len().div_ceil(PER_PAGE).max(1)
    }
}

/// A tile as it was painted last.
#[derive(PartialEq)]
struct Painted {
    id: u64,
    slot: Slot,
    name: String,
    label: String,
    own: bool,
    states: Vec<String>,
    notice: Notice,
    statistics: Vec<String>,
}

/// What makes everything be painted anew when it changes.
#[derive(PartialEq, Default)]
struct Chrome {
    size: (usize, usize),
    slots: Vec<(u64, Slot)>,
    banner: Option<String>,
    empty: String,
    statistics: bool,
    help: bool,
}

/// Paints scenes into a buffer of its own.
#[derive(Default)]
pub struct Composer {
    canvas: Canvas,
    scaler: Scaler,
    text: Typesetter,
    chrome: Option<Chrome>,
    painted: Vec<(Painted, Option<Arc<Picture>>)>,
}

impl std::fmt::Debug for Composer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Composer({}x{})", self.canvas.width(), self.canvas.height())
    }
}

impl Composer {
    /// Paints `scene` in `width` x `height`; whether any pixel may have changed since the last time.
    pub fn paint(&mut self, scene: &Scene, width: usize, height: usize) -> bool {
        let page = scene.page.min(scene.pages() - 1);
        let first = page * PER_PAGE;
        let tiles = &scene.tiles[first..scene.tiles.len().min(first + PER_PAGE)];
        let mode = match scene.mode {
            Mode::Focus(index) if index >= first => Mode::Focus(index - first),
            _ => Mode::Grid,
        };
        let banner = banner(scene, page);
        // Which page it is has a place of its own, because it stays; all else that is said is said over the pictures, which
        // do not move for it.
        let top = if scene.pages() > 1 { overlay::banner_height(height) } else { 0 };
        let aspects: Vec<f32> = tiles.iter().map(Tile::aspect).collect();
        let mut slots = layout::place(width, height - top, &aspects, mode);
        for slot in &mut slots {
            [&mut slot.tile, &mut slot.picture, &mut slot.label].into_iter().for_each(|r| r.y += top);
        }
        let chrome = Chrome {
            size: (width, height),
            slots: tiles.iter().map(|t| t.id).zip(slots).collect(),
            banner,
            empty: if tiles.is_empty() { scene.empty.clone() } else { String::new() },
            statistics: scene.statistics,
            help: scene.help,
        };
        let anew = self.chrome.as_ref() != Some(&chrome);
        if anew {
            self.begin(&chrome);
        }
        let mut changed = anew;
        for (index, (tile, (_, slot))) in tiles.iter().zip(&chrome.slots).enumerate() {
            changed |= self.tile(index, tile, *slot, scene.statistics);
        }
        if changed && let Some(words) = &chrome.banner {
            overlay::banner(&mut self.canvas, &mut self.text, words);
        }
        if changed && scene.help {
            overlay::help(&mut self.canvas, &mut self.text);
        }
        self.chrome = Some(chrome);
        changed
    }

    /// What has been painted.
    pub fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    /// The id of the tile at this pixel.
    pub fn tile_at(&self, x: usize, y: usize) -> Option<u64> {
        let slots = &self.chrome.as_ref()?.slots;
        slots.iter().find(|(_, slot)| slot.tile.contains(x, y)).map(|(id, _)| *id)
    }

    /// The size at which each tile's picture is drawn, by id: more pixels than that need not be sent.
    pub fn sizes(&self) -> Vec<(u64, usize, usize)> {
        let slots = self.chrome.iter().flat_map(|c| &c.slots);
        slots.map(|(id, slot)| (*id, slot.picture.width, slot.picture.height)).collect()
    }

    /// An empty window with what belongs to no tile.
    fn begin(&mut self, chrome: &Chrome) {
        let (width, height) = chrome.size;
        self.painted.clear();
        self.canvas.reset(width, height, BACKGROUND);
        if !chrome.empty.is_empty() {
            let area = Rect::new(0, 0, width, height);
            overlay::centred(&mut self.canvas, &mut self.text, area, &chrome.empty, FAINT);
        }
    }

    /// Paints one tile where it differs from what was painted last; whether it did.
    fn tile(&mut self, index: usize, tile: &Tile, slot: Slot, statistics: bool) -> bool {
        let now = Painted {
            id: tile.id,
            slot,
            name: tile.name.clone(),
            label: tile.label.clone(),
            own: tile.own,
            states: tile.states.clone(),
            notice: tile.notice.clone(),
            statistics: if statistics { tile.statistics.clone() } else { Vec::new() },
        };
        let before = self.painted.get(index);
        let same_text = before.is_some_and(|(painted, _)| *painted == now);
        let same_picture = before.is_some_and(|(_, picture)| match (picture, &tile.picture) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        });
        if same_text && same_picture {
            return false;
        }
        self.picture(tile, slot.picture);
        if !same_text {
            self.label(tile, slot.label);
        }
        if !now.statistics.is_empty() {
            overlay::statistics(&mut self.canvas, &mut self.text, slot.picture, &now.statistics);
        }
        let entry = (now, tile.picture.clone());
        match self.painted.get_mut(index) {
            Some(place) => *place = entry,
            None => self.painted.push(entry),
        }
        true
    }

    fn picture(&mut self, tile: &Tile, rect: Rect) {
        if rect.is_empty() {
            return;
        }
        let drawn = tile.picture.as_ref().and_then(|p| self.scaler.convert(p, rect.width, rect.height));
        match drawn {
            Some(bgra) => self.canvas.paste(rect, bgra),
            None => self.canvas.fill(rect, EMPTY),
        }
        if let Some(sentence) = tile.notice.sentence() {
            if tile.picture.is_some() {
                self.canvas.shade(rect, BACKGROUND, 150);
            }
            let colour = if tile.notice == Notice::CameraOff { FAINT } else { WARNING };
            let colour = if tile.notice == Notice::Waiting { TEXT } else { colour };
            overlay::centred(&mut self.canvas, &mut self.text, rect, &sentence, colour);
        }
    }

    /// The line under the picture: the name, "you" at one's own, and how the person is.
    fn label(&mut self, tile: &Tile, rect: Rect) {
        if rect.is_empty() {
            return;
        }
        self.canvas.fill(rect, BACKGROUND);
        let size = rect.height * 2 / 3;
        let right = rect.x + rect.width;
        let own = tile.own.then(|| self.text.line("you", Face::Plain, size, rect.width));
        let taken = own.as_ref().map_or(0, |mark| mark.width + 8);
        let name = self.text.line(&tile.name, Face::Plain, size, rect.width.saturating_sub(taken + 4));
        let y = rect.y + rect.height.saturating_sub(name.height) / 2;
        self.canvas.write(&name, rect.x + 2, y, TEXT, rect);
        let mut x = rect.x + 2 + name.width;
        // Drawn apart from the name, so that neither its direction nor its length does anything to it.
        let room = right.saturating_sub(x + size / 4 + taken);
        if !tile.label.is_empty() && room >= 3 * size {
            let label = self.text.line(&tile.label, Face::Plain, size, room);
            self.canvas.write(&label, x + size / 4, y, TEXT, rect);
            x += size / 4 + label.width;
        }
        x += 8;
        if let Some(mark) = own {
            self.canvas.write(&mark, x, y, ACCENT, rect);
            x += mark.width + 8;
        }
        let smaller = (size * 4 / 5).max(8);
        for words in &tile.states {
            let words = self.text.line(words, Face::Plain, smaller, rect.width);
            // Half a word says nothing, so what does not fit is left out, and so is what is less important.
            if x + words.width > right {
                break;
            }
            let y = rect.y + rect.height.saturating_sub(words.height) / 2;
            self.canvas.write(&words, x, y, FAINT, rect);
            x += words.width + size;
        }
    }
}

/// What stands across the top: the notice, or which page this is and how to get to the others.
fn banner(scene: &Scene, page: usize) -> Option<String> {
    let pages = scene.pages();
    let others = match page {
        0 => "Page Down for more",
        _ if page + 1 == pages => "Page Up for the others",
        _ => "Page Up and Page Down for the others",
    };
    let paging = || format!("page {} of {pages}: {} are here, {others}", page + 1, scene.tiles.len());
    scene.banner.clone().or_else(|| (pages > 1).then(paging))
}

/// Seconds as a person says them.
fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests;
