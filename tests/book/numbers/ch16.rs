use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let wrong = cell("ch16_wrong.md", "zero point 128", 3);
    say(format!(
        "the wrong sums stand {wrong:.0} dB above their error"
    ));
    let (four_bits, five_bits) = (
        cell("ch03_sqnr.md", "| 4 |", 4),
        cell("ch03_sqnr.md", "| 5 |", 4),
    );
    assert!(four_bits < wrong && wrong < five_bits);
    let pair = cell("ch16_by_hand.md", "211, 171", 2) as u32;
    let (thousands, rest) = (pair / 1000, pair % 1000);
    say(format!("= {thousands}\\,{rest} ."));
    let bare = cell("ch16_by_hand.md", "211, 171", 3) as u32;
    assert_eq!(bare, 32_767);
}
