//! Every image says in words what it shows.

use super::select;
use crate::site::{Site, site};
use scraper::Html;

/// The images without a text that could stand in their place, and the figures without a caption.
fn check(site: &Site) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, html) in site.pages() {
        let page = Html::parse_document(html);
        for image in select(&page, "img") {
            let file = image.value().attr("src").unwrap_or_default();
            let alt = image.value().attr("alt").unwrap_or_default();
            if alt.split_whitespace().count() < 3 {
                problems.push(format!(
                    "{path}: {file}: the alt text says too little: `{alt}`"
                ));
            }
        }
        for figure in select(&page, "figure") {
            let caption = scraper::Selector::parse("figcaption").expect("a selector");
            let text: String = figure
                .select(&caption)
                .flat_map(|caption| caption.text())
                .collect();
            if text.trim().is_empty() {
                problems.push(format!("{path}: a figure has no caption"));
            }
        }
    }
    problems
}

#[test]
fn every_image_says_what_it_shows() {
    let problems = check(site());
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_broken_sample_is_noticed() {
    let problems = |html| check(&Site::of(&[("a.html", html)])).len();
    assert_eq!(
        problems("<figure><img alt='Error against bits'><figcaption>C</figcaption></figure>"),
        0
    );
    assert_eq!(problems("<img src='a.svg'>"), 1);
    assert_eq!(problems("<img src='a.svg' alt=''>"), 1);
    assert_eq!(problems("<img src='a.svg' alt='figure 1'>"), 1);
    assert_eq!(
        problems("<figure><img alt='Error against bits'></figure>"),
        1
    );
}
