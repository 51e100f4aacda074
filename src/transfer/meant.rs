//! Which offer a person means.

use std::collections::BTreeMap;

use crate::id::OfferNumber;

/// What is meant by a number, with `#` or without, or by a name: the newest of that name. A directory's name is
/// the same with a slash behind it and without. `title` is what an offer is called.
pub fn meant<'a, Offer>(
    what: &str,
    offers: &'a BTreeMap<OfferNumber, Offer>,
    title: impl Fn(&Offer) -> &str,
) -> Option<&'a Offer> {
    let number = what.strip_prefix('#').unwrap_or(what).parse().ok().map(OfferNumber);
    let newest = |fits: &dyn Fn(&str) -> bool| offers.values().rev().find(|offer| fits(title(offer)));
    let plain = |name: &str| name.trim_end_matches('/').to_owned();
    let named = || newest(&|name| name == what).or_else(|| newest(&|name| plain(name) == plain(what)));
    // "2024" may be the name of a directory.
    number.and_then(|number| offers.get(&number)).or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_meant_by_its_number_or_its_name_with_a_slash_or_without() {
        let titles = [(3, "a.txt"), (4, "odd/"), (5, "2024/"), (7, "a.txt"), (2024, "x"), (9, "odd")];
        let offers = titles.map(|(number, title)| (OfferNumber(number), title)).into();
        let number = |what: &str| {
            let found = meant(what, &offers, |title| title);
            found
                .and_then(|found| offers.iter().find(|(_, title)| std::ptr::eq(*title, found)))
                .map(|(n, _)| n.0)
        };
        for (what, expected) in [
            ("3", Some(3)),
            ("#3", Some(3)),
            ("a.txt", Some(7)),
            ("odd", Some(9)),
            ("odd/", Some(4)),
            ("2024/", Some(5)),
            ("2024", Some(2024)),
            ("#2023", None),
            ("", None),
            ("od", None),
        ] {
            assert_eq!(number(what), expected, "{what}");
        }
    }
}
