use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let by_hand = cell("ch01_intensity.md", "by hand", 5);
    say(format!("the intensity rises to {by_hand}"));
    let (memory, arithmetic) = (
        cell("ch01_energy.md", "ratio", 2),
        cell("ch01_energy.md", "ratio", 1),
    );
    say(format!(
        "the gain is {memory:.0} ×, the ratio of the bytes, and the {arithmetic:.0} × of"
    ));
}
