use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let by_hand = |step: &str| rows("ch06_by_hand.md", step)[0][1].clone();
    let sums = by_hand("sums with bias");
    let (first, second) = sums.split_once(", ").unwrap();
    say(format!("and the sum {first}."));
    say(format!("the bias −10, the sum {second}"));
    say(format!("+ 12 = {}$", by_hand("| sum with bias")));

    let right = |column| cell("ch06_accuracy.md", "ds_cnn", column);
    let (float, tensor, channel) = (right(2), right(3), right(4));
    say(format!(
        "loses {} images per tensor and gains {} per channel",
        word(float - tensor),
        word(channel - float)
    ));
    let full = |name: &str, column| cell("ch06_accuracy_full.md", name, column);
    let networks = ["digits", "mlp", "| cnn", "ds_cnn"];
    let loss = |name: &str, column| full(name, 2) - full(name, column);
    let most = networks.map(|name| loss(name, 4)).into_iter();
    let most = most.fold(0.0, f64::max);
    say(format!("no network loses more than {most:.1} points"));
    say(format!("stays within {most:.1} points of f32"));
    assert!((0.4..0.6).contains(&loss("ds_cnn", 3)), "half a point");

    let channels = |column| cell("ch06_channels.md", "depthwise1", column);
    assert!((30.0..35.0).contains(&(channels(2) / channels(4))));
    say(format!(
        "which is left with {} codes to each side",
        channels(5)
    ));

    let seen = |images, column| cell("ch06_observers.md", images, column);
    say(format!("nor do {} saturated values", seen("| 1 |", 5)));
    let wider = seen("| 512 |", 1) / seen("| 1 |", 1);
    assert!((1.95..2.05).contains(&wider), "the step doubles");

    let count = |column| cell("ch06_requantize.md", "step |", column);
    say(format!(
        "We expected {} from the mean error, and there are {}.",
        count(1),
        count(2)
    ));
    assert!(count(4) < 0.000_02);
}
