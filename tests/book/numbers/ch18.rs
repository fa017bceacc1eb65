use super::*;

pub(super) fn sentences(say: &mut dyn FnMut(String)) {
    let missed = |m, column| cell("ch18_rounding.md", m, column);
    // m lies between 1/4 and 1/2 in more than a half of the first row, and near it in the rest.
    let share = missed("1/4", 3) / 200_000.0;
    assert!((0.125..0.25).contains(&share));
    let floats = ["1/4", "1/64", "1/1024"].map(|m| missed(m, 1));
    assert!(floats.iter().all(|&f| (1.0..10.0).contains(&f)));
    assert_eq!(missed("1/4", 2), 0.0);
    say("f32 misses a few in a hundred thousand codes".to_owned());
}
