//! The numbers that bind the system, each with its reason. docs/protocol.md section 9 repeats those
//! that a peer can notice.

use std::time::Duration;

/// Longest frame header, in bytes: room for the keys of a future version, small enough to be read
/// in one go.
pub const HEADER: usize = 16 * 1024;
/// Longest frame header before the peer is admitted: a stranger gets no more memory than this.
pub const HEADER_BEFORE_ADMISSION: usize = 4 * 1024;
/// Keys in one header object: ten are ours, the rest leaves room for extensions.
pub const HEADER_KEYS: usize = 64;
/// Nesting of objects and arrays in a header: nothing that we define goes beyond three.
pub const HEADER_DEPTH: usize = 15;
/// Largest payload of a control frame.
pub const CONTROL: usize = 64 * 1024;
/// Largest payload of a message.
pub const MESSAGE: usize = 64 * 1024;
/// Largest payload of an audio frame: 1 s of Opus at 510 kbit/s.
pub const AUDIO: usize = 64 * 1024;
/// Largest payload of a file frame: one chunk.
pub const FILE: usize = 1024 * 1024;
/// Largest payload of a video frame: a 4096x2304 keyframe at the best quality is below 3 MiB.
pub const VIDEO: usize = 4 * 1024 * 1024;
/// Largest payload of a type that this version does not know.
pub const EXTENSION: usize = 64 * 1024;
/// Largest integer in a header: above it JSON readers in other languages lose digits.
pub const INTEGER: u64 = 1 << 53;

/// Characters in a member's name.
pub const NAME: usize = 64;
/// Characters in a room's name.
pub const ROOM: usize = 64;
/// Characters in a track's label.
pub const LABEL: usize = 64;
/// Characters of a sentence in an error or goodbye.
pub const SENTENCE: usize = 512;
/// Characters of what a member says about being away.
pub const REASON: usize = 128;
/// Combining marks on one base character; more is drawn over the neighbours.
pub const MARKS: usize = 8;

/// A peer must have said hello this long after it connected; an absolute deadline, so that one byte
/// per second does not extend it.
pub const HELLO: Duration = Duration::from_secs(8);
/// What a look at a room shows must have come within this time, however it trickles: the largest room at
/// [`FRAME_RATE`] takes less.
pub const LOOK: Duration = Duration::from_secs(300);
/// A ping goes out when nothing else has for this long.
pub const HEARTBEAT: Duration = Duration::from_secs(4);
/// A peer that has sent nothing for this long is dead: three heartbeats, and gone before the 15 s
/// that users are promised.
pub const SILENCE: Duration = Duration::from_secs(12);
/// A timer that fires this much too late means that this program itself was stopped.
pub const PAUSE: Duration = Duration::from_secs(2);
/// After such a stop a client wants proof within this time that its connection still works.
pub const WAKE: Duration = Duration::from_secs(3);
/// A started frame must go on at [`FRAME_RATE`] after this time (slow-sending attacks).
pub const FRAME_GRACE: Duration = Duration::from_secs(5);
/// Slowest delivery of a frame after [`FRAME_GRACE`], in bytes per second.
pub const FRAME_RATE: u64 = 8 * 1024;
/// A connection that takes not one byte for this long while bytes wait is closed, with its session kept.
pub const WRITE_STALL: Duration = Duration::from_secs(10);
/// How long a session outlives its connection: in this time the others see "reconnecting".
pub const GRACE: Duration = Duration::from_secs(30);
/// An empty room is kept this long, so that a member who changes networks finds the tracks' numbers
/// and the room's history again.
pub const ROOM_GRACE: Duration = Duration::from_secs(60);
/// How long a pipe that was offered waits after a restart of the server for its sender to come back: no other run can
/// go on with it, and whoever receives it waits so long for nothing. Else it lives as long as its sender's session.
pub const PIPE_GRACE: Duration = GRACE;
/// First pause before a reconnect.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest pause before a reconnect.
pub const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// At SIGTERM: everything is said and written within this time.
pub const DRAIN: Duration = Duration::from_secs(4);

/// What may wait for one receiving connection: one group of pictures at 12 Mbit/s.
pub const QUEUE: usize = 4 * 1024 * 1024;
/// What may wait of control frames and messages before the connection is closed as too slow.
pub const QUEUE_RELIABLE: usize = 4 * 1024 * 1024;
/// Age of the oldest waiting picture from which the top temporal layer is dropped.
pub const QUEUE_AGE_T2: Duration = Duration::from_millis(60);
/// ... from which only the base layer is kept.
pub const QUEUE_AGE_T1: Duration = Duration::from_millis(120);
/// ... from which the rest of the group of pictures is given up.
pub const QUEUE_AGE_GOP: Duration = Duration::from_millis(250);
/// Age of the oldest waiting picture from which files on the same line step back: before the first stage of the
/// ladder, so that no picture is dropped for a file.
pub const YIELD_AGE: Duration = Duration::from_millis(30);
/// Bytes per second that the files of one line may always go on with.
pub const YIELD_FLOOR: u64 = 64 * 1024;
/// What the server keeps per rendition to start a late joiner with.
pub const GOP_CACHE: usize = 4 * 1024 * 1024;
/// What the server keeps in all for that; a cache that would go beyond is given up.
pub const GOP_CACHES: usize = 512 * 1024 * 1024;
/// Pictures in that cache: 10 s at 30 per second; a longer group is not worth replaying.
pub const GOP_CACHE_PICTURES: usize = 300;
/// Two keyframe requests for one rendition are at least this far apart.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// A publisher that sent no keyframe for this long is asked for one.
pub const KEYFRAME_OVERDUE: Duration = Duration::from_secs(10);
/// Unsent bytes the kernel may hold for a media connection; what it holds can no longer be dropped.
pub const NOTSENT_LOWAT: u32 = 32 * 1024;
/// The same for a connection that carries files: what it holds delays only pings, so as much as keeps the way
/// full.
pub const NOTSENT_LOWAT_BULK: u32 = 512 * 1024;

/// And for one whose files step back for media.
pub const NOTSENT_LOWAT_YIELDING: u32 = 16 * 1024;

/// Control frames per second and in a burst (one program at work needs about one).
pub const CONTROL_RATE: (u32, u32) = (100, 200);
/// Messages per second and in a burst; a program that sends more is read more slowly.
pub const MESSAGE_RATE: (u32, u32) = (50, 200);
/// Frames of types that the server does not know, per second and in a burst.
pub const EXTENSION_RATE: (u32, u32) = (20, 50);
/// Media frames per second and in a burst: nine tracks at 60 pictures and 50 sound packets.
pub const MEDIA_RATE: (u32, u32) = (1_000, 2_000);
/// Bytes per second and in a burst that one connection may send: 4K at 128 Mbit/s.
pub const INGRESS_RATE: (u64, u64) = (16 * 1024 * 1024, 32 * 1024 * 1024);
/// A peer that exceeds a rate for this long is closed.
pub const FLOOD: Duration = Duration::from_secs(60);
/// Damaged frames (wrong checksum) within [`DAMAGED_WINDOW`] after which the connection is closed.
pub const DAMAGED: usize = 10;
/// See [`DAMAGED`].
pub const DAMAGED_WINDOW: Duration = Duration::from_secs(60);

/// A member who said that they are writing is shown so for this long.
pub const TYPING: Duration = Duration::from_secs(6);
/// Whom a host has sent away stays out for this long.
pub const KICKED: Duration = Duration::from_secs(600);
/// Members of a room who are kept out at once. They are told to everybody in one control frame, which holds so
/// many whatever they are called; whose time is over first gives way.
pub const SENT_AWAY: usize = 100;
/// How far a message's number may be ahead of the last one of its source: more cannot have been given up on
/// the way.
pub const AHEAD: u64 = 1024;
/// What a lively room says is written to its members at most this often, together: a write costs the same for
/// ten messages as for one, and nobody sees two milliseconds. What is said after a pause goes out at once.
pub const GATHER: Duration = Duration::from_millis(2);
/// Older messages that a newcomer is given at the most.
pub const HISTORY: u32 = 1_000;
/// Messages of a room that the server keeps in memory for those whose connection breaks; older ones come
/// from the disk. Without a disk this is all there is.
pub const LOG_RING: usize = 2_048;
/// ... and bytes of them.
pub const LOG_BYTES: usize = 1024 * 1024;
/// The same for all rooms together.
pub const LOGS_BYTES: usize = 256 * 1024 * 1024;
/// Sources of messages that a room remembers, to know what comes again.
pub const SOURCES: usize = 4_096;
/// Members whom the owner of a room can name as hosts.
pub const HOSTS: usize = 64;
/// Slots of a room.
pub const SLOTS: usize = 8;
/// Messages that are sent in one go to who missed them ...
pub const PAGE: usize = 128;
/// ... and bytes of them.
pub const PAGE_BYTES: usize = 256 * 1024;
/// Messages that a client keeps until they are acknowledged; more are refused where they are written.
pub const OUTBOX: usize = 10_000;
/// ... and bytes of them.
pub const OUTBOX_BYTES: usize = 8 * 1024 * 1024;
/// Messages that are on their way without an answer.
pub const WINDOW: usize = 256;
/// ... and bytes of them from which no more is sent.
pub const WINDOW_BYTES: usize = 512 * 1024;

/// Smallest chunk of an offer: smaller ones cost more in headers and turns than they save in retransmission.
pub const CHUNK_MIN: u32 = 256 * 1024;
/// Largest: what one file frame holds.
pub const CHUNK_MAX: u32 = 1024 * 1024;
/// Chunks of an offer: 4 TiB of the largest.
pub const CHUNKS: u32 = 1 << 22;
/// Largest `about` of an offer, in bytes.
pub const ABOUT: usize = 4 * 1024;
/// Largest piece of a manifest or of sums, in bytes ...
pub const PIECE: usize = 256 * 1024;
/// ... and how many there are at most: 10,000 files with long names are a tenth of that.
pub const PIECES: u32 = 64;
/// Bytes of the disk that files leave free, where a twentieth of it is more.
pub const STORE_FREE: u64 = 512 * 1024 * 1024;
/// Transfers of files that a program runs at a time: more only share the same disk and the same network.
pub const TRANSFERS: usize = 3;
/// Offers of a room.
pub const OFFERS: usize = 256;
/// Offers of a member that are not complete.
pub const OPEN_OFFERS: usize = 16;
/// Bytes of chunks on their way that are not known to be kept: what an interruption costs at the most.
pub const UPLOAD_WINDOW: usize = 8 * 1024 * 1024;
/// A server that knows files tells what there is behind its welcome, and answers an offer, within this time;
/// one that does not is an older one.
pub const ANSWER: Duration = Duration::from_secs(10);
/// Nothing becomes of what was sent or asked for for so long although the connection lives: longer than the
/// largest chunk takes at [`FRAME_RATE`].
pub const STALLED: Duration = Duration::from_secs(300);
/// Requests for pieces of a connection that wait for their turn.
pub const FETCHES: usize = 64;
/// Ranges of one such request.
pub const FETCH_RANGES: usize = 1_024;
/// Offers are told of at most this often while they grow.
pub const OFFER_NEWS: Duration = Duration::from_secs(1);

/// Members of a room.
pub const MEMBERS: usize = 1_000;
/// Sessions (running programs) of a room.
pub const SESSIONS: usize = 2_000;
/// Tracks of one session.
pub const TRACKS: usize = 8;
/// Tracks of a room.
pub const ROOM_TRACKS: usize = 256;
/// Rooms of a server.
pub const ROOMS: usize = 10_000;
/// Rooms that may be made from one address, so that one host cannot use up the others' share.
pub const ROOMS_PER_ADDRESS: usize = 32;
/// Connections from one address that have not said hello yet.
pub const PENDING_PER_ADDRESS: usize = 1_024;
/// Connections from one address that look at a room at once: each holds its answer until it is taken.
pub const LOOKERS_PER_ADDRESS: usize = 32;
/// Passwords and looks at rooms that are not open from one address, per second and in a burst: more than people need,
/// and too few to guess with or to keep the disk busy.
pub const TRIES: (u32, u32) = (2, 20);
/// Connections from one address.
pub const CONNECTIONS_PER_ADDRESS: usize = 2_000;
/// Share of the process's file descriptors that connections may use; the rest is for its own files.
pub const DESCRIPTORS: f64 = 0.9;
/// What one read takes from a socket at the most.
pub const READ: usize = 64 * 1024;
/// And at the least, where files step back for media.
pub const READ_LEAST: usize = 4 * 1024;

/// Files and directories of one offer: a list that a person can still look through, and a bound for the memory
/// of a receiver.
pub const ENTRIES: usize = 10_000;
/// Names on the way to a file: `a/b/c` has three.
pub const COMPONENTS: usize = 32;
/// Bytes of one name: what file systems take.
pub const COMPONENT: usize = 255;
/// Offers larger than this have the largest chunks, so that lists of chunks stay short.
pub const CHUNK_STEP: u64 = 16 * 1024 * 1024 * 1024;

/// Largest picture, as MaxFS of H.264 level 5.1 (36,864 macroblocks of 16x16).
pub const PICTURE_WIDTH: usize = 4096;
/// See [`PICTURE_WIDTH`].
pub const PICTURE_HEIGHT: usize = 2304;
/// Decoders that run at once, one per tile of the largest grid.
pub const DECODERS: usize = 49;
