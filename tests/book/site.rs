//! The book as its readers get it: built in-process, with the versions that `Cargo.lock` pins.

use crate::source::{files, root};
use mdbook_driver::MDBook;
use mdbook_katex::preprocess::KatexProcessor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

/// Files of the site by their path from its root. Text for what a browser reads as text.
pub struct Site {
    /// Every file.
    pub files: BTreeSet<String>,
    /// The text of pages, stylesheets, scripts and drawings.
    pub texts: BTreeMap<String, String>,
}

impl Site {
    /// The pages of the site.
    pub fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_page = |path: &str| path.ends_with(".html");
        let all = self
            .texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        all.filter(move |(path, _)| is_page(path))
    }

    /// A site out of a few texts, to break in tests.
    pub fn of(texts: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<_, _> = texts
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        Self {
            files: texts.keys().cloned().collect(),
            texts,
        }
    }
}

/// The built book. It is built once for all tests.
pub fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
        let mut book = MDBook::load(root()).expect("the book can be read");
        book.config.build.build_dir = folder.clone();
        book.with_preprocessor(KatexProcessor);
        book.build().expect("the book can be built");
        let mut texts = BTreeMap::new();
        for path in files(&folder, ".", &[".html", ".css", ".js", ".svg"]) {
            let text = std::fs::read_to_string(folder.join(&path)).expect("UTF-8");
            texts.insert(path, text);
        }
        Site {
            files: files(&folder, ".", &[""]).into_iter().collect(),
            texts,
        }
    })
}
