//! Every link within the site leads to a page, and to a place on it, that exists.

use super::select;
use crate::site::{Site, site};
use scraper::Html;
use std::collections::{BTreeMap, BTreeSet};

/// The links of all pages that lead nowhere, and the ids that stand twice on one page.
fn check(site: &Site) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = BTreeMap::<&str, BTreeSet<String>>::new();
    let mut links = Vec::new();
    for (path, html) in site.pages() {
        let page = Html::parse_document(html);
        let here = ids.entry(path).or_default();
        for element in select(&page, "[id]") {
            let id = element.value().attr("id").unwrap().to_owned();
            if here.contains(&id) {
                problems.push(format!("{path}: the id `{id}` stands twice"));
            }
            here.insert(id);
        }
        for element in select(&page, "[href], [src]") {
            let value = element.value();
            let link = value.attr("href").or(value.attr("src")).unwrap();
            links.push((path, link.to_owned()));
        }
    }
    for (path, link) in links {
        let Some((file, id)) = resolve(path, &link) else {
            continue;
        };
        if !site.files.contains(&file) {
            problems.push(format!("{path}: `{link}` leads to no file"));
        } else if let Some(id) = id.filter(|id| !id.is_empty())
            && !ids.get(file.as_str()).is_some_and(|ids| ids.contains(&id))
        {
            problems.push(format!("{path}: `{link}` leads to no place on its page"));
        }
    }
    problems
}

/// The file and the id that a link on a page means; nothing if it leads out of the site.
fn resolve(page: &str, link: &str) -> Option<(String, Option<String>)> {
    let scheme = link.split(['/', '?', '#']).next().unwrap_or_default();
    if scheme.contains(':') || link.starts_with("//") {
        return None;
    }
    let (path, id) = match link.split_once('#') {
        Some((path, id)) => (path, Some(decode(id))),
        None => (link, None),
    };
    let path = path.split('?').next().unwrap_or_default();
    if path.is_empty() {
        return Some((page.to_owned(), id));
    }
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    if path.starts_with('/') {
        parts.clear();
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut file = decode(&parts.join("/"));
    if path.ends_with('/') || file.is_empty() {
        file = format!("{file}/index.html")
            .trim_start_matches('/')
            .to_owned();
    }
    Some((file, id))
}

/// Undoes the `%20` of URLs.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[test]
fn every_link_leads_somewhere() {
    let problems = check(site());
    assert!(problems.is_empty(), "{problems:#?}");
}

mod a_broken_sample {
    use super::*;

    fn problems(html: &str) -> Vec<String> {
        check(&Site::of(&[
            ("a.html", html),
            ("b/c d.html", "<h1 id='é'>"),
            ("index.html", ""),
        ]))
    }

    #[test]
    fn is_told_from_a_good_one() {
        for good in [
            "<a href='b/c%20d.html#%C3%A9'>",
            "<a id='x' href='#x'>",
            "<a href='#'>",
            "<a href='./'>",
            "<a href='https://example.org/x#y'>",
            "<a href='mailto:a@b.c'>",
            "<img src='data:image/png;base64,AA'>",
        ] {
            assert_eq!(problems(good), [""; 0], "{good}");
        }
    }

    #[test]
    fn with_a_dead_link_is_noticed() {
        for bad in [
            "<a href='d.html'>",
            "<a href='#y'>",
            "<a href='b/c%20d.html#e'>",
            "<img src='d.svg'>",
            "<p id='x'><p id='x'>",
        ] {
            assert_eq!(problems(bad).len(), 1, "{bad}");
        }
    }
}
