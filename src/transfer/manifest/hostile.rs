//! Lists of files as a hostile peer makes them, for the tests of what judges them and for those over the wire.

/// One of them in its pieces: honest entries with what breaks them in between, and now and then the name `evil`.
/// `between` gives random numbers from the first to the second, both included.
pub(super) fn list(mut between: impl FnMut(u64, u64) -> u64, evil: Option<&str>) -> Vec<String> {
    // One list has few wrong names in it, the next nearly none but such.
    let wrong = [0, 1, 2, 4, 40][between(0, 4) as usize];
    let mut pick = |from: &[&str]| {
        let end = from.len() as u64 - 1;
        let honest = between(0, 40) >= wrong;
        from[if honest { between(0, 2.min(end)) } else { between(0, end) } as usize].to_owned()
    };
    let numbered = |(n, name): (usize, String)| match n % 4 {
        0 => name,
        _ => name.replacen('a', &format!("a{n}"), 1),
    };
    let mut names: Vec<String> = (0..40).map(|_| pick(NAMES)).enumerate().map(numbered).collect();
    let sizes: Vec<String> = (0..40).map(|_| pick(SIZES)).collect();
    let tails: Vec<String> = (0..40).map(|_| pick(TAILS)).collect();
    if let Some(evil) = evil.filter(|_| wrong > 2) {
        names[0] = evil.to_owned();
    }
    let pieces = between(1, 3);
    (0..pieces)
        .map(|piece| {
            let count = between(0, 6);
            let entries: Vec<String> = (0..count)
                .map(|_| {
                    let depth = match between(0, 99) {
                        0 => 0,
                        1 => 40,
                        n => n % 3 + 1,
                    };
                    let path: Vec<&str> =
                        (0..depth).map(|_| names[between(0, 39) as usize].as_str()).collect();
                    let any = between(0, 39) as usize;
                    format!("{{\"path\":[{}]{}{}}}", path.join(","), sizes[any], tails[any])
                })
                .collect();
            let more = if piece + 1 < pieces { ",\"more\":true" } else { "" };
            let mut text = format!("{{\"files\":[{}]{more}}}", entries.join(","));
            if between(0, 9) == 0 {
                let cut = between(0, text.len() as u64) as usize;
                let cut = (0..=cut).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
                text.truncate(cut);
            }
            text
        })
        .collect()
}

const NAMES: &[&str] = &[
    r#""a""#,
    r#""b.txt""#,
    r#""src""#,
    r#""A""#,
    r#""..""#,
    r#"".""#,
    r#""""#,
    r#""/etc/passwd""#,
    r#""a/../../b""#,
    r#""~""#,
    r#"".ssh""#,
    r#""C:\\x""#,
    r#""\\\\srv\\x""#,
    r#""file:ads""#,
    r#""CON""#,
    r#""aux.txt""#,
    r#""COM¹""#,
    r#""end.""#,
    r#""end ""#,
    r#""\u001b[2J""#,
    r#""a\nb""#,
    r#""\u202efdp.exe""#,
    r#""a\u0000b""#,
    r#""\ud800""#,
    r#""e\u0301""#,
    r#""\u00e9""#,
    r#""\u212a""#,
    r#""k""#,
    r#""\ufeff..""#,
    r#"".\u200b.""#,
    r#""..\u0000""#,
    r#""．．""#,
    r#""‥""#,
    r#""a\u2215b""#,
    r#""x\u200d.""#,
    r#""..\\..\\x""#,
    r#"" ..""#,
    r#"".. ""#,
    r#""...""#,
    r#""王小明""#,
    r#""-rf""#,
    r#""%2e%2e""#,
    r#""%2f""#,
    "7",
    "null",
    "[]",
    r#"{"a":"b"}"#,
];
const SIZES: &[&str] = &[
    ",\"size\":1",
    ",\"size\":0",
    "",
    ",\"size\":9007199254740992",
    ",\"size\":18446744073709551615",
    ",\"size\":-1",
    ",\"size\":\"1\"",
    ",\"size\":null",
    ",\"size\":1,\"size\":2",
];
const TAILS: &[&str] = &[
    "",
    "",
    "",
    ",\"dir\":true",
    ",\"mtime\":0",
    ",\"mtime\":-9223372036854775808",
    ",\"mtime\":1e99",
    ",\"path\":[\"x\"]",
    ",\"link\":\"/etc\"",
    ",\"mode\":3565",
    ",\"dir\":1",
];
