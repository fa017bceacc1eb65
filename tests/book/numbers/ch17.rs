use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let sum = cell("ch17_by_hand.md", "row 0, column 0", 5);
    say(format!("= 6 + 3 = {sum}$"));
    assert_eq!(cell("ch17_by_hand.md", "row 1, column 0", 5), -6.0);
    let taken = &rows("ch17_split.md", "71, 107")[0][2];
    assert_eq!(taken, "0, 50");
    say("We take 50 from the larger weight".to_owned());

    counts(say);

    let share = cell("ch17_remainders.md", "normal", 2);
    say(format!("a depth of 512 it is {share:.0} in 1000"));
    let uniform = [1, 2, 3].map(|depth| cell("ch17_remainders.md", "uniform", depth));
    assert!(uniform.iter().all(|&share| (share - 125.0).abs() < 5.0));
    say("an eighth of them leave a remainder".to_owned());
}

/// What the text says of the counts, whose columns are arithmetic, accesses, lines, lines, pages.
fn counts(say: &mut dyn FnMut(String)) {
    let of = |step: &str, column| cell("ch17_counts.md", step, column);
    let gain = |from, to, column| of(from, column) / of(to, column);
    let about = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.03;
    assert!(about(gain("three loops", "loop order", 3), 64.0));
    say("must bring the lines down by 64".to_owned());
    assert!(about(of("loop order", 2), 3000.0 / 8.0));
    assert!(about(of("register tile", 2), 6000.0 / 64.0));
    say("from 3 for eight products to 6 for 64".to_owned());
    assert!(of("panels", 5) < 0.01 * of("register tile", 5));
    assert_eq!(gain("panels", "pairs in 16 bits", 1), 2.0);
    assert!(about(gain("bytes, split", "blocks", 1), 0.75));
    say("Step 5 halves the arithmetic, step 7 takes another quarter.".to_owned());
    assert!(gain("pairs in 16 bits", "blocks", 4) > 8.0);
    assert_eq!(gain("loop order", "register tile", 3), 1.0);
    assert!(of("register tile", 5) > 2.0 * of("loop order", 5));
    say("Step 3 does nothing for lines and is *worse* in pages than step 2".to_owned());
    assert!(about(gain("pairs in 16 bits", "panels", 3), 2.0));
    say("step 5 doubles the lines".to_owned());
}
