#[path = "hostile.rs"]
mod hostile;

use super::*;
use crate::session::random::Random;

const ALL: Rules = Rules { hidden: true };

fn file(path: &str, size: u64) -> Item {
    Item { path: path.split('/').map(str::to_owned).collect(), size: Some(size), ..Item::default() }
}

fn dir(path: &str) -> Item {
    Item { size: None, dir: true, ..file(path, 0) }
}

fn judge(items: Vec<Item>) -> Result<Manifest, Error> {
    Manifest::new(items, Rules::default())
}

fn read(json: &str) -> Result<Manifest, Error> {
    Manifest::judge(&[json], Rules::default())
}

#[test]
fn a_list_comes_back_as_it_was_sent() {
    let items = vec![
        Item { mtime: Some(1_700_000_000), ..file("src/main.rs", 12) },
        dir("src/empty"),
        Item { mtime: Some(-1), ..file("src/line\nbreak:.txt", 0) },
    ];
    let manifest = judge(items).unwrap();
    assert_eq!(manifest.total(), Some(12));
    assert_eq!(manifest.files()[1].path.to_string(), "src/line_break_.txt");
    assert_eq!(manifest.directories()[0].path.to_string(), "src/empty");
    let pieces = manifest.pieces().unwrap();
    assert_eq!(Manifest::judge(&pieces, Rules::default()), Ok(manifest));
    assert_eq!(
        pieces[0],
        concat!(
            r#"{"files":[{"path":["src","empty"],"dir":true},"#,
            r#"{"path":["src","main.rs"],"size":12,"mtime":1700000000},"#,
            r#"{"path":["src","line\nbreak:.txt"],"size":0,"mtime":-1}]}"#
        )
    );
}

#[test]
fn keys_of_a_later_version_are_ignored_and_do_not_count() {
    let plain = read(r#"{"files":[{"path":["a"],"size":1}]}"#).unwrap();
    let other =
        read(r#"{"v":{"x":[]},"files":[{"path":["a"],"size":1,"mode":511,"xattrs":{"a":1}}],"more":false}"#);
    assert_eq!(other, Ok(plain.clone()));
    let changed = read(r#"{"files":[{"path":["a"],"size":1,"mtime":7}]}"#).unwrap();
    assert_ne!(changed.digest(), plain.digest());
}

#[test]
fn f03_names_that_a_file_system_takes_for_one_are_refused() {
    for (a, b) in [
        ("a", "a"),
        ("README", "readme"),
        ("Zo\u{eb}", "Zoe\u{308}"),
        ("d/a", "D/b"),
        ("a:b", "a_b"),
        ("aux", "_aux"),
        ("x.", "x_"),
    ] {
        let refused = judge(vec![file(a, 1), file(b, 1)]);
        assert!(matches!(refused, Err(Error::Twice(..))), "{a} {b}: {refused:?}");
    }
    assert!(matches!(judge(vec![dir("a"), dir("a")]), Err(Error::Twice(..))));
    assert!(judge(vec![dir("a"), file("a/b", 1), file("a/c/d", 1), dir("a/c")]).is_ok());
}

#[test]
fn f03_a_file_below_a_file_is_refused() {
    for items in [
        vec![file("a", 1), file("a/b", 1)],
        vec![file("a/b", 1), file("a", 1)],
        vec![file("a", 1), dir("a")],
        vec![dir("a"), file("a", 1)],
        vec![file("a/b", 1), file("a/b/c/d", 1)],
    ] {
        let refused = judge(items);
        assert!(matches!(refused, Err(Error::Below(_))), "{refused:?}");
    }
}

#[test]
fn f07_modes_are_not_even_read() {
    let manifest = read(r#"{"files":[{"path":["run.sh"],"size":1,"mode":3565,"setuid":true}]}"#).unwrap();
    assert_eq!(manifest, judge(vec![file("run.sh", 1)]).unwrap());
}

#[test]
fn f09_only_one_pipe_has_no_size() {
    let pipe = Item { size: None, ..file("db.sql", 0) };
    assert_eq!(judge(vec![pipe.clone()]).unwrap().total(), None);
    assert!(
        matches!(judge(vec![pipe.clone(), file("a", 1)]), Err(Error::Sizeless(name)) if name == "db.sql")
    );
    assert!(matches!(judge(vec![dir("d"), pipe]), Err(Error::Sizeless(_))));
    assert!(matches!(judge(vec![Item { size: Some(3), ..dir("d") }]), Err(Error::Sized(_))));
}

#[test]
fn f10_lists_have_bounds() {
    let many = |count: usize| (0..count).map(|n| file(&format!("{n}"), 1)).collect::<Vec<_>>();
    assert_eq!(judge(many(10_000)).unwrap().total(), Some(10_000));
    assert_eq!(judge(many(10_001)), Err(Error::Entries));
    assert_eq!(judge(Vec::new()), Err(Error::Empty));
    let deep = |depth| vec![Item { path: vec!["a".into(); depth], ..file("", 1) }];
    assert!(judge(deep(32)).is_ok());
    assert_eq!(judge(deep(33)), Err(Error::Deep));
    let path = format!("[{}\"a\"]", "\"a\",".repeat(10_000));
    assert_eq!(read(&format!(r#"{{"files":[{{"path":{path},"size":1}}]}}"#)), Err(Error::Deep));
    assert_eq!(judge(vec![file("a", limits::INTEGER)]).unwrap().total(), Some(limits::INTEGER));
    assert_eq!(judge(vec![file("a", limits::INTEGER), file("b", 1)]), Err(Error::Large));
    assert_eq!(judge(vec![file("a", u64::MAX), file("b", u64::MAX)]), Err(Error::Large));
}

#[test]
fn f10_a_million_entries_are_counted_and_not_kept() {
    let piece = format!("{{\"files\":[{}], \"more\":true}}", "{},".repeat(80_000) + "{}");
    assert!(matches!(read(&piece), Err(Error::Garbled(_))), "no entry is without a path");
    let entry = r#"{"path":["a"]},"#;
    let piece = format!("{{\"files\":[{}{}],\"more\":true}}", entry.repeat(17_000), r#"{"path":["a"]}"#);
    assert!(piece.len() <= limits::PIECE);
    assert_eq!(Manifest::judge(&[piece.as_str(), &piece], ALL), Err(Error::Entries));
    let last = r#"{"files":[{"path":["b"],"size":1}]}"#;
    let pieces: Vec<&str> = std::iter::repeat_n(last, limits::PIECES as usize + 1).collect();
    assert_eq!(Manifest::judge(&pieces, ALL), Err(Error::Long));
    assert_eq!(read(&" ".repeat(limits::PIECE + 1)), Err(Error::Long));
}

#[test]
fn f09_a_list_that_is_not_whole_is_refused() {
    let (first, last) = (r#"{"files":[{"path":["a"],"size":1}],"more":true}"#, r#"{"files":[]}"#);
    assert!(Manifest::judge(&[first, last], ALL).is_ok());
    for torn in [vec![first], vec![last, last], vec![first, last, last], vec![]] {
        assert_eq!(Manifest::judge(&torn, ALL), Err(Error::Torn), "{torn:?}");
    }
    assert_eq!(list::is_last(first.as_bytes()), Ok(false));
    assert_eq!(list::is_last(last.as_bytes()), Ok(true));
    assert!(list::is_last(b"[").is_err());
}

#[test]
fn what_is_no_list_is_refused() {
    let nested = format!("{{\"files\":{}", "[".repeat(200_000));
    let inside = format!("{{\"x\":{}", "[".repeat(200_000));
    for bad in [
        "",
        "[]",
        "{}",
        "null",
        "{\"files\":7}",
        "{\"files\":[7]}",
        "{\"files\":[{\"path\":\"a\",\"size\":1}]}",
        "{\"files\":[{\"path\":[\"a\"],\"size\":-1}]}",
        "{\"files\":[{\"path\":[\"a\"],\"size\":1.5}]}",
        "{\"files\":[{\"path\":[\"a\"],\"size\":1e300}]}",
        "{\"files\":[{\"path\":[\"\\ud800\"],\"size\":1}]}",
        "{\"files\":[{\"path\":[\"a\"],\"size\":1,\"size\":2}]}",
        "{\"files\":[],\"files\":[]}",
        "\u{feff}{}",
        nested.as_str(),
        inside.as_str(),
    ] {
        assert!(matches!(read(bad), Err(Error::Garbled(_))), "{}", &bad[..bad.len().min(60)]);
    }
    assert_eq!(read(r#"{"files":[{"path":["a"]}]}"#).unwrap().total(), None, "as a pipe");
}

#[test]
fn ten_thousand_long_names_fit_or_are_refused() {
    let long = |length: usize| {
        let name = |n| format!("{n:05}{}", "x".repeat(length - 5));
        (0..10_000).map(|n| Item { path: vec![name(n); 5], ..file("", 1) }).collect::<Vec<_>>()
    };
    let fits = judge(long(250)).unwrap();
    let pieces = fits.pieces().unwrap();
    assert!(pieces.len() > 40 && pieces.iter().all(|piece| piece.len() <= limits::PIECE));
    assert_eq!(Manifest::judge(&pieces, Rules::default()), Ok(fits));
    let mut wide = long(250);
    wide.iter_mut().for_each(|item| item.path.extend(vec!["y".repeat(250); 4]));
    assert_eq!(judge(wide).unwrap().pieces(), Err(Error::Long));
}

#[test]
fn f01_f02_f03_f07_f10_of_2000_hostile_lists_none_leads_out_of_the_directory() {
    let mut random = Random::new(4);
    let (mut taken, mut refused) = (0, 0);
    for n in 0..2_000 {
        let pieces = hostile::list(|low, high| random.between(low, high), None);
        let rules = Rules { hidden: n % 2 == 0 };
        let Ok(manifest) = Manifest::judge(&pieces, rules) else {
            refused += 1;
            continue;
        };
        taken += 1;
        let mut keys = std::collections::HashSet::new();
        for entry in manifest.files().iter().chain(manifest.directories()) {
            let names = entry.path.components();
            assert!((1..=limits::COMPONENTS).contains(&names.len()));
            for name in names {
                let way = std::path::Path::new(name).components().collect::<Vec<_>>();
                assert!(matches!(way[..], [std::path::Component::Normal(_)]), "{name:?} of {pieces:?}");
                assert!(!name.contains(['/', '\\', ':', '\0']) && name.len() <= limits::COMPONENT);
                assert!(rules.hidden || !name.starts_with('.'));
                assert_eq!(crate::text::scrub(name, usize::MAX), *name);
            }
            let key: Vec<String> = names.iter().map(|name| name::key(name)).collect();
            assert!(keys.insert(key), "{} twice in {pieces:?}", entry.path);
        }
        assert!(manifest.total().is_none_or(|total| total <= limits::INTEGER));
        let again = Manifest::judge(&manifest.pieces().unwrap(), rules);
        assert_eq!(again.as_ref(), Ok(&manifest), "what is sent on is what was judged");
    }
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}
