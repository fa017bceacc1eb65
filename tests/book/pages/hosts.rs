//! No page loads anything from another host: the book reads offline.

use super::select;
use crate::site::{Site, site};
use scraper::Html;

/// Attributes by which an element loads, runs, embeds or submits to what they name.
const LOADING: [&str; 11] = [
    "src",
    "srcset",
    "imagesrcset",
    "href",
    "data",
    "poster",
    "background",
    "manifest",
    "ping",
    "action",
    "formaction",
];

/// What any page, stylesheet, script or drawing would load from another host.
fn check(site: &Site) -> Vec<String> {
    let mut problems = Vec::new();
    let mut wrong = |path: &str, what: String| problems.push(format!("{path}: {what}"));
    for (path, html) in site.pages() {
        let page = Html::parse_document(html);
        for element in select(&page, "*") {
            let name = element.value().name();
            for (attribute, value) in element.value().attrs() {
                // A link is followed when its reader wants it to be.
                let followed = ["a", "area"].contains(&name) && attribute == "href";
                if LOADING.contains(&attribute) && !followed && is_elsewhere(value) {
                    wrong(path, format!("{name}[{attribute}] is `{value}`"));
                }
            }
        }
        for element in select(&page, "meta[http-equiv=refresh i]") {
            wrong(path, element.html());
        }
        for element in select(&page, "script") {
            if names_an_address(&element.text().collect::<String>()) {
                wrong(path, "a script names an address".to_owned());
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
        // Ours, not mdBook's, whose script knows the playground's address.
        if path.contains("theme/") && path.ends_with(".js") && names_an_address(text) {
            wrong(path, "names an address".to_owned());
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

/// Whether a script holds the address of a host.
fn names_an_address(script: &str) -> bool {
    let parts: Vec<_> = script.split("//").collect();
    parts.windows(2).any(|pair| {
        ["http:", "https:", "ws:", "wss:", "'", "\"", "`"]
            .iter()
            .any(|end| pair[0].ends_with(end))
    })
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
            ("book/theme/a.js", "// a comment\nlocation.hash = 'a';"),
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
                "<video poster='https://example.org/a.png'></video>",
            ),
            (
                "a.html",
                "<a href='b.html' ping='https://example.org'>x</a>",
            ),
            (
                "a.html",
                "<svg><image href='https://example.org/a.png'/></svg>",
            ),
            (
                "a.html",
                "<svg><image xlink:href='https://example.org/a.png'/></svg>",
            ),
            (
                "a.html",
                "<meta http-equiv='Refresh' content='0; url=https://example.org'>",
            ),
            ("a.html", "<script>fetch('https://example.org')</script>"),
            ("a.html", "<script>fetch('//example.org')</script>"),
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
            ("book/theme/a.js", "fetch('https://example.org')"),
        ] {
            assert!(!check(&Site::of(&[(path, bad)])).is_empty(), "{bad}");
        }
    }
}
