//! No page loads anything from another host: the book reads offline.

use super::select;
use crate::site::{Site, site};
use scraper::Html;

/// Attributes by which an element loads, runs, embeds or submits to what they name.
const LOADING: [&str; 12] = [
    "link[href]",
    "script[src]",
    "img[src]",
    "img[srcset]",
    "source[src]",
    "source[srcset]",
    "video[src]",
    "audio[src]",
    "iframe[src]",
    "embed[src]",
    "object[data]",
    "form[action]",
];

/// What any page, stylesheet, script or drawing would load from another host.
fn check(site: &Site) -> Vec<String> {
    let mut problems = Vec::new();
    let mut wrong = |path: &str, what: String| problems.push(format!("{path}: {what}"));
    for (path, html) in site.pages() {
        let page = Html::parse_document(html);
        for selector in LOADING {
            let attribute = selector.split(['[', ']']).nth(1).unwrap();
            for element in select(&page, selector) {
                let value = element.value().attr(attribute).unwrap_or_default();
                if is_elsewhere(value) {
                    wrong(path, format!("{selector} is `{value}`"));
                }
            }
        }
        for element in select(&page, "[style]") {
            let style = element.value().attr("style").unwrap_or_default();
            loads(style).for_each(|what| wrong(path, what));
        }
        for element in select(&page, "style") {
            let style: String = element.text().collect();
            loads(&style).for_each(|what| wrong(path, what));
        }
        // mdBook's script asks the playground's host about every listing of this class.
        if !select(&page, ".playground").is_empty() {
            wrong(
                path,
                "a listing has a button that runs it elsewhere".to_owned(),
            );
        }
    }
    for (path, text) in &site.texts {
        if path.ends_with(".css") {
            loads(text).for_each(|what| wrong(path, what));
        }
        if path.ends_with(".svg") {
            let references = text.split("href=").skip(1);
            for reference in references.chain(text.split("src=").skip(1)) {
                let value = reference.trim_start_matches(['"', '\'']);
                if is_elsewhere(value) {
                    let end = value.find(['"', '\'', ' ']).unwrap_or(value.len());
                    wrong(path, format!("refers to `{}`", &value[..end]));
                }
            }
            loads(text).for_each(|what| wrong(path, what));
        }
        if path.starts_with("theme/") && path.ends_with(".js") && text.contains("//") {
            let urls = text.split("//").collect::<Vec<_>>();
            let has_scheme =
                |pair: &[&str]| pair[0].ends_with("http:") || pair[0].ends_with("https:");
            if urls.windows(2).any(has_scheme) {
                wrong(path, "names an address".to_owned());
            }
        }
    }
    problems
}

/// Whether an address is on another host.
fn is_elsewhere(address: &str) -> bool {
    let address = address.trim().to_ascii_lowercase();
    ["http:", "https:", "//", "ws:", "wss:", "ftp:"]
        .iter()
        .any(|start| address.starts_with(start) || address.contains(&format!(" {start}")))
}

/// What a stylesheet loads from another host.
fn loads(style: &str) -> impl Iterator<Item = String> + '_ {
    let addresses = style
        .split("url(")
        .skip(1)
        .chain(style.split("@import").skip(1));
    addresses
        .map(|rest| rest.trim_start_matches([' ', '"', '\'']))
        .filter(|address| is_elsewhere(&address.chars().take(8).collect::<String>()))
        .map(|address| {
            let start: String = address.chars().take(60).collect();
            format!("its style loads `{start}`")
        })
}

#[test]
fn no_page_loads_from_another_host() {
    let problems = check(site());
    assert!(problems.is_empty(), "{problems:#?}");
}

mod a_broken_sample {
    use super::*;

    #[test]
    fn is_told_from_a_good_one() {
        for (path, good) in [
            (
                "a.html",
                "<a href='https://example.org'>x</a><img src='a.svg'><p style='color:red'>",
            ),
            (
                "a.css",
                "@font-face { src: url(\"../fonts/a.woff2\") } i { mask: url(data:x) }",
            ),
            (
                "a.svg",
                "<svg xmlns='http://www.w3.org/2000/svg'><use href='#a'/></svg>",
            ),
            ("theme/a.js", "// a comment\nlocation.hash = 'a';"),
        ] {
            assert_eq!(check(&Site::of(&[(path, good)])), [""; 0], "{good}");
        }
    }

    #[test]
    fn that_loads_from_elsewhere_is_noticed() {
        for (path, bad) in [
            ("a.html", "<script src='https://example.org/a.js'></script>"),
            (
                "a.html",
                "<link rel='stylesheet' href='//example.org/a.css'>",
            ),
            (
                "a.html",
                "<img srcset='a.png 1x, https://example.org/b.png 2x'>",
            ),
            ("a.html", "<iframe src='http://example.org'></iframe>"),
            (
                "a.html",
                "<p style='background: url(https://example.org/a.png)'>",
            ),
            (
                "a.html",
                "<style>@import 'https://example.org/a.css';</style>",
            ),
            ("a.html", "<pre class='playground'><code>f()</code></pre>"),
            ("a.css", "@import url(https://example.org/a.css);"),
            (
                "a.svg",
                "<svg><image href='https://example.org/a.png'/></svg>",
            ),
            ("theme/a.js", "fetch('https://example.org')"),
        ] {
            assert!(!check(&Site::of(&[(path, bad)])).is_empty(), "{bad}");
        }
    }
}
