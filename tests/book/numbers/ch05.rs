use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    noise(say);
    dropped(say);
    widths(say);
    depthwise(say);
}

fn noise(say: &mut dyn FnMut(String)) {
    let last = |column| cell("ch05_epochs.md", "| 10 |", column);
    let variance = |column| cell("ch05_epochs.md", "variance", column);
    assert!(last(2) > variance(2));
    say(format!(
        "On new data it ends at {:.4}, *above* the variance of their targets, {:.4}",
        last(2),
        variance(2)
    ));
    let own = cell("ch05_dropped.md", "| f32 |", 1);
    say(format!("On its own data it ends, at {own:.4}, one percent"));
    assert_eq!((100.0 * (1.0 - own / variance(1))).round(), 1.0);
    let first = |column| cell("ch05_epochs.md", "| 1 |", column);
    say(format!(
        "the loss falls from {:.1} to 1 and stays",
        first(1)
    ));
    assert!((1.0..1.02).contains(&cell("ch05_epochs.md", "| 4 |", 1)));
}

fn dropped(say: &mut dyn FnMut(String)) {
    let moved = cell("ch05_shift.md", "| 0.189 |", 3);
    let predicted = 10.0 * moved * moved;
    say(format!(
        "Here that is $10 \\cdot {moved}^2 = {predicted:.2}$"
    ));
    let loss = |row, column| cell("ch05_dropped.md", row, column);
    let lecture = |column| loss("quantize_model", column);
    let f32 = |column| loss("| f32 |", column);
    say(format!(
        "The loss goes from {:.4} to {:.4}",
        f32(1),
        lecture(1)
    ));
    say(format!(
        "which the second row does: {:.4}",
        loss("all of them 0", 1)
    ));
    let times = lecture(2) / f32(2);
    let added = loss("its weights", 2) - f32(2);
    say(format!(
        "makes the loss {times:.1} times as large; {predicted:.2} was predicted for the weights alone, and {added:.2} is"
    ));
    let images = f32(4) - lecture(4);
    say(format!("it loses {images} of {} images", f32(4)));
    assert_eq!(loss("zero point kept, bias in f32", 4), f32(4));
    say(format!("has the same {}", loss("bias in INT8", 4)));
    let three = (360.0 * cell("ch05_accuracy.md", "| 3 |", 1)).round();
    say(format!("*three* bits a weight, done right, keep {three}"));
    let lower = cell("ch05_seeds.md", "| noise |", 4);
    say(format!("In {} of 20 runs", word(lower)));
    assert_eq!(cell("ch05_seeds.md", "| law |", 4), 0.0);
    let errata: Vec<_> = read("book/errata.md")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let errata = errata.join(" ");
    for words in [
        format!("the loss becomes {times:.1} times as large"),
        format!("loses {images} of {} images at 8 bits", f32(4)),
        format!("goes from {:.4} to {:.4}", f32(1), lecture(1)),
        format!("in {} of 20 runs", word(lower)),
    ] {
        assert!(errata.contains(&words), "the errata do not say `{words}`");
    }
}

fn widths(say: &mut dyn FnMut(String)) {
    let ratio = |network| cell("ch05_bytes.md", network, 6);
    say(format!(
        "`mlp` shrinks {} times, `digits` {}",
        ratio("mlp"),
        ratio("digits")
    ));
    let bytes = |column| cell("ch05_bytes.md", "| mlp", column);
    let more = bytes(3) - bytes(2);
    assert!(more < 0.01 * bytes(2));
    say(format!("Per channel costs `mlp` {more} bytes more"));
    let lost = |column| {
        100.0
            * (cell("ch05_accuracy.md", "| 32 |", column)
                - cell("ch05_accuracy.md", "| 4 |", column))
    };
    assert!((2.5..3.5).contains(&lost(3)) && (1.0..2.0).contains(&lost(4)));
    say("`mlp` has lost three points per tensor and one and a half per channel".to_owned());
    let (zeros, of) = (
        rows("ch05_left.md", "| 2 |")[0][3].clone(),
        rows("ch05_left.md", "| 2 |")[0][4].clone(),
    );
    let text = format!("At 2 bits, {zeros} of {of} weights are 0");
    say(text.replace('\u{202f}', " "));
}

fn depthwise(say: &mut dyn FnMut(String)) {
    let share = |bits, column| cell("ch05_depthwise.md", bits, column);
    assert_eq!(
        (100.0 * (share("| 32 |", 1) - share("| 6 |", 1))).round(),
        11.0
    );
    say("it loses eleven points at 6 bits".to_owned());
    assert!((share("| 5 |", 1) / share("| 32 |", 1) - 0.5).abs() < 0.01);
    say("at 5 bits half of its answers".to_owned());
    say(format!(
        "At 5 bits the accuracy goes from {} to {}, and at 6 from {} to {}.",
        share("| 5 |", 1),
        share("| 5 |", 2),
        share("| 6 |", 1),
        share("| 6 |", 2)
    ));
    let guilty = |column| cell("ch05_guilty.md", "| 6 |", column);
    say(format!("up to {}, and has now {}", guilty(1), guilty(5)));
    let lost = cell("ch05_channels.md", "| depthwise1 |", 5);
    say(format!("at 4 bits {} of the 24 channels", word(lost)));
    let smallest = cell("ch05_guilty.md", "| 8 |", 5);
    say(format!("the ratio is ${} / {smallest}$", guilty(5)));
}
