use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Directories end with a slash; the text of a file is its path.
fn tree(paths: &[&str]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for path in paths {
        let whole = home.path().join(path);
        match path.ends_with('/') {
            true => fs::create_dir_all(whole).unwrap(),
            false => {
                fs::create_dir_all(whole.parent().unwrap()).unwrap();
                fs::write(whole, path).unwrap();
            }
        }
    }
    home
}

fn found(home: &TempDir, paths: &[&str], exclude: &[&str]) -> Result<Found, Error> {
    let paths: Vec<_> = paths.iter().map(|path| home.path().join(path)).collect();
    let exclude: Vec<_> = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
    find(&paths, &excluded(&exclude).unwrap())
}

fn names(sources: &[Source]) -> Vec<String> {
    sources.iter().map(|source| source.path.join("/")).collect()
}

#[test]
fn paths_are_sent_under_their_last_names_in_the_order_of_names() {
    let home = tree(&["a/z.txt", "a/b/1", "a/b/2", "a/none/", "a/c/d/", "x"]);
    let all = found(&home, &["x", "a/"], &[]).unwrap();
    assert_eq!(names(&all.files), ["x", "a/b/1", "a/b/2", "a/z.txt"]);
    assert_eq!(names(&all.directories), ["a/c/d", "a/none"]);
    assert_eq!(all.files[0].identity.size, 1);
    let here = found(&home, &["a/b/../b/."], &[]).unwrap();
    assert_eq!(names(&here.files), ["b/1", "b/2"]);
    assert!(matches!(find(&["/".into()], &GlobSet::empty()), Err(Error::Nameless(_))));
}

#[test]
fn globs_leave_out_names_anywhere_and_paths_where_they_are() {
    let home = tree(&["a/x.o", "a/x.c", "a/target/1", "a/b/target/2", "a/b/x.o", "a/b/c"]);
    let sent = |exclude: &[&str]| names(&found(&home, &["a"], exclude).unwrap().files);
    assert_eq!(sent(&["*.o", "target/"]), ["a/b/c", "a/x.c"]);
    assert_eq!(sent(&["a/target", "a/*/x.o"]), ["a/b/c", "a/b/target/2", "a/x.c", "a/x.o"]);
    assert_eq!(sent(&["a/**/c"]).len(), 5);
    assert!(matches!(found(&home, &["a"], &["a"]), Err(Error::Nothing)));
    assert_eq!(found(&home, &["a"], &["target"]).unwrap().left_out.len(), 2);
    assert!(excluded(&["[".into()]).is_err());
}

#[test]
fn links_are_followed_where_they_are_named_and_nowhere_else() {
    let home = tree(&["a/1", "b/2"]);
    symlink("../b", home.path().join("a/link")).unwrap();
    symlink("/", home.path().join("a/root")).unwrap();
    symlink("a", home.path().join("way")).unwrap();
    symlink("nowhere", home.path().join("dead")).unwrap();
    let all = found(&home, &["way", "b/2"], &[]).unwrap();
    assert_eq!(names(&all.files), ["way/1", "2"]);
    assert_eq!(all.left_out.iter().map(|(_, why)| *why).collect::<Vec<_>>(), ["a link", "a link"]);
    assert!(matches!(found(&home, &["dead"], &[]), Err(Error::Unreadable(..))));
}

#[test]
fn f21_pipes_and_sockets_are_no_files() {
    let home = tree(&["a/1"]);
    let fifo = |name: &str| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, home.path().join(name), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    fifo("a/fifo");
    fifo("named");
    let _socket = std::os::unix::net::UnixListener::bind(home.path().join("a/socket")).unwrap();
    let all = found(&home, &["a"], &[]).unwrap();
    assert_eq!(names(&all.files), ["a/1"]);
    assert_eq!(all.left_out.iter().map(|(_, why)| *why).collect::<Vec<_>>(), ["a pipe", "a socket"]);
    let refused = found(&home, &["named"], &[]).unwrap_err().to_string();
    assert!(refused.contains("is a pipe") && refused.contains("--stdin-name"), "{refused}");
    assert!(found(&home, &["/dev/null"], &[]).unwrap_err().to_string().contains("is a device"));
}

#[test]
fn what_cannot_be_read_is_named_before_anything_is_sent() {
    let home = tree(&["a/1", "a/2", "a/locked/3"]);
    let missing: Vec<String> = (0..7).map(|n| format!("missing{n}")).collect();
    let mut paths: Vec<&str> = missing.iter().map(String::as_str).collect();
    paths.push("a");
    let refused = found(&home, &paths, &[]).unwrap_err().to_string();
    assert!(refused.contains("missing0: No such file") && refused.ends_with("and 2 more"), "{refused}");
    // Nothing is locked for the superuser.
    if rustix::process::geteuid().is_root() {
        return;
    }
    for (path, mode) in [("a/1", 0o000), ("a/locked", 0o000)] {
        fs::set_permissions(home.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let refused = found(&home, &["a"], &[]).unwrap_err().to_string();
    fs::set_permissions(home.path().join("a/locked"), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(refused.contains("a/1: Permission denied") && refused.contains("a/locked"), "{refused}");
}

#[test]
fn f02_names_that_others_could_not_read_are_told() {
    use std::os::unix::ffi::OsStrExt;
    let home = tree(&["a/1"]);
    let bad = home.path().join("a").join(OsStr::from_bytes(b"\xff\x1b[2J"));
    fs::write(&bad, "x").unwrap();
    let refused = found(&home, &["a"], &[]).unwrap_err().to_string();
    assert!(refused.contains("not UTF-8") && !refused.contains(char::is_control), "{refused}");
    assert_eq!(names(&found(&home, &["a"], &["*2J"]).unwrap().files), ["a/1"]);
}

#[test]
fn two_paths_with_one_name_are_refused() {
    let home = tree(&["a/x", "b/x"]);
    assert!(matches!(found(&home, &["a/x", "b/x"], &[]), Err(Error::Same(..))));
}

#[test]
fn f10_too_many_files_are_an_error_and_not_a_wait() {
    let home = tree(&["a/"]);
    for n in 0..limits::ENTRIES {
        fs::write(home.path().join("a").join(n.to_string()), "").unwrap();
    }
    assert_eq!(found(&home, &["a"], &[]).unwrap().files.len(), limits::ENTRIES);
    fs::write(home.path().join("a/more"), "").unwrap();
    assert!(matches!(found(&home, &["a"], &[]), Err(Error::TooMany)));
}

#[test]
fn f20_a_file_that_is_another_one_has_another_identity() {
    let home = tree(&["a"]);
    let path = home.path().join("a");
    let identity = || Identity::of(&fs::metadata(&path).unwrap());
    let before = identity();
    assert_eq!(identity(), before);
    let file = fs::File::open(&path).unwrap();
    let same = file.metadata().unwrap().modified().unwrap();
    fs::write(&path, "b").unwrap();
    file.set_modified(same).unwrap();
    assert_ne!(identity(), before, "the time of writing was put back");
    assert_ne!(Identity::digest([&before]), Identity::digest([&identity()]));
    fs::write(home.path().join("new"), "a").unwrap();
    fs::rename(home.path().join("new"), &path).unwrap();
    assert_ne!(identity(), before);
}

#[test]
fn f20_a_file_that_changes_while_it_is_read_is_not_mixed() {
    let size = limits::CHUNK_MIN as usize;
    let change: [fn(&Path); 4] = [
        |path| fs::write(path, vec![2; 2 * limits::CHUNK_MIN as usize]).unwrap(),
        |path| fs::File::options().write(true).open(path).unwrap().set_len(9).unwrap(),
        |path| fs::remove_file(path).unwrap(),
        |path| {
            let beside = path.with_extension("new");
            fs::write(&beside, vec![2; 2 * limits::CHUNK_MIN as usize]).unwrap();
            fs::rename(beside, path).unwrap();
        },
    ];
    for change in change {
        for after in 0..2 {
            let home = tree(&["a"]);
            fs::write(home.path().join("a"), vec![1; 2 * size]).unwrap();
            let files = found(&home, &["a"], &[]).unwrap().files;
            let layout = crate::transfer::Layout::of(&[Some(2 * size as u64)], size as u64).unwrap();
            let mut reader = Reader::new(files, layout);
            let mut bytes = vec![0; size];
            for chunk in 0..after {
                reader.read(chunk, &mut bytes).unwrap();
            }
            change(&home.path().join("a"));
            assert!(matches!(reader.read(after, &mut bytes), Err(ReadError::Changed(_))));
            assert!(reader.check().is_err());
        }
    }
}

proptest! {
    #[test]
    fn f22_chunks_are_the_files_one_behind_the_other(sizes in prop::collection::vec(0_usize..600_000, 1..6)) {
        let home = tempfile::tempdir().unwrap();
        let mut whole = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let bytes: Vec<u8> = (0..*size).map(|at| (at * 31 + n) as u8).collect();
            fs::write(home.path().join(n.to_string()), &bytes).unwrap();
            whole.extend(bytes);
        }
        let paths: Vec<_> = (0..sizes.len()).map(|n| home.path().join(n.to_string())).collect();
        let files = find(&paths, &GlobSet::empty()).unwrap().files;
        let sizes: Vec<_> = sizes.iter().map(|size| Some(*size as u64)).collect();
        let layout = crate::transfer::Layout::of(&sizes, limits::CHUNK_MIN.into()).unwrap();
        let mut reader = Reader::new(files, layout.clone());
        let mut there = Vec::new();
        for chunk in 0..layout.chunks().unwrap() {
            let mut bytes = vec![0; layout.length(chunk).unwrap()];
            reader.read(chunk, &mut bytes).unwrap();
            there.extend(bytes);
        }
        prop_assert_eq!(there, whole);
        prop_assert!(reader.check().is_ok());
    }
}
