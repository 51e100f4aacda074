//! Links whose host is not what it looks like: behind a host that is not ASCII stands how the name
//! system writes it.

/// Characters of a host; longer ones are none.
const HOST: usize = 253;

/// `text` with the form of RFC 3492 behind each link whose host is not ASCII, in angle brackets.
pub(super) fn unmask(text: String) -> String {
    if text.is_ascii() || !text.contains("://") && !text.contains("www.") {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 32);
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        shown.push_str(word);
        if let Some(host) = host(word).and_then(ascii) {
            shown.push_str(&format!(" <{host}>"));
        }
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

/// The host of a link that is not ASCII.
fn host(word: &str) -> Option<&str> {
    let after = match word.split_once("://") {
        Some((_, after)) => after,
        None => &word[word.find("www.")?..],
    };
    let authority = after.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_ascii() && host.chars().count() <= HOST).then_some(host)
}

/// A host as the name system writes it.
fn ascii(host: &str) -> Option<String> {
    let dots = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];
    let labels = host.split(dots).map(|label| {
        let label = label.to_lowercase();
        if label.is_ascii() { Some(label) } else { punycode(&label).map(|code| format!("xn--{code}")) }
    });
    labels.collect::<Option<Vec<_>>>().map(|labels| labels.join("."))
}

/// RFC 3492 section 6.3.
fn punycode(label: &str) -> Option<String> {
    const BASE: u32 = 36;
    let input: Vec<u32> = label.chars().map(u32::from).collect();
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = out.len() as u32;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (128u32, 0u32, 72u32, basic);
    while (handled as usize) < input.len() {
        let next = input.iter().copied().filter(|c| *c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for &c in &input {
            delta = delta.checked_add(u32::from(c < n))?;
            if c != n {
                continue;
            }
            let (mut q, mut k) = (delta, BASE);
            loop {
                let threshold = k.saturating_sub(bias).clamp(1, 26);
                if q < threshold {
                    break;
                }
                out.push(digit(threshold + (q - threshold) % (BASE - threshold)));
                q = (q - threshold) / (BASE - threshold);
                k += BASE;
            }
            out.push(digit(q));
            bias = adapt(delta, handled + 1, handled == basic);
            delta = 0;
            handled += 1;
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(out)
}

fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = delta / if first { 700 } else { 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

fn digit(value: u32) -> char {
    char::from_digit(value, 36).map_or('?', |_| {
        // a to z are 0 to 25 here, 0 to 9 are 26 to 35.
        char::from(if value < 26 { b'a' + value as u8 } else { b'0' + (value - 26) as u8 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_hosts_in_other_scripts_are_shown_in_ascii_too() {
        let shown = unmask("see https://аpple.com/login?x and http://ann.example".into());
        assert_eq!(shown, "see https://аpple.com/login?x <xn--pple-43d.com> and http://ann.example");
        assert_eq!(unmask("http://u@bücher.de:80/".into()), "http://u@bücher.de:80/ <xn--bcher-kva.de>");
        assert_eq!(unmask("www.例え.jp".into()), "www.例え.jp <www.xn--r8jz45g.jp>");
        assert_eq!(unmask("grüße".into()), "grüße");
        assert!(punycode(&"é\u{10ffff}".repeat(100_000)).is_none_or(|code| code.is_ascii()));
    }
}
