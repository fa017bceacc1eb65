//! Sentences that repeat a number of a table say what the table says.
//!
//! The tables are made again by `tests/evidence.rs`; here each sentence is made again from them.

use crate::source::{chapters, root};

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
    let mut say = |page, says: String| all.push(Sentence { page, says });

    let one = "ch01_why_fewer_bits.md";
    let by_hand = cell("ch01_intensity.md", "by hand", 5);
    say(one, format!("the intensity rises to {by_hand}"));
    let (memory, arithmetic) = (
        cell("ch01_energy.md", "ratio", 2),
        cell("ch01_energy.md", "ratio", 1),
    );
    say(
        one,
        format!("the gain is {memory:.0} ×, the ratio of the bytes, and the {arithmetic:.0} × of"),
    );

    let two = "ch02_a_map_of_the_schemes.md";
    let sqnr = |scheme| cell("ch02_schemes.md", scheme, 2);
    let (tensor, channel) = (sqnr("INT8, per tensor"), sqnr("INT8, per row"));
    let gain = channel - tensor;
    say(
        two,
        format!("each row INT8 gains {gain:.1} dB, more than two bits"),
    );
    let narrow = sqnr("INT4, per row");
    say(two, format!("{channel:.1} against {narrow:.1} dB"));
    let gain = sqnr("E4M3, per row") - sqnr("E4M3, per tensor");
    say(two, format!("E4M3 gains only {gain:.1} dB"));
    let lost = cell("ch02_schemes.md", "INT4, per tensor", 4);
    say(
        two,
        format!("with one scale, {lost} of the 64 outputs are gone"),
    );
    let column = sqnr("INT8, per column");
    say(
        two,
        format!("INT8 per tensor {tensor}, per column {column}, per row {channel}"),
    );
    assert!(sqnr("E4M3, per tensor") > tensor && sqnr("NF4") > sqnr("INT4, groups of 32"));

    let three = "ch03_scale_and_zero_point.md";
    let clamped = |column| cell("ch03_clamped.md", "clamped", column);
    let widened = |column| cell("ch03_clamped.md", "widened", column);
    assert!((clamped(4) / 100.0).round() == 1.0 && clamped(5) < 0.25 && widened(4) == 1.0);
    let times = (0.25 / clamped(2)).floor();
    say(
        three,
        format!("and 0.25 is more than {times:.0} times $s/2$"),
    );
    let (gaussian, uniform) = (
        cell("ch03_sqnr.md", "| 8 |", 4),
        cell("ch03_sqnr.md", "| 8 |", 2),
    );
    say(
        three,
        format!("lie {:.0} dB below the uniform ones", uniform - gaussian),
    );
    let relu = |bits| {
        let mark = format!("| {bits} |");
        cell("ch03_sqnr.md", &mark, 6) - cell("ch03_sqnr.md", &mark, 5)
    };
    assert!((2..=8).all(|bits| relu(bits).round() == relu(2).round()));
    say(
        three,
        format!(
            "It is {:.0} dB better than predicted at *every* width",
            relu(2)
        ),
    );
    let step = |codes| cell("ch03_symmetric.md", codes, 2);
    let wins = 100.0 * (1.0 - step("affine, u8") / step("symmetric, i8"));
    say(
        three,
        format!("the affine pair wins {wins:.1} % of the step"),
    );

    let four = "ch04_a_quantizer_in_rust.md";
    let vectors: f64 = rows("ch04_golden.md", " | ")
        .iter()
        .filter_map(|row| row[1].parse::<f64>().ok())
        .sum();
    say(four, format!("Ours has {vectors} of them"));
    say(four, format!("how many of the {vectors} notice"));
    let mistakes = rows("ch04_mistakes.md", " | ").len() - 1;
    say(
        four,
        format!("it knows {} wrong quantizers", word(mistakes as f64)),
    );
    say(
        four,
        format!("Is its mistake among the {}?", word(mistakes as f64)),
    );
    let caught = |mistake| cell("ch04_mistakes.md", mistake, 2);
    let (reciprocal, subnormal) = (caught("multiplies by 1/s"), caught("takes subnormal"));
    say(
        four,
        format!("do only {reciprocal} of the {vectors} golden vectors notice"),
    );
    say(
        four,
        format!(
            "Flushed subnormals are noticed by {} vectors, the reciprocal by one in {}.",
            word(subnormal),
            word((vectors / reciprocal).floor())
        ),
    );
    let right = |images| cell("ch04_nearest.md", images, 1);
    let all_images = cell("ch04_nearest.md", "original", 2);
    say(
        four,
        format!(
            "They cost {} images of 1 797",
            word(right("original") - right("2 bits"))
        ),
    );
    say(
        four,
        format!(
            "recognise {:.1} % of them",
            100.0 * right("2 bits") / all_images
        ),
    );
    let lost = 10.0 * (1.0 - right("cast") / all_images);
    say(
        four,
        format!("almost {} in ten images are lost", word(lost.ceil())),
    );
    for (bits, percent) in [(8, 1.0), (4, 1.0), (2, 5.0)] {
        let mark = format!("| {bits} |");
        let off = cell("ch04_digits.md", &mark, 6) / cell("ch04_digits.md", &mark, 7) - 1.0;
        assert!(100.0 * off.abs() < percent, "{bits} bits: {off}");
    }
    say(
        four,
        "within 1 % at 8 and 4 bits, and within 5 % even at 2".to_owned(),
    );
    let back = |x| rows("ch04_cast.md", x)[0][4].clone().replace('-', "−");
    let codes = [back("| 0.0 |"), back("| 0.5 |"), back("| 1.0 |")].join(", ");
    let codes = codes.replacen(", −1.012", " and −1.012", 1);
    let words: String = read("book/errata.md")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(words.contains(&codes), "the errata do not say `{codes}`");
    let sixteen = "ch16_what_the_cpu_offers.md";
    let wrong = cell("ch16_wrong.md", "zero point 128", 3);
    say(
        sixteen,
        format!("the wrong sums stand {wrong:.0} dB above their error"),
    );
    let (four_bits, five_bits) = (
        cell("ch03_sqnr.md", "| 4 |", 4),
        cell("ch03_sqnr.md", "| 5 |", 4),
    );
    assert!(four_bits < wrong && wrong < five_bits);
    let pair = cell("ch16_by_hand.md", "211, 171", 2) as u32;
    let (thousands, rest) = (pair / 1000, pair % 1000);
    say(sixteen, format!("= {thousands}\\,{rest} ."));
    let bare = cell("ch16_by_hand.md", "211, 171", 3) as u32;
    assert_eq!(bare, 32_767);

    let eighteen = "ch18_fusing_threading_measuring_honestly.md";
    let missed = |m, column| cell("ch18_rounding.md", m, column);
    // m lies between 1/4 and 1/2 in more than a half of the first row, and near it in the rest.
    let share = missed("1/4", 3) / 200_000.0;
    assert!((0.125..0.25).contains(&share));
    let floats = ["1/4", "1/64", "1/1024"].map(|m| missed(m, 1));
    assert!(floats.iter().all(|&f| (1.0..10.0).contains(&f)));
    assert_eq!(missed("1/4", 2), 0.0);
    say(
        eighteen,
        "f32 misses a few in a hundred thousand codes".to_owned(),
    );
    all
}

#[test]
fn every_number_in_a_sentence_is_that_of_its_table() {
    let chapters = chapters();
    let mut missing = Vec::new();
    for Sentence { page, says } in sentences() {
        let chapter = chapters.iter().find(|chapter| chapter.path == page);
        let text = &chapter.expect("a page of the book").text;
        let words: Vec<_> = text.split_whitespace().collect();
        if !words.join(" ").contains(&says) {
            missing.push(format!("{page} does not say `{says}`"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
