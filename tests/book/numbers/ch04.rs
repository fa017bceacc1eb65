use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let vectors: f64 = rows("ch04_golden.md", " | ")
        .iter()
        .filter_map(|row| row[1].parse::<f64>().ok())
        .sum();
    say(format!("Ours has {vectors} of them"));
    say(format!("how many of the {vectors} notice"));
    let mistakes = rows("ch04_mistakes.md", " | ").len() - 1;
    say(format!(
        "it knows {} wrong quantizers",
        word(mistakes as f64)
    ));
    say(format!(
        "Is its mistake among the {}?",
        word(mistakes as f64)
    ));
    let caught = |mistake| cell("ch04_mistakes.md", mistake, 2);
    let (reciprocal, subnormal) = (caught("multiplies by 1/s"), caught("takes subnormal"));
    say(format!(
        "do only {reciprocal} of the {vectors} golden vectors notice"
    ));
    say(format!(
        "Flushed subnormals are noticed by {} vectors, the reciprocal by one in {}.",
        word(subnormal),
        word((vectors / reciprocal).floor())
    ));
    let right = |images| cell("ch04_nearest.md", images, 1);
    let all_images = cell("ch04_nearest.md", "original", 2);
    say(format!(
        "They cost {} images of 1 797",
        word(right("original") - right("2 bits"))
    ));
    say(format!(
        "recognise {:.1} % of them",
        100.0 * right("2 bits") / all_images
    ));
    let lost = 10.0 * (1.0 - right("cast") / all_images);
    say(format!(
        "almost {} in ten images are lost",
        word(lost.ceil())
    ));
    for (bits, percent) in [(8, 1.0), (4, 1.0), (2, 5.0)] {
        let mark = format!("| {bits} |");
        let off = cell("ch04_digits.md", &mark, 6) / cell("ch04_digits.md", &mark, 7) - 1.0;
        assert!(100.0 * off.abs() < percent, "{bits} bits: {off}");
    }
    say("within 1 % at 8 and 4 bits, and within 5 % even at 2".to_owned());
    let back = |x| rows("ch04_cast.md", x)[0][4].clone().replace('-', "−");
    let codes = [back("| 0.0 |"), back("| 0.5 |"), back("| 1.0 |")].join(", ");
    let codes = codes.replacen(", −1.012", " and −1.012", 1);
    let words: String = read("book/errata.md")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(words.contains(&codes), "the errata do not say `{codes}`");
}
