//! Checks on the built pages.

mod formulas;
mod hosts;
mod images;
mod links;

use scraper::{ElementRef, Html, Selector};

/// The elements of a page that a CSS selector finds.
fn select<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    let selector = Selector::parse(selector).expect("a selector");
    page.select(&selector).collect()
}
