//! Sentences that repeat a number of a table say what the table says.
//!
//! The tables are made again by `tests/evidence.rs`; here each sentence is made again from them.

mod ch01;
mod ch02;
mod ch03;
mod ch04;
mod ch05;
mod ch06;
mod ch07;
mod ch08;
mod ch16;
mod ch17;
mod ch18;

use crate::source::{Chapter, chapters, root};

/// A sentence that a page must contain, with its numbers taken from the evidence.
struct Sentence {
    page: &'static str,
    says: String,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of the table rows that hold `mark`.
fn rows(file: &str, mark: &str) -> Vec<Vec<String>> {
    let text = read(&format!("book/evidence/{file}"));
    let rows = text
        .lines()
        .filter(|line| line.starts_with('|') && line.contains(mark));
    rows.map(|line| {
        let cells = line.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().trim_matches('*').replace('−', "-"))
            .collect()
    })
    .collect()
}

/// The number in a column of the first row that holds `mark`.
fn cell(file: &str, mark: &str, column: usize) -> f64 {
    let rows = rows(file, mark);
    let text = &rows.first().unwrap_or_else(|| panic!("{file}: {mark}"))[column];
    let number: String = text
        .chars()
        .take_while(|c| !c.is_whitespace() || *c == '\u{202f}')
        .filter(|c| *c != '\u{202f}')
        .collect();
    number
        .parse()
        .unwrap_or_else(|_| panic!("{file}: {mark}: `{text}` is no number"))
}

fn word(number: f64) -> &'static str {
    let words = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
    ];
    words[number.round() as usize]
}

fn sentences() -> Vec<Sentence> {
    let mut all = Vec::new();
    let mut hold = |page, chapter: fn(&mut dyn FnMut(String))| {
        chapter(&mut |says| all.push(Sentence { page, says }));
    };
    hold("ch01_why_fewer_bits.md", ch01::sentences);
    hold("ch02_a_map_of_the_schemes.md", ch02::sentences);
    hold("ch03_scale_and_zero_point.md", ch03::sentences);
    hold("ch04_a_quantizer_in_rust.md", ch04::sentences);
    hold("ch05_train_it_then_shrink_its_weights.md", ch05::sentences);
    hold("ch06_static_quantization.md", ch06::sentences);
    hold("ch07_dynamic_quantization.md", ch07::sentences);
    hold("ch08_quantization_aware_training.md", ch08::sentences);
    hold("ch16_what_the_cpu_offers.md", ch16::sentences);
    hold("ch17_an_int8_matrix_multiply.md", ch17::sentences);
    hold(
        "ch18_fusing_threading_measuring_honestly.md",
        ch18::sentences,
    );
    all
}

/// The sentences that their page does not say, however its lines are broken.
fn unsaid(sentences: &[Sentence], chapters: &[Chapter]) -> Vec<String> {
    let mut unsaid = Vec::new();
    for Sentence { page, says } in sentences {
        let chapter = chapters.iter().find(|chapter| chapter.path == *page);
        let text = &chapter.expect("a page of the book").text;
        let words: Vec<_> = text.split_whitespace().collect();
        if !words.join(" ").contains(says) {
            unsaid.push(format!("{page} does not say `{says}`"));
        }
    }
    unsaid
}

#[test]
fn every_number_in_a_sentence_is_that_of_its_table() {
    let problems = unsaid(&sentences(), &chapters());
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_broken_sample_is_noticed() {
    let problems = |text: &str| {
        let chapter = Chapter {
            name: "C".to_owned(),
            number: None,
            path: "c.md".to_owned(),
            text: text.to_owned(),
        };
        let says = "gains 13.6 dB".to_owned();
        unsaid(&[Sentence { page: "c.md", says }], &[chapter]).len()
    };
    assert_eq!(problems("INT8 gains\n13.6 dB."), 0);
    assert_eq!(problems("INT8 gains 13.5 dB."), 1);
}
