use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let clamped = |column| cell("ch03_clamped.md", "clamped", column);
    let widened = |column| cell("ch03_clamped.md", "widened", column);
    assert!((clamped(4) / 100.0).round() == 1.0 && clamped(5) < 0.25 && widened(4) == 1.0);
    let times = (0.25 / clamped(2)).floor();
    say(format!("and 0.25 is more than {times:.0} times $s/2$"));
    let (gaussian, uniform) = (
        cell("ch03_sqnr.md", "| 8 |", 4),
        cell("ch03_sqnr.md", "| 8 |", 2),
    );
    say(format!(
        "lie {:.0} dB below the uniform ones",
        uniform - gaussian
    ));
    let relu = |bits| {
        let mark = format!("| {bits} |");
        cell("ch03_sqnr.md", &mark, 6) - cell("ch03_sqnr.md", &mark, 5)
    };
    assert!((2..=8).all(|bits| relu(bits).round() == relu(2).round()));
    say(format!(
        "It is {:.0} dB better than predicted at *every* width",
        relu(2)
    ));
    let step = |codes| cell("ch03_symmetric.md", codes, 2);
    let wins = 100.0 * (1.0 - step("affine, u8") / step("symmetric, i8"));
    say(format!("the affine pair wins {wins:.1} % of the step"));
}
