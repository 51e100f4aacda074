//! What goes over the wire, and what must not get through.

use proptest::prelude::*;

use super::*;
use crate::id::{OfferNumber, TrackId};
use crate::limits;
use crate::wire::control::By;
use crate::wire::offer::Going;

const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn raw(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload);
    bytes
}

/// A header for `payload` with `extra` (`,"k":v`...) at its end.
fn header(kind: &str, payload: &[u8], extra: &str) -> String {
    let sum = crate::id::hex(&checksum(payload));
    format!(r#"{{"type":"{kind}","timestamp":1.5,"size":{},"checksum":"{sum}"{extra}}}"#, payload.len())
}

fn read_all(bytes: &[u8]) -> Result<Vec<Incoming>, Error> {
    let mut parser = Parser::new();
    parser.push(bytes);
    let mut found = Vec::new();
    while let Some(incoming) = parser.poll()? {
        found.push(incoming);
    }
    parser.finish()?;
    Ok(found)
}

fn refused(header: &str) -> Error {
    match Header::parse(header.as_bytes()) {
        Ok(header) => panic!("accepted: {header:?}"),
        Err(error) => error,
    }
}

fn base_with(replace: &str, by: &str) -> String {
    let base = header("x-test", b"hi", "");
    assert!(base.contains(replace), "{base} has no {replace}");
    base.replace(replace, by)
}

fn picture(payload: &[u8]) -> Frame {
    let media =
        Media { track: TrackId(3), seq: 9, pts: 33_333, key: true, rendition: Rendition::High, tid: 0 };
    Frame::video(media, payload, 1_700_000_000_250_000)
}

#[test]
fn a_frame_reads_as_it_was_written() {
    let sent = picture(b"\0\0\0\x01picture");
    let found = read_all(sent.bytes()).unwrap();
    let [Incoming::Frame(frame)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(frame.header, sent.header);
    assert_eq!(frame.payload(), b"\0\0\0\x01picture");
    assert_eq!(frame.bytes(), sent.bytes());
}

#[test]
fn w01_header_length_0() {
    assert_eq!(read_all(&[0; 4]).unwrap_err().code(), Code::BadHeader);
}

#[test]
fn w02_header_length_1() {
    assert_eq!(read_all(&[0, 0, 0, 1]).unwrap_err(), Error::HeaderLength(1, limits::HEADER));
}

#[test]
fn w03_header_length_16385() {
    assert!(read_all(&16_385_u32.to_be_bytes()).is_err());
    let mut stranger = Parser::for_stranger();
    stranger.push(&4_097_u32.to_be_bytes());
    assert!(stranger.poll().is_err());
}

#[test]
fn w04_huge_header_lengths_allocate_nothing() {
    for length in [0xffff_ffff_u32, 0x8000_0000] {
        let mut parser = Parser::new();
        parser.push(&length.to_be_bytes());
        assert!(parser.poll().is_err());
        assert!(parser.memory() < 4096);
    }
}

#[test]
fn w05_a_tls_hello_is_named() {
    let error = read_all(&[0x16, 3, 1, 2, 0, 1, 0, 1]).unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[test]
fn w06_other_protocols_are_refused_within_the_first_bytes() {
    let smb = [0, 0, 0, 0x54, 0xff];
    for head in [&b"GET "[..], b"SSH-", b"HTTP", b"\x93\x01\x7f\x44", &smb] {
        let error = read_all(head).unwrap_err();
        assert_eq!(error.code(), Code::BadHeader);
        assert!(!error.to_string().contains("GET "), "no bytes of the peer come back: {error}");
    }
}

#[test]
fn w08_a_hundred_frames_in_one_portion_come_in_order() {
    let bytes: Vec<u8> =
        (0..100_u64).flat_map(|id| Frame::control(&Control::Ping { id }, 0).bytes().to_vec()).collect();
    let ids: Vec<Control> = read_all(&bytes)
        .unwrap()
        .into_iter()
        .map(|i| if let Incoming::Frame(f) = i { f.operation().unwrap() } else { panic!() })
        .collect();
    assert_eq!(ids, (0..100).map(|id| Control::Ping { id }).collect::<Vec<_>>());
}

#[test]
fn w09_the_end_inside_a_length_is_an_error_and_between_frames_is_none() {
    assert!(read_all(&[]).unwrap().is_empty());
    for n in 1..4 {
        assert_eq!(read_all(&[0, 0, 0][..n]).unwrap_err(), Error::Truncated(n));
    }
}

#[test]
fn w10_the_end_at_every_offset_delivers_nothing() {
    let whole = picture(&[7; 200]);
    for cut in 1..whole.bytes().len() {
        assert_eq!(read_all(&whole.bytes()[..cut]).unwrap_err(), Error::Truncated(cut));
    }
}

#[test]
fn w11_headers_that_are_not_clean_utf8() {
    let lone = base_with(r#""type""#, r#""x":"\ud800","type""#);
    refused(&lone);
    let bom = format!("\u{feff}{}", header("x-test", b"hi", ""));
    refused(&bom);
    refused(&base_with("1.5", "1.5\0"));
    for bad in [&b"{\"type\":\"\xff\"}"[..], b"{\"a\":\"\xc0\xaf\"}", b"{\"a\":\"\xed\xa0\x80\"}"] {
        assert!(Header::parse(bad).is_err());
    }
}

#[test]
fn w12_json_that_is_not_an_object() {
    for bad in ["[]", "[1,2]", "\"type\"", "42", "null", "true"] {
        refused(bad);
    }
}

#[test]
fn w13_bytes_behind_the_object() {
    let good = header("x-test", b"hi", "");
    refused(&format!("{good}x"));
    refused(&format!("{good}{good}"));
    Header::parse(format!("{good}  ").as_bytes()).unwrap();
}

#[test]
fn w14_nesting_of_16_and_more() {
    for depth in [16, 17, 200, 4_000] {
        let nested = format!(r#","x":{}{}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        let error = refused(&header("x-test", b"hi", &nested));
        assert!(error.to_string().contains("nested"), "{error}");
    }
    let legal = format!(r#","x":{}{}"#, "[".repeat(14), "]".repeat(14));
    Header::parse(header("x-test", b"hi", &legal).as_bytes()).unwrap();
}

#[test]
fn w15_the_same_key_twice() {
    refused(&base_with(r#""size":2"#, r#""size":1,"size":2"#));
    refused(&header("x-test", b"hi", r#","x":1,"x":2"#));
    refused(&header("x-test", b"hi", r#","x":{"y":1,"y":2}"#));
    refused(&base_with(r#""size":2"#, r#""size":1,"\u0073ize":2"#));
}

#[test]
fn w16_a_missing_key_is_named() {
    for (part, key) in
        [(r#""type":"x-test","#, "type"), (r#""timestamp":1.5,"#, "timestamp"), (r#""size":2,"#, "size")]
    {
        assert!(refused(&base_with(part, "")).to_string().contains(key));
    }
    let error = refused(r#"{"type":"x-test","timestamp":1,"size":2}"#);
    assert!(error.to_string().contains("checksum"));
}

#[test]
fn w17_sizes_that_are_no_sizes() {
    for bad in
        ["-1", "1.5", "1e3", "\"10\"", "9007199254740993", "18446744073709551616", "NaN", "null", "1e999"]
    {
        refused(&base_with(r#""size":2"#, &format!(r#""size":{bad}"#)));
    }
}

#[test]
fn w18_a_size_above_the_limit_is_refused_before_the_payload() {
    for (kind, limit) in [("video", limits::VIDEO), ("audio", limits::AUDIO), ("file", limits::FILE)] {
        let text = header(kind, b"hi", r#","track":1,"seq":1,"pts":1,"key":true"#)
            .replace(r#""size":2"#, &format!(r#""size":{}"#, limit + 1));
        let error = read_all(&raw(text.as_bytes(), b"")).unwrap_err();
        assert_eq!(error.code(), Code::TooLarge);
    }
}

#[test]
fn w19_a_size_that_is_too_small_ends_the_stream() {
    let payload = b"longer than announced";
    let text = header("x-test", &payload[..4], "");
    assert!(read_all(&raw(text.as_bytes(), payload)).is_err());
}

#[test]
fn w20_memory_stays_at_what_came_in() {
    let text = header("video", b"hi", r#","track":1,"seq":1,"pts":1,"key":true"#)
        .replace(r#""size":2"#, r#""size":4000000"#);
    let mut parser = Parser::new();
    parser.push(&raw(text.as_bytes(), &[0; 1000]));
    assert!(parser.poll().unwrap().is_none());
    assert!(parser.memory() < 8 * 1024);
    assert_eq!(parser.missing(), 4_000_000 - 1000);
}

#[test]
fn w21_a_wrong_checksum_drops_the_frame_and_not_the_stream() {
    let mut bytes = picture(b"damaged on the way").bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes.extend_from_slice(picture(b"whole").bytes());
    let found = read_all(&bytes).unwrap();
    assert!(matches!(&found[0], Incoming::Damaged(h) if h.media.unwrap().track == TrackId(3)));
    assert!(matches!(&found[1], Incoming::Frame(f) if f.payload() == b"whole"));
}

#[test]
fn w22_checksums_in_either_case_and_nothing_else() {
    let sum = crate::id::hex(&checksum(b"hi"));
    Header::parse(base_with(&sum, &sum.to_uppercase()).as_bytes()).unwrap();
    for bad in
        ["", &sum[1..], &format!("{sum}0"), &sum.replace(['0', 'a'], "g"), "QUJDREVGR0hJSktMTU5PUA==........"]
    {
        if *bad != sum {
            refused(&base_with(&sum, bad));
        }
    }
}

#[test]
fn w24_empty_payloads_only_where_they_mean_something() {
    let with = |kind: &str, extra: &str| {
        format!(r#"{{"type":"{kind}","timestamp":1,"size":0,"checksum":"{EMPTY_MD5}"{extra}}}"#)
    };
    for kind in ["video", "audio", "message", "control"] {
        refused(&with(kind, r#","track":1,"seq":1,"pts":1"#));
    }
    for kind in ["file", "x-later"] {
        let header = with(kind, r#","offer":1,"part":"chunk","index":0"#);
        assert_eq!(Header::parse(header.as_bytes()).unwrap().checksum, checksum(b""));
    }
}

#[test]
fn w25_an_unknown_type_is_kept_for_the_caller_to_judge() {
    let header = Header::parse(header("x-whiteboard", b"hi", "").as_bytes()).unwrap();
    assert_eq!(header.kind, Kind::Extension("x-whiteboard".into()));
}

#[test]
fn w26_more_than_64_keys_are_refused_and_unknown_ones_ignored() {
    let many = |n: usize| (0..n).map(|i| format!(r#","k{i}":{i}"#)).collect::<String>();
    let few = raw(header("x-test", b"hi", &many(60)).as_bytes(), b"hi");
    let found = read_all(&few).unwrap();
    assert!(matches!(&found[0], Incoming::Frame(f) if f.bytes()[..] == few[..]), "kept as they came");
    refused(&header("x-test", b"hi", &many(61)));
    refused(&header("x-test", b"hi", &many(1000)));
    refused(&header("x-test", b"hi", &format!(r#","x":{{"a":0{}}}"#, many(5_000))));
}

#[test]
fn w28_types_that_are_no_names() {
    for bad in ["", "../x", "a b", "x\\u0007", "Video", "ä", &"x".repeat(33), &"x".repeat(1024)] {
        refused(&base_with("\"x-test\"", &format!("\"{bad}\"")));
    }
}

#[test]
fn w29_any_timestamp_that_is_a_number() {
    for odd in ["0", "-5", "253402300800", "1.25", "1e9"] {
        Header::parse(base_with("1.5", odd).as_bytes()).unwrap();
    }
    refused(&base_with("1.5", "\"now\""));
    refused(&base_with("1.5", "1e999"));
}

#[test]
fn w31_a_header_full_of_spaces_and_escapes() {
    let text = header("x-test", b"hi", "").replace("\"type\"", "\"\\u0074\\u0079\\u0070\\u0065\"");
    Header::parse(text.as_bytes()).unwrap();
    let spaces = text.replacen(',', &format!(",{}", " ".repeat(limits::HEADER - text.len())), 1);
    Header::parse(spaces.as_bytes()).unwrap();
}

#[test]
fn w32_a_control_frame_above_64_kib() {
    let text = header("control", b"hi", "").replace(r#""size":2"#, r#""size":65537"#);
    assert_eq!(refused(&text), Error::TooLarge { kind: "control", size: 65_537, limit: 65_536 });
}

#[test]
fn media_headers_carry_what_a_relay_needs() {
    for key in ["track", "seq", "pts"] {
        let all = r#","track":1,"seq":2,"pts":3,"key":true"#;
        let without = all.replace(&format!(r#""{key}""#), r#""other""#);
        assert!(refused(&header("video", b"hi", &without)).to_string().contains(key));
    }
    refused(&header("video", b"hi", r#","track":1,"seq":2,"pts":3,"tid":3"#));
    refused(&header("video", b"hi", r#","track":4294967296,"seq":2,"pts":3"#));
}

#[test]
fn operations_of_a_later_version_are_ignored() {
    let frame = Frame::new(Kind::Control, None, br#"{"op":"teleport","to":{"x":1}}"#, 0);
    assert_eq!(frame.operation(), Ok(Control::Unknown));
    for bad in [&b"{}"[..], b"[]", b"{\"op\":7}", b"{\"op\":\"ping\"}", b"{\"op\":\"ping\",\"id\":-1}"] {
        assert!(Frame::new(Kind::Control, None, bad, 0).operation().is_err());
    }
}

#[test]
fn w27_text_of_peers_is_shortened_and_scrubbed_where_it_comes_in() {
    let long = format!(r#"{{"op":"member","member":1,"name":"\u001b[2J{}"}}"#, "x".repeat(15_000));
    let Control::Member(member) = Frame::new(Kind::Control, None, long.as_bytes(), 0).operation().unwrap()
    else {
        panic!()
    };
    assert_eq!(member.name.chars().count(), limits::LABEL);
    assert!(!member.name.contains('\u{1b}'));
}

#[test]
fn v16_streams_are_told_by_their_first_bytes() {
    let frame = picture(b"x");
    for n in 0..5 {
        assert_eq!(sniff(&frame.bytes()[..n]), Ok(None));
    }
    assert_eq!(sniff(frame.bytes()), Ok(Some(Stream::Frames)));
    assert_eq!(sniff(&[0, 0, 0, 1, 0x67]), Ok(Some(Stream::AnnexB)));
    assert_eq!(sniff(&[0, 0, 1, 0x67, 0x42]), Ok(Some(Stream::AnnexB)));
    assert_eq!(sniff(b"YUV4MPEG2 W640"), Ok(Some(Stream::Y4m)));
    assert_eq!(sniff(b"YUV4"), Ok(None));
    assert_eq!(sniff(&[0x1a, 0x45, 0xdf, 0xa3, 0]), Ok(Some(Stream::Matroska)));
    assert_eq!(sniff(b"hello world"), Err(UnknownStream));
}

proptest! {
    #[test]
    fn w07_w35_any_cut_into_portions_gives_the_same_frames(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..8),
        cuts in prop::collection::vec(1_usize..80, 1..200),
    ) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|p| picture(p).bytes().to_vec()).collect();
        let mut parser = Parser::new();
        let mut found = Vec::new();
        let mut rest = &bytes[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (portion, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = later;
            parser.push(portion);
            while let Some(Incoming::Frame(frame)) = parser.poll().unwrap() {
                found.push(frame.payload().to_vec());
            }
        }
        prop_assert_eq!(found, payloads);
        prop_assert!(parser.finish().is_ok());
    }

    #[test]
    fn w06_random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_all(&bytes);
    }

    #[test]
    fn mutated_frames_never_panic(at in 0_usize..180, value in any::<u8>()) {
        let mut bytes = picture(b"payload").bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read_all(&bytes);
    }
}

/// The checksum covers the payload only. Of all single bits of a header that flip on the way, those that
/// leave a header that could have been written go unnoticed; TLS notices all of them.
#[test]
fn w23_a_header_that_changed_on_the_way_is_found_only_where_it_makes_no_sense() {
    let media = Media { track: TrackId(7), seq: 0, pts: 0, key: true, rendition: Rendition::High, tid: 0 };
    let frame = Frame::video(media, b"picture", 0);
    let header = 4..frame.bytes().len() - frame.payload().len();
    let (mut found, mut tracks) = (0, Vec::new());
    for (byte, bit) in header.clone().flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut bytes = frame.bytes().to_vec();
        bytes[byte] ^= 1 << bit;
        let mut parser = Parser::new();
        parser.push(&bytes);
        match parser.poll() {
            Ok(Some(Incoming::Frame(changed))) => {
                assert_eq!(changed.payload(), frame.payload(), "the payload is never another one");
                tracks.extend(changed.header.media.map(|media| media.track));
            }
            _ => found += 1,
        }
    }
    assert!(found > header.len() * 8 / 2, "most make no sense: {found} of {}", header.len() * 8);
    assert!(tracks.contains(&TrackId(6)), "another track is as good as this one");
}

fn chunk() -> Piece {
    Piece { offer: OfferNumber(3), part: Part::Chunk, index: 7 }
}

#[test]
fn a_file_frame_reads_as_it_was_written_and_made_in_place_it_is_the_same() {
    let sent = Frame::file(chunk(), b"bytes of a file", 1_700_000_000_250_000);
    let found = read_all(sent.bytes()).unwrap();
    let [Incoming::Frame(frame)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(frame.header, sent.header);
    assert_eq!(frame.header.piece, Some(chunk()));
    assert!(frame.is_intact());

    let mut buffer = vec![0; FILE_ROOM];
    buffer.extend_from_slice(b"bytes of a file");
    let sum = checksum(b"bytes of a file");
    let in_place = Frame::file_in(chunk(), buffer, sum, 1_700_000_000_250_000);
    assert_eq!(in_place.bytes(), sent.bytes());
    assert_eq!(in_place.payload(), sent.payload());
}

#[test]
fn the_longest_header_of_a_file_frame_fits_its_room() {
    let piece = Piece { offer: OfferNumber(u32::MAX), part: Part::Manifest, index: u32::MAX };
    let buffer = vec![0; FILE_ROOM + limits::FILE];
    for wall in [0, 1_700_000_000_123_456, u64::MAX, 9_007_199_254_740_993] {
        let frame = Frame::file_in(piece, buffer.clone(), [0xff; 16], wall);
        assert_eq!(frame.payload().len(), limits::FILE);
    }
}

#[test]
fn a_file_frame_without_its_keys_is_refused() {
    for missing in ["offer", "part", "index"] {
        let keys = [("offer", "1"), ("part", "\"chunk\""), ("index", "0")];
        let extra: String =
            keys.iter().filter(|(k, _)| *k != missing).map(|(k, v)| format!(",\"{k}\":{v}")).collect();
        assert_eq!(refused(&header("file", b"", &extra)), Error::Header(format!("{missing} is missing")));
    }
    let bad = header("file", b"", r#","offer":4294967296,"part":"chunk","index":0"#);
    assert_eq!(refused(&bad).code(), Code::BadHeader);
    let bad = header("file", b"", r#","offer":1,"part":"virus","index":0"#);
    assert_eq!(refused(&bad), Error::Header("part: expected about, manifest, chunk or sums".into()));
}

/// A parser as of an admitted peer, and a stream of a small frame, a chunk and another chunk.
fn stream_of_files() -> (Parser, Vec<u8>, Vec<Vec<u8>>) {
    let mut parser = Parser::new();
    parser.trust_files();
    let payloads: Vec<Vec<u8>> = [5, 300_000, 200_000].map(|size| vec![size as u8; size]).into();
    let frames = payloads.iter().map(|payload| Frame::file(chunk(), payload, 0).bytes().to_vec());
    (parser, frames.collect::<Vec<_>>().concat(), payloads)
}

#[test]
fn w20_a_large_file_frame_that_is_only_announced_takes_no_memory() {
    let (mut parser, bytes, _) = stream_of_files();
    let mut most = 0;
    for (at, byte) in bytes[..250_000].iter().enumerate() {
        parser.push(std::slice::from_ref(byte));
        while parser.poll().unwrap().is_some() {}
        assert!(parser.memory() <= (8 * (at + 1)).max(64), "{} at {at}", parser.memory());
        most = most.max(parser.memory());
    }
    assert!(most < 310_000, "the frame has memory of its own size: {most}");
}

proptest! {
    #[test]
    fn w07_large_file_frames_are_the_same_however_they_are_read(
        portions in prop::collection::vec((1_usize..120_000, any::<bool>()), 1..40),
    ) {
        let (mut parser, bytes, payloads) = stream_of_files();
        let (mut left, mut got, mut in_place) = (&bytes[..], Vec::new(), 0);
        for (portion, at_rest) in portions.into_iter().cycle() {
            let count = match parser.rest().filter(|_| at_rest) {
                Some(rest) => {
                    let count = portion.min(left.len()).min(rest.capacity() - rest.len());
                    rest.extend_from_slice(&left[..count]);
                    in_place += count;
                    count
                }
                None => {
                    let count = portion.min(left.len());
                    parser.push(&left[..count]);
                    count
                }
            };
            left = &left[count..];
            while let Some(Incoming::Frame(frame)) = parser.poll().unwrap() {
                prop_assert!(frame.is_intact());
                got.push(frame.payload().to_vec());
            }
            if left.is_empty() {
                break;
            }
        }
        prop_assert_eq!(got, payloads);
        prop_assert!(in_place < bytes.len());
        prop_assert_eq!((parser.offset(), parser.finish()), (bytes.len() as u64, Ok(())));
    }
}

#[test]
fn a_parser_that_trusts_files_hands_damaged_ones_on_and_nothing_else() {
    let mut bytes = Frame::file(chunk(), b"payload", 0).bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let mut damaged_picture = picture(b"payload").bytes().to_vec();
    *damaged_picture.last_mut().unwrap() ^= 1;
    let mut parser = Parser::new();
    parser.trust_files();
    parser.push(&bytes);
    let Some(Incoming::Frame(frame)) = parser.poll().unwrap() else { panic!("not handed on") };
    assert!(!frame.is_intact());
    parser.push(&damaged_picture);
    assert!(matches!(parser.poll(), Ok(Some(Incoming::Damaged(_)))));
    assert!(matches!(&read_all(&bytes).unwrap()[..], [Incoming::Damaged(_)]));
}

#[test]
fn taking_an_offer_back_says_why_only_where_there_is_a_reason() {
    let text =
        |operation: &Control| String::from_utf8(Frame::control(operation, 0).payload().to_vec()).unwrap();
    let offer = crate::id::OfferNumber(3);
    let withdraw = |reason| text(&Control::Withdraw { id: 1, offer, reason });
    assert_eq!(withdraw(Going::Withdrawn), r#"{"op":"withdraw","id":1,"offer":3}"#);
    assert_eq!(withdraw(Going::Changed), r#"{"op":"withdraw","id":1,"offer":3,"reason":"changed"}"#);
    assert_eq!(
        text(&Control::OfferGone { offer, reason: Going::Broken, by: None }),
        r#"{"op":"offer_gone","offer":3,"reason":"broken"}"#
    );
    let read = |payload: &str| Frame::new(Kind::Control, None, payload.as_bytes(), 0).operation();
    let by = Some(By { by: crate::id::MemberId(2), by_name: "Ann".into() });
    let gone = Control::OfferGone { offer, reason: Going::Withdrawn, by };
    let told = r#"{"op":"offer_gone","offer":3,"reason":"withdrawn","by":2,"by_name":"Ann"}"#;
    assert_eq!((text(&gone).as_str(), read(told)), (told, Ok(gone)));
    let later = read(r#"{"op":"offer_gone","offer":3,"reason":"a word of a later version"}"#);
    assert!(matches!(later, Ok(Control::OfferGone { reason: Going::Removed, .. })), "{later:?}");
}
