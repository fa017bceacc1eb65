//! Every formula is rendered. Where KaTeX fails, mdbook-katex warns and leaves the source standing.

use super::select;
use crate::site::{Site, site};
use scraper::node::Node;
use scraper::{ElementRef, Html};

/// The number of formulas on all pages, and what is wrong with them.
fn check(site: &Site) -> (usize, Vec<String>) {
    let (mut count, mut problems) = (0, Vec::new());
    for (path, html) in site.pages() {
        let mut wrong = |what: String| problems.push(format!("{path}: {what}"));
        let page = Html::parse_document(html);
        let formulas = select(&page, "data.katex-src");
        count += formulas.len();
        if formulas.len() != select(&page, ".katex").len() {
            wrong("a formula is not whole: is there a quotation mark in its source?".to_owned());
        }
        for formula in formulas {
            let source = formula.value().attr("value").unwrap_or_default();
            // Markdown reads a rendered formula again and may find emphasis or code in it.
            let inner = ElementRef::wrap(*formula)
                .into_iter()
                .flat_map(|e| e.descendants());
            let tags = inner.filter_map(|node| node.value().as_element());
            for tag in
                tags.filter(|tag| !["data", "span", "svg", "path", "line"].contains(&tag.name()))
            {
                wrong(format!(
                    "`{source}`: Markdown put a `{}` into it",
                    tag.name()
                ));
            }
        }
        for element in select(&page, ".katex-error") {
            wrong(format!("an error in {}", element.html()));
        }
        for element in select(&page, "main") {
            for node in element.descendants() {
                let Node::Text(text) = node.value() else {
                    continue;
                };
                let is_code = node
                    .ancestors()
                    .filter_map(|node| node.value().as_element())
                    .any(|element| ["code", "pre", "script"].contains(&element.name()));
                if text.contains('$') && !is_code {
                    wrong(format!("a formula is left as it was written: {}", &**text));
                }
            }
        }
    }
    (count, problems)
}

#[test]
fn every_formula_renders() {
    let (count, problems) = check(site());
    println!("{count} formulas");
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(count > 0, "no page has a formula: is mdbook-katex on?");
}

#[test]
fn a_broken_sample_is_noticed() {
    let problems = |html: &str| check(&Site::of(&[("a.html", html)])).1.len();
    let good = "<main><data class='katex-src' value='s'><span class='katex'>s</span></data> \
                <code>$HOME</code></main>";
    assert_eq!(problems(good), 0);
    assert_eq!(problems("<main><p>the scale $\\frac{1$</p></main>"), 1);
    assert_eq!(
        problems("<main><span class='katex-error'>s</span></main>"),
        1
    );
    assert_eq!(problems("<main><span class='katex'>s</span></main>"), 1);
    assert_eq!(problems(&good.replace(">s<", "><em>s</em><")), 1);
}
